"""Writing an object of the server's own to an S3-compatible store: whole or not at all, in flat memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from core.errors import ProviderError, RemoteMissing
from documents.storage.s3_errors import translated

PART = 8 * 1024**2
"""All parts but the last have at least 5 MiB: docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""
MOST_PARTS = 10_000


def write(client: Any, bucket: str, key: str, chunks: Iterable[bytes], content_type: str) -> None:
    """Nothing is at `key` before the last byte has arrived; where `chunks` breaks, nothing stays."""
    parts = _parts(chunks)
    first, second = next(parts, b""), next(parts, None)
    place = {"Bucket": bucket, "Key": key}
    if second is None:
        with translated():
            client.put_object(**place, Body=first, ContentType=content_type)
        return
    with translated():
        place["UploadId"] = client.create_multipart_upload(**place, ContentType=content_type)["UploadId"]
    try:
        sent = [_send(client, place, number, part) for number, part in enumerate(_again(first, second, parts), start=1)]
        with translated():
            client.complete_multipart_upload(**place, MultipartUpload={"Parts": sent})
    except BaseException:
        with suppress(ProviderError), translated():  # else the bucket's lifecycle rule has to take it
            client.abort_multipart_upload(**place)
        raise


def abort_older(client: Any, bucket: str, older_than: datetime) -> int:
    """Writes in parts that were begun before then and never came to an end; how many."""
    pages = iter(client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket))
    aborted = 0
    while True:
        with translated():
            page = next(pages, None)
        if page is None:
            return aborted
        for begun in page.get("Uploads", ()):
            if begun["Initiated"] < older_than:
                with suppress(RemoteMissing), translated():
                    client.abort_multipart_upload(Bucket=bucket, Key=begun["Key"], UploadId=begun["UploadId"])
                aborted += 1


def _send(client: Any, place: dict[str, str], number: int, part: bytes) -> dict[str, object]:
    if number > MOST_PARTS:
        raise ProviderError(f"The store of documents takes at most {PART * MOST_PARTS} bytes in one object.")
    with translated():
        answer = client.upload_part(**place, PartNumber=number, Body=part)
    return {"PartNumber": number, "ETag": answer["ETag"]}


def _parts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in parts of PART; the last one shorter."""
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        while len(waiting) >= PART:
            yield bytes(waiting[:PART])
            del waiting[:PART]
    if waiting:
        yield bytes(waiting)


def _again(first: bytes, second: bytes, parts: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield second
    yield from parts
