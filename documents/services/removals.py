"""Objects that are to go: written down in the transaction that lets go of them, done when the store is there.

A removal with a later date is a promise to clean up after work that may never end: whoever needs the object in the end
takes the removal back in the same transaction that names it. Keys are used once, so removing is always safe to repeat.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from datetime import timedelta

from django.db.models import F

from core.errors import HubError
from documents.models import Removal
from documents.storage import store
from documents.storage.base import InParts
from workspaces.models import ClockTimestamp

logger = logging.getLogger("patchbay.documents")

CHUNK = 200
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(minutes=15)


def note(*keys: str, after: timedelta = timedelta(), upload_id: str = "") -> None:
    """These go, after that time; what is noted already goes then, too. `upload_id`: and so does that upload in parts to
    the one key; said once, it stays with the key."""
    rows = [Removal(key=key, due_at=ClockTimestamp() + after, upload_id=upload_id) for key in sorted({*keys} - {""})]
    Removal.objects.bulk_create(rows, update_conflicts=True, unique_fields=["key"], update_fields=["due_at"])


def take_back(key: str) -> bool:
    """It stays. False where it may be gone by now: whoever finds this must not name the object."""
    return bool(Removal.objects.filter(key=key, attempts=0).delete()[0])


def try_now(*keys: str) -> None:
    """After the transaction: most objects go at once. What fails is tried again by `work`; a client may still hold an
    address to write there, so a removal with a later date stays."""
    for key in {*keys} - {""}:
        try:
            store().delete(key)
        except HubError as error:
            logger.warning("an object could not be removed yet: %s", error.message)
        else:
            Removal.objects.filter(key=key, due_at__lte=ClockTimestamp()).delete()


def work(*, limit: int = CHUNK) -> int:
    """Remove what is due, oldest first; how many went. A store that is down ends it: the rest waits."""
    gone = 0
    for pk, key, upload_id in list(_due(limit)):
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
