"""Writing an object of the server's own to an S3-compatible store, from bytes or from another object there: whole or
not at all, in flat memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from core.errors import ProviderError
from documents.storage.base import Going, unwatched
from documents.storage.s3_errors import translated

PART = 8 * 1024**2
"""All parts but the last have at least 5 MiB: docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""
MOST_PARTS = 10_000
COPIED = 256 * 1024**2
"""Bytes the store copies in one request: so many that it answers in time."""


def write(client: Any, bucket: str, key: str, chunks: Iterable[bytes], content_type: str) -> None:
    """Nothing is at `key` before the last byte has arrived; where `chunks` breaks, nothing stays."""
    parts = _parts(chunks)
    first, second = next(parts, b""), next(parts, None)
    place = {"Bucket": bucket, "Key": key}
    if second is None:
        with translated():
            client.put_object(**place, Body=first, ContentType=content_type)
        return
    with _joined(client, place, content_type) as (there, sent):
        for number, part in enumerate(_again(first, second, parts), start=1):
            sent.append(_send(client, there, number, part))


def copy(client: Any, bucket: str, source: str, key: str, going: Going = unwatched) -> None:
    """The store copies `source`, whatever its size, in ranges of the one object that lies there now. RemoteMissing
    where there is none."""
    with translated():
        head = client.head_object(Bucket=bucket, Key=source)
    size, content_type = int(head["ContentLength"]), str(head.get("ContentType") or "application/octet-stream")
    each = max(COPIED, -(-size // MOST_PARTS))
    same = {"CopySource": {"Bucket": bucket, "Key": source}, "CopySourceIfMatch": head["ETag"]}
    with _joined(client, {"Bucket": bucket, "Key": key}, content_type) as (there, sent):
        for number, start in enumerate(range(0, size, each), start=1):
            wanted = f"bytes={start}-{min(start + each, size) - 1}"
            with translated():
                answer = client.upload_part_copy(**there, **same, PartNumber=number, CopySourceRange=wanted)
            sent.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
            going(min(each, size - start))


@contextmanager
def _joined(
    client: Any, place: dict[str, str], content_type: str
) -> Iterator[tuple[dict[str, str], list[dict[str, object]]]]:
    """Where to put parts, and a list of those that were put: they become the object at the end. Where it breaks off, by
    whatever it is, nothing stays: a store keeps parts, unseen, and they are paid for."""
    with translated():
        there = {**place, "UploadId": client.create_multipart_upload(**place, ContentType=content_type)["UploadId"]}
    sent: list[dict[str, object]] = []
    try:
        yield there, sent
        with translated():
            client.complete_multipart_upload(**there, MultipartUpload={"Parts": sent})
    except BaseException:
        with suppress(ProviderError), translated():  # else the six-hourly pass takes it
            client.abort_multipart_upload(**there)
        raise


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
