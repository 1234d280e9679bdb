"""Uploads in parts that clients send to an S3-compatible store: signed here, joined and aborted by the product.

What is signed of a part is its key, its upload, its number and its length. Joining ends the upload, so no address of a
part changes anything afterwards. docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from core.errors import ProviderUnavailable, RemoteMissing
from documents.storage.base import Part
from documents.storage.s3_errors import code_of, translated

SIZES = (5 * 1024**2, 5 * 1024**3)
LARGEST = 5 * 1024**4
"""docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html; Amazon itself takes more by now, others do not."""


def listed(client: Any, bucket: str, key: str, upload_id: str) -> list[Part]:
    """By number. RemoteMissing where there is no such upload."""
    pages = iter(client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload_id))
    found: list[Part] = []
    while True:
        with translated():
            page = next(pages, None)
        if page is None:
            return found
        found += [Part(int(part["PartNumber"]), int(part["Size"]), part["ETag"]) for part in page.get("Parts", ())]


def join(client: Any, bucket: str, key: str, upload_id: str, parts: Sequence[Part]) -> None:
    """RemoteMissing where there is no such upload; ProviderUnavailable where a part is another one by now."""
    named = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
    with translated():
        try:
            client.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": named}
            )
        except ClientError as error:
            if code_of(error) == "InvalidPart":
                raise ProviderUnavailable("A part was sent again just then.") from None
            raise


def abort(client: Any, bucket: str, key: str, upload_id: str) -> None:
    """Also where there is no such upload."""
    with suppress(RemoteMissing), translated():
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)


def unfinished(client: Any, bucket: str, older_than: datetime) -> Iterator[tuple[str, str]]:
    """Key and upload id, a page at a time, each when it is wanted."""
    pages = iter(client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket))
    while True:
        with translated():
            page = next(pages, None)
        if page is None:
            return
        for begun in page.get("Uploads", ()):
            if begun["Initiated"] < older_than:
                yield begun["Key"], begun["UploadId"]
