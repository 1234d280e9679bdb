"""Uploads too large for one request: where each part may be sent, which have not come yet, and joining them.

A part counts as come when the store has it with its exact length, so a client needs to remember nothing: it sends what
is listed, asks for what is missing until nothing is, and confirms. Addresses are few at a time and good for minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings

from core.errors import Conflict, HubError, RemoteMissing, TooLarge
from documents.models import Document, DocumentStatus
from documents.services import quota
from documents.services.asking import asking
from documents.storage import store
from documents.storage.base import InParts, Part, Upload

PART_LIFE = timedelta(minutes=5)
"""In which sending a part has to begin."""
LISTED = 100
"""So many addresses at a time: more would be spent before they are used."""
GIVEN_UP = "The store has given this upload up. Begin a new one."
ROUNDED = 1024**2
"""Part sizes are whole MiB."""


class UploadMissing(Conflict):
    """409: nothing has been uploaded, or not the whole of it."""

    default_code = "upload_missing"
    default_message = "Nothing has been uploaded for this document yet. Send the file first, then confirm."


@dataclass(frozen=True, slots=True)
class PartUpload:
    """A part that is to be sent."""

    number: int
    """From 1."""
    start: int
    """Of its first byte in the file."""
    size: int
    upload: Upload


@dataclass(frozen=True, slots=True)
class Missing:
    """What is still to be sent of a document."""

    part_size: int
    part_count: int
    missing: int
    """How many parts; the first `LISTED` of them are `parts`."""
    parts: Sequence[PartUpload]
    expires_at: datetime


def wanted(size: int | None, *, asked: bool) -> bool:
    """Whether a file of this size is sent in parts here. TooLarge where no number of parts would do."""
    found = store()
    if not size or not isinstance(found, InParts):
        return False
    if size > found.largest:
        raise TooLarge(f"This storage takes at most {found.largest:,} bytes.", fields={"size": ["Too large."]})
    return asked or size > min(settings.DOCUMENT_PARTS_FROM_BYTES, found.largest_request)


def begin(document: Document) -> Missing:
    """All of it is missing. Sets what the row has to know; the caller saves it, or calls `abandon`. QuotaExceeded,
    ServiceBusy while the store is down."""
    found, size = _store(), document.size or 0
    quota.check(document.workspace_id, size)
    least, most = found.part_sizes
    enough = -(-size // found.most_parts // ROUNDED) * ROUNDED
    document.part_size = min(max(settings.DOCUMENT_PART_BYTES, least, enough), most)
    with asking():
        document.upload_id = found.begin_parts(document.upload_key, content_type=document.content_type)
    return _listed(found, document, list(_sizes(document)))


def abandon(document: Document) -> None:
    """It was begun for nothing. What the store does not do now, the six-hourly pass does."""
    with suppress(HubError):
        _store().abort(document.upload_key, document.upload_id)


def missing(document: Document) -> Missing:
    """What has not come yet, with fresh addresses. Conflict where it is not sent in parts, or settled; UploadMissing
    where the store has given the upload up."""
    if document.status != DocumentStatus.PENDING:
        raise Conflict(f"This document is {document.status}: nothing more is to be sent.", code="not_pending")
    if not document.upload_id:
        raise Conflict("This file is sent in one request, to the address of its upload.", code="not_in_parts")
    found = _store()
    return _listed(found, document, _left(found, document))


def check(document: Document) -> None:
    """UploadMissing where a part has not come, or not whole, or the store has given the upload up."""
    if absent := _left(_store(), document):
        raise _upload_missing(document, absent)


def _left(found: InParts, document: Document) -> list[int]:
    with asking():
        try:
            return _absent(document, found.parts(document.upload_key, document.upload_id))
        except RemoteMissing:
            if found.stat(document.upload_key) is None:
                raise UploadMissing(GIVEN_UP) from None
            return []


def join(document: Document) -> None:
    """What came becomes the uploaded object. Nothing where it is that already, or was given up: the object tells.
    UploadMissing where a part has not come, or not whole; ServiceBusy while the store is down."""
    found = _store()
    with asking(), suppress(RemoteMissing):
        there = found.parts(document.upload_key, document.upload_id)
        if absent := _absent(document, there):
            raise _upload_missing(document, absent)
        count = len(_sizes(document))
        found.join(document.upload_key, document.upload_id, [part for part in there if part.number <= count])


def _sizes(document: Document) -> dict[int, int]:
    """Number → bytes of each part."""
    size, each = document.size or 0, document.part_size or 1
    return {number: min(each, size - start) for number, start in enumerate(range(0, size, each), start=1)}


def _absent(document: Document, there: Sequence[Part]) -> list[int]:
    came = {part.number: part.size for part in there}
    return [number for number, size in _sizes(document).items() if came.get(number) != size]


def _listed(found: InParts, document: Document, absent: Sequence[int]) -> Missing:
    sizes, each = _sizes(document), document.part_size or 1
    expires_at = datetime.now(UTC) + PART_LIFE
    parts = [
        PartUpload(
            number,
            (number - 1) * each,
            sizes[number],
            found.part(document.upload_key, document.upload_id, number, size=sizes[number], expires_at=expires_at),
        )
        for number in absent[:LISTED]
    ]
    return Missing(each, len(sizes), len(absent), parts, expires_at)


def _upload_missing(document: Document, absent: Sequence[int]) -> UploadMissing:
    words = (
        f"{len(absent):,} of {len(_sizes(document)):,} parts have not come, or not whole: send what "
        "GET documents/:id/parts lists, then confirm."
    )
    return UploadMissing(words, extra={"missingParts": list(absent[:LISTED])})


def _store() -> InParts:
    """Conflict where the installation has moved to a store that takes no parts: what was sent lies in the other."""
    found = store()
    if not isinstance(found, InParts):
        raise UploadMissing("The store of documents is another one by now. Begin a new upload.")
    return found
