"""Documents in an S3-compatible store. Clients speak to the store itself: no byte of theirs passes through the product.

What is signed is what is enforced: a PUT URL is for one key, one content type, one length and, where it is given, one
SHA-256; a POST policy for one key, one content type and at most so many bytes. One request carries at most 5 GiB
(docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html); what is larger is sent in parts (`s3_parts`).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import urlsplit

from botocore.exceptions import ClientError
from django.utils import timezone

from core.errors import RemoteMissing, TooLarge
from documents.names import disposition
from documents.storage import base, s3_check, s3_client, s3_parts, s3_writing
from documents.storage.base import CHUNK, Download, Going, Part, Stat, Upload, unwatched
from documents.storage.s3_errors import code_of, translated

LARGEST_REQUEST = 5 * 1024**3
PAGE = 1000
LONGEST_LIFE = 7 * 86_400
"""Seconds a signature of version 4 may be good for."""
CANNOT = frozenset({"NotImplemented", "InvalidArgument", "InvalidRequest"})
"""What stores answer to a header they do not know."""
_SERVED = re.compile(
    r"image/(?!svg)[a-z0-9.-]+|(?:audio|video|font)/[a-z0-9.-]+|text/(?:plain|csv|calendar)"
    r"|application/(?:pdf|zip|gzip|json|rtf|msword|vnd\.[a-z0-9.-]+)"
)
"""What no browser runs; it goes by its own name."""


class S3Store(base.InParts):
    """A bucket; where it lies and who may say the settings S3_…"""

    key: ClassVar[str] = "s3"
    is_public: ClassVar[bool] = True
    largest_request: ClassVar[int] = LARGEST_REQUEST
    largest: ClassVar[int] = s3_parts.LARGEST
    part_sizes: ClassVar[tuple[int, int]] = s3_parts.SIZES
    most_parts: ClassVar[int] = s3_writing.MOST_PARTS

    @cached_property
    def _inside(self) -> s3_client.Connection:
        return s3_client.connection()

    @cached_property
    def _outside(self) -> s3_client.Connection:
        return s3_client.connection(public=True)

    @cached_property
    def _client(self) -> Any:
        """Clients may be used by several threads, what django-storages keeps for each thread would cost as many."""
        return self._inside.connection.meta.client

    @cached_property
    def _signer(self) -> Any:
        return self._outside.connection.meta.client

    @property
    def _bucket(self) -> str:
        return str(self._inside.bucket_name)

    @property
    def public_endpoint(self) -> str:
        """With the bucket where it is part of the host."""
        parts = urlsplit(self._signer.generate_presigned_url("head_bucket", Params={"Bucket": self._bucket}))
        return f"{parts.scheme}://{parts.netloc}"

    # --- what clients do ------------------------------------------------------------------------------------------

    def upload(
        self, key: str, *, content_type: str, size: int | None, sha256: str, max_bytes: int, expires_at: datetime
    ) -> Upload:
        """A PUT where the size is known, else a form: a URL can hold a length but no range of lengths."""
        if size is None:
            return self._form(key, content_type, sha256, min(max_bytes, self.largest_request), expires_at)
        if size > self.largest_request:
            raise TooLarge(f"This storage takes at most {self.largest_request} bytes in one request.")
        signed: dict[str, Any] = {"ContentType": content_type, "ContentLength": size}
        headers = {"Content-Type": content_type}
        if sha256:
            headers["x-amz-checksum-sha256"] = signed["ChecksumSHA256"] = _base64(sha256)
        with translated():
            url = self._signer.generate_presigned_url(
                "put_object", Params={"Bucket": self._bucket, "Key": key, **signed}, ExpiresIn=_seconds(expires_at)
            )
        return Upload(method="PUT", url=url, headers=headers, expires_at=expires_at)

    def _form(self, key: str, content_type: str, sha256: str, most: int, expires_at: datetime) -> Upload:
        fields = {"Content-Type": content_type}
        if sha256:
            fields |= {"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-sha256": _base64(sha256)}
        conditions = [["content-length-range", 0, most], *({name: value} for name, value in fields.items())]
        with translated():
            form = self._signer.generate_presigned_post(
                Bucket=self._bucket, Key=key, Fields=fields, Conditions=conditions, ExpiresIn=_seconds(expires_at)
            )
        return Upload(method="POST", url=form["url"], fields=form["fields"], expires_at=expires_at)

    def download(
        self, key: str, *, file_name: str, content_type: str, inline: bool = False, expires_at: datetime
    ) -> Download:
        """The store cannot be told to send nosniff, so what a browser could run goes as octets."""
        parameters = {
            "ResponseContentDisposition": disposition(file_name, inline=inline),
            "ResponseContentType": _served_type(content_type),
            "ResponseCacheControl": "private, no-store",
        }
        with translated():
            url = self._outside.url(key, parameters=parameters, expire=_seconds(expires_at))
        return Download(url=url, expires_at=expires_at)

    def part(self, key: str, upload_id: str, number: int, *, size: int, expires_at: datetime) -> Upload:
        place = {"Bucket": self._bucket, "Key": key, "UploadId": upload_id, "PartNumber": number}
        with translated():
            url = self._signer.generate_presigned_url(
                "upload_part", Params={**place, "ContentLength": size}, ExpiresIn=_seconds(expires_at)
            )
        return Upload(method="PUT", url=url, expires_at=expires_at)

    # --- what the product does ------------------------------------------------------------------------------------

    def begin_parts(self, key: str, *, content_type: str) -> str:
        with translated():
            begun = self._client.create_multipart_upload(Bucket=self._bucket, Key=key, ContentType=content_type)
        return str(begun["UploadId"])

    def parts(self, key: str, upload_id: str) -> list[Part]:
        return s3_parts.listed(self._client, self._bucket, key, upload_id)

    def join(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        s3_parts.join(self._client, self._bucket, key, upload_id, parts)

    def abort(self, key: str, upload_id: str) -> None:
        s3_parts.abort(self._client, self._bucket, key, upload_id)

    def unfinished(self, *, older_than: datetime) -> Iterator[tuple[str, str]]:
        return s3_parts.unfinished(self._client, self._bucket, older_than)

    def stat(self, key: str) -> Stat | None:
        try:
            with translated():
                head = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        except RemoteMissing:
            return None
        return Stat(
            size=int(head["ContentLength"]),
            content_type=str(head.get("ContentType", "")),
            sha256=_of_the_whole(head),
            modified_at=head["LastModified"],
            etag=str(head.get("ETag", "")),
        )

    def read(self, key: str, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        if end is not None and end <= start:
            if self.stat(key) is None:
                raise RemoteMissing
            return
        # Not "bytes=0-" for everything: no range of an empty object can be satisfied.
        wanted = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end is not None else {}
        with translated():
            try:
                body = self._client.get_object(Bucket=self._bucket, Key=key, **wanted)["Body"]
            except ClientError as error:
                if code_of(error) == "InvalidRange":  # it begins past the end
                    return
                raise
            with closing(body):
                yield from body.iter_chunks(CHUNK)

    def write(self, key: str, chunks: Iterable[bytes], *, content_type: str) -> None:
        """In one request, or in parts where it is large."""
        s3_writing.write(self._client, self._bucket, key, chunks, content_type)

    def promote(self, upload_key: str, key: str, *, size: int | None = None, going: Going = unwatched) -> None:
        """The store copies it itself and hashes it on the way, so that nobody has to fetch it for that. Not every
        compatible store can, and none beyond what one request copies: that goes in ranges, and without a hash."""
        if size is not None and size > self.largest_request:
            s3_writing.copy(self._client, self._bucket, upload_key, key, going)
            return
        copy = {"Bucket": self._bucket, "Key": key, "CopySource": {"Bucket": self._bucket, "Key": upload_key}}
        with translated():
            try:
                self._client.copy_object(**copy, ChecksumAlgorithm="SHA256")
            except ClientError as error:
                if code_of(error) not in CANNOT:
                    raise
                self._client.copy_object(**copy)

    def delete(self, key: str) -> None:
        with suppress(RemoteMissing), translated():
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def keys(self, prefix: str, *, older_than: datetime) -> Iterator[str]:
        """A page at a time, each when it is wanted."""
        listing = self._client.get_paginator("list_objects_v2")
        pages = iter(listing.paginate(Bucket=self._bucket, Prefix=prefix, PaginationConfig={"PageSize": PAGE}))
        while True:
            with translated():
                page = next(pages, None)
            if page is None:
                return
            yield from (found["Key"] for found in page.get("Contents", ()) if found["LastModified"] < older_than)

    def check(self) -> tuple[bool, str]:
        """Also the clock, and what browsers would be told."""
        return s3_check.check()


def _seconds(expires_at: datetime) -> int:
    """From now; a URL never lives longer than was said."""
    return max(1, min(int((expires_at - timezone.now()).total_seconds()), LONGEST_LIFE))


def _served_type(content_type: str) -> str:
    return content_type if _SERVED.fullmatch(content_type) else "application/octet-stream"


def _base64(sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256)).decode()


def _of_the_whole(head: dict[str, Any]) -> str:
    """In hexadecimal. Of an object in parts the store may only know the hash of the parts' hashes:
    docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html"""
    value = str(head.get("ChecksumSHA256", ""))
    if not value or "-" in value or head.get("ChecksumType") == "COMPOSITE":
        return ""
    with suppress(binascii.Error):
        return base64.b64decode(value, validate=True).hex()
    return ""
