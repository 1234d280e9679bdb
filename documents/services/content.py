"""The local store's side of its signed addresses: bytes come in and go out here, in parts, whatever their number."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from core.errors import HubError, InvalidInput, NotFound, RemoteMissing, TooLarge
from documents.services.asking import asking
from documents.storage import store
from documents.storage.links import DownloadGrant, UploadGrant, read_download, read_upload
from documents.storage.local import LocalStore

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")


class LengthRequired(HubError):
    """411: an upload says how long it is."""

    status = 411
    default_code = "length_required"
    default_message = "Send the file with a Content-Length."


class WrongContent(HubError):
    """422: what came is not what the address is for."""

    status = 422
    default_code = "content_refused"


class RangeNotSatisfiable(HubError):
    """416: there are no such bytes."""

    status = 416
    default_code = "range_not_satisfiable"
    default_message = "The file does not have these bytes."


@dataclass(frozen=True, slots=True)
class Part:
    """What of an object is sent."""

    grant: DownloadGrant
    size: int
    """Of the whole."""
    start: int
    end: int
    """Without."""
    etag: str
    chunks: Iterator[bytes]

    @property
    def is_whole(self) -> bool:
        return (self.start, self.end) == (0, self.size)


def check(link: str, *, length: int | None, content_type: str) -> UploadGrant:
    """What an address lets one send, held against what is announced, before a byte is read."""
    _local()
    grant = read_upload(link)
    if length is None:
        raise LengthRequired
    if grant.size is None and length > grant.max_bytes:
        raise TooLarge(f"A document has at most {grant.max_bytes:,} bytes.")
    if grant.size is not None and length != grant.size:
        raise WrongContent(f"{grant.size:,} bytes were announced, {length:,} are being sent.", code="size_mismatch")
    if content_type.partition(";")[0].strip().lower() != grant.content_type:
        raise WrongContent(f"Send it with Content-Type: {grant.content_type}.", code="type_mismatch")
    return grant


def receive(grant: UploadGrant, chunks: Iterable[bytes], *, length: int) -> None:
    """Whole or not at all. InvalidInput where fewer bytes come than were announced, WrongContent where others do."""
    with asking():
        _local().write(grant.key, _checked(chunks, length, grant.sha256), content_type=grant.content_type)


def _checked(chunks: Iterable[bytes], length: int, sha256: str) -> Iterator[bytes]:
    """The chunks. An error at their end, before they have a name, where they are not what was announced."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        size += len(chunk)
        digest.update(chunk)
        yield chunk
    if size != length:
        raise InvalidInput(f"{size:,} of {length:,} bytes came.", code="upload_incomplete")
    if sha256 and digest.hexdigest() != sha256:
        raise WrongContent("The bytes have another SHA-256 than was announced.", code="hash_mismatch")


def part(link: str, *, inline: bool, range_header: str, if_range: str) -> Part:
    """What is sent for an address. NotFound where the object is gone meanwhile, RangeNotSatisfiable."""
    place = _local()
    grant = read_download(link)
    if grant.inline != inline:
        raise NotFound
    with asking():
        found = place.stat(grant.key)
    if found is None:
        raise NotFound
    etag = f'"{found.etag}"'
    wanted = _range(range_header, found.size) if not if_range or if_range == etag else None
    start, end = wanted or (0, found.size)
    chunks = place.read(grant.key, start=start, end=end)
    try:
        with asking():
            first = next(chunks, b"")  # what is gone by now is gone before an answer was begun
    except RemoteMissing:
        raise NotFound from None
    return Part(grant, found.size, start, end, etag, chain([first], chunks))


def _range(header: str, size: int) -> tuple[int, int] | None:
    """One range (RFC 9110 14.2); None for none, and for what may be ignored: several, other units."""
    found = _RANGE.match(header.replace(" ", ""))
    if not found or (not found[1] and not found[2]):
        return None
    if not found[1]:
        start, end = max(size - int(found[2]), 0), size
    else:
        start, end = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None
    if start >= size or start >= end:
        raise RangeNotSatisfiable
    return start, end


def _local() -> LocalStore:
    """NotFound where documents lie elsewhere: then these addresses are nobody's."""
    found = store()
    if not isinstance(found, LocalStore):
        raise NotFound
    return found
