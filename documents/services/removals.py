"""Objects that are to go: written down in the transaction that lets go of them, done when the store is there.

A removal with a later date is a promise to clean up after work that may never end: whoever needs the object in the end
takes the removal back in the same transaction that names it. Keys are used once, so removing is always safe to repeat.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable
from datetime import timedelta

from django.db.models import F

from core.errors import HubError
from documents import keys
from documents.models import Document, DocumentStatus, Removal
from documents.storage import store
from documents.storage.base import InParts
from workspaces.models import ClockTimestamp

logger = logging.getLogger("patchbay.documents")

CHUNK = 200
PUT_OFF_SECONDS = 600.0
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(minutes=15)


def note(*names: str, after: timedelta = timedelta(), upload_id: str = "") -> None:
    """These go, after that time; what is noted already goes then, too. `upload_id`: and so does that upload in parts to
    the one key; said once, it stays with the key."""
    rows = [Removal(key=key, due_at=ClockTimestamp() + after, upload_id=upload_id) for key in sorted({*names} - {""})]
    Removal.objects.bulk_create(rows, update_conflicts=True, unique_fields=["key"], update_fields=["due_at"])


class Putting:
    """Puts the removal of an object off, every few minutes, while work on it goes on, however long that is."""

    def __init__(self, key: str, *, after: timedelta) -> None:
        self._key, self._after, self._noted = key, after, time.monotonic()
        note(key, after=after)

    def off(self) -> None:
        """The work goes on. A removal that was begun is not put off, nor made anew: the object may be gone."""
        if time.monotonic() - self._noted >= PUT_OFF_SECONDS:
            self._noted = time.monotonic()
            Removal.objects.filter(key=self._key, attempts=0).update(due_at=ClockTimestamp() + self._after)


def take_back(key: str) -> bool:
    """It stays. False where it may be gone by now: whoever finds this must not name the object."""
    return bool(Removal.objects.filter(key=key, attempts=0).delete()[0])


def abandon(key: str) -> None:
    """What was written for a document that did not come to be goes now, if it can. Nothing where a document has it:
    who is told to end may be told between naming an object and knowing that it was named."""
    if not Document.objects.filter(key=key).exists():
        note(key)
        try_now(key)


def try_now(*names: str) -> None:
    """After the transaction: most objects go at once. What fails is tried again by `work`; a client may still hold an
    address to write there, so a removal with a later date stays."""
    for key in {*names} - {""}:
        try:
            store().delete(key)
        except HubError as error:
            logger.warning("an object could not be removed yet: %s", error.message)
        else:
            Removal.objects.filter(key=key, due_at__lte=ClockTimestamp()).delete()


def work(*, limit: int = CHUNK) -> int:
    """Remove what is due, oldest first; how many went. A store that is down ends it: the rest waits."""
    gone = 0
    due = list(_due(limit))
    looked_at = _looked_at(key for _, key, _ in due)
    for pk, key, upload_id in due:
        if key in looked_at:
            Removal.objects.filter(pk=pk).update(due_at=ClockTimestamp() + LONGEST_WAIT)
            continue
        taken = Removal.objects.filter(pk=pk, due_at__lte=ClockTimestamp()).update(
            attempts=F("attempts") + 1, due_at=ClockTimestamp() + _wait(pk)
        )
        if not taken:
            continue
        try:
            _remove(key, upload_id)
        except HubError as error:
            Removal.objects.filter(pk=pk).update(error=error.message[:500])
            return gone
        gone += Removal.objects.filter(pk=pk).delete()[0]
    return gone


def _looked_at(found: Iterable[str]) -> set[str]:
    """Uploads that are being checked, however long that takes: whoever settles the document sees to them."""
    ids = {pk for key in found if keys.is_upload(key) and (pk := keys.document_of(key)) is not None}
    rows = Document.objects.filter(pk__in=ids, status=DocumentStatus.CHECKING)
    return set(rows.values_list("upload_key", flat=True))


def _remove(key: str, upload_id: str) -> None:
    """First the parts, so that they cannot become the object any more."""
    found = store()
    if upload_id and isinstance(found, InParts):
        found.abort(key, upload_id)
    found.delete(key)


def _due(limit: int) -> Iterable[tuple[uuid.UUID, str, str]]:
    rows = Removal.objects.filter(due_at__lte=ClockTimestamp()).order_by("due_at")
    return rows.values_list("pk", "key", "upload_id")[:limit]


def _wait(pk: uuid.UUID) -> timedelta:
    """Longer each time, so that what cannot be removed does not keep the rest waiting."""
    attempts: int = Removal.objects.filter(pk=pk).values_list("attempts", flat=True).first() or 0
    return min(FIRST_WAIT * (1 << min(attempts, 10)), LONGEST_WAIT)
