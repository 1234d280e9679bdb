"""What nobody wants any more goes: uploads nobody confirmed, removals that are due, objects no row names.

Called by a tick. Promised: an upload or object nobody names is gone within a day; what a row names stays; a pass that
finds too much of the store to be nobody's removes nothing and says so, because then it is more likely that the rows are
not this store's (a database restored from a dump, a bucket that is shared).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from django.db.models import Q
from django.db.models.functions import Now

from core.ids import oldest_kept
from documents import keys
from documents.models import Document, DocumentStatus, Removal
from documents.services import changing, removals
from documents.services.uploading import UNCONFIRMED_LIFE
from documents.storage import store
from documents.storage.base import InParts

logger = logging.getLogger("patchbay.documents")

CHUNK = 1000
ORPHAN_AGE = timedelta(hours=12)
"""An object this old that no row names belongs to no work under way."""
BELIEVED = 100
SHARE = 0.2
"""So many orphans are always believed; of more, no larger share of a store."""


UNDER_WAY = (DocumentStatus.PENDING, DocumentStatus.CHECKING)


def give_up_old() -> int:
    """End uploads that nobody confirmed in time; how many. What a task looked at and gave back has that time again."""
    before = oldest_kept(UNCONFIRMED_LIFE / timedelta(days=1))
    given_back = Q(confirmation__at_once=False, confirmation__finished_at__gt=Now() - UNCONFIRMED_LIFE)
    rows = Document.objects.filter(~given_back, status=DocumentStatus.PENDING, id__lt=before).order_by("id")
    ended = 0
    while ids := list(rows.values_list("pk", flat=True)[:CHUNK]):
        ended += sum(changing.give_up(pk) for pk in ids)
    return ended


def remove_orphans() -> int:
    """Note for removal what no row names; how many. Goes through the whole store."""
    before = datetime.now(UTC) - ORPHAN_AGE
    seen, orphans = 0, list[str]()
    for part in _parts(store().keys("", older_than=before)):
        ours = [key for key in part if keys.document_of(key) is not None]
        seen += len(ours)
        named = _named(ours)
        orphans += [key for key in ours if key not in named]
    if len(orphans) > max(BELIEVED, SHARE * seen):
        logger.error(
            "%s of %s objects of the document store are named by no row: nothing was removed. Is this the right store?",
            len(orphans),
            seen,
        )
        return 0
    for start in range(0, len(orphans), CHUNK):
        removals.note(*orphans[start : start + CHUNK])
    store().tidy(older_than=before)
    _abort_unnamed(before)
    return len(orphans)


def _abort_unnamed(before: datetime) -> None:
    """End what was begun in parts and no row names: a store keeps the parts, unseen, and they are paid for."""
    found = store()
    if not isinstance(found, InParts):
        return
    begun = ((key, upload_id) for key, upload_id in found.unfinished(older_than=before) if keys.document_of(key))
    while part := list(islice(begun, CHUNK)):
        ids = [upload_id for _, upload_id in part]
        rows = Document.objects.filter(pk__in={keys.document_of(key) for key, _ in part}, status__in=UNDER_WAY)
        leaving = Removal.objects.filter(upload_id__in=ids).values_list("upload_id", flat=True)
        named = {*rows.values_list("upload_id", flat=True), *leaving}
        # A large file that is looked at is copied in parts, too, and that takes its time.
        checked = set(rows.filter(status=DocumentStatus.CHECKING).values_list("pk", flat=True))
        for key, upload_id in part:
            if upload_id not in named and keys.document_of(key) not in checked:
                found.abort(key, upload_id)


def _parts(found: Iterator[str]) -> Iterator[list[str]]:
    while part := list(islice(found, CHUNK)):
        yield part


def _named(found: list[str]) -> set[str]:
    """Of these, what rows speak of: documents, uploads under way, removals to come."""
    documents = Document.objects.filter(key__in=found).values_list("key", flat=True)
    ids = {pk for key in found if keys.is_upload(key) and (pk := keys.document_of(key)) is not None}
    pending = Document.objects.filter(pk__in=ids, status__in=UNDER_WAY).values_list("upload_key", flat=True)
    leaving = Removal.objects.filter(key__in=found).values_list("key", flat=True)
    return {*documents, *pending, *leaving}
