"""Confirming an upload: who looks at it, and that only one does.

A document that somebody looks at is `checking` and has a `Confirmation`, the lease. Up to DOCUMENT_CHECK_AT_ONCE_BYTES
the request that confirms does it and its twins wait for it; above, a task does (`due`, `work`) and the answer is the
document as it stands. What a killed process left behind is taken up by the next confirm or by the tick. Promised: no
two look at one document at the same time; doing it again changes nothing; where it does not end with ready or rejected
the document is pending again, its upload still there, and its confirmation says why.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Least, Now

from core import holder
from core.errors import HubError, LeaseLost, NotConfigured, NotFound, ServiceBusy, TooLarge
from core.redaction import clean_words
from core.work import WorkStatus, backoff_seconds
from documents.models import Confirmation, Document, DocumentStatus, Stage
from documents.services import checking, in_parts, quota, removals
from documents.services.asking import asking
from documents.services.checking import ContentRefused, locked, patience
from documents.services.in_parts import UploadMissing
from documents.services.quota import QuotaExceeded
from documents.services.uploading import UPLOAD_LEAVES
from documents.storage import store

if TYPE_CHECKING:
    from workspaces.models import User

logger = logging.getLogger("patchbay.documents")

TWIN_SECONDS = 10.0
"""So long a confirm waits for one that is at it already; after that it says that it is."""
PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)
MAX_ATTEMPTS = 8
FULL_SECONDS = 10.0
LASTING = (UploadMissing, QuotaExceeded, NotConfigured, TooLarge)
"""Another attempt would not help; whoever confirms next may have mended it."""
CRASHED = "Looking at the upload broke off again and again. Confirm it once more."


def confirm(*, document: Document, by: User | None, wait: Callable[[float], object] = time.sleep) -> Document:
    """The document, also where it was confirmed before; `checking` where that goes on after the answer: the caller
    rings it. UploadMissing, ContentRefused (the object is gone then), QuotaExceeded, ServiceBusy while the store is
    down."""
    ends, turn = time.monotonic() + TWIN_SECONDS, 0
    while document.status in (DocumentStatus.PENDING, DocumentStatus.CHECKING):
        work = _begun(document, by) if document.status == DocumentStatus.PENDING else _left_behind(document)
        if work is not None and work.at_once:
            try:
                return _settled(_done(work))
            except LeaseLost:
                logger.info("document %s is looked at by another one, or was deleted", document.pk)
        document = _again(document)
        if document.status == DocumentStatus.CHECKING:
            if not document.confirmation.at_once or time.monotonic() >= ends:
                return document
            wait(PAUSES[min(turn, len(PAUSES) - 1)])
            turn += 1
    return _settled(document)


def _again(document: Document) -> Document:
    """As it is now. NotFound where it was deleted meanwhile."""
    rows = Document.objects.in_workspace(document.workspace_id)
    return rows.select_related("workspace", "uploaded_by", "confirmation").fetch(document.pk)


def _settled(document: Document) -> Document:
    if document.status == DocumentStatus.REJECTED:
        raise ContentRefused(document.reason_text, code=document.reason)
    return document


# --- beginning ----------------------------------------------------------------------------------------------------


def _begun(document: Document, by: User | None) -> Confirmation | None:
    """The lease; None where another one has it. What can be told at once is: that nothing came, or more than there is
    room for."""
    size = document.size
    at_once = size is not None and size <= settings.DOCUMENT_CHECK_AT_ONCE_BYTES
    if size is None or not (at_once or document.upload_id):
        size = _arrived(document)
        at_once = size <= settings.DOCUMENT_CHECK_AT_ONCE_BYTES
    elif not at_once:
        in_parts.check(document)
    with transaction.atomic():
        row = locked(document)
        if row.status != DocumentStatus.PENDING:
            return None
        quota.take(row, row.size or size)
        row.status = DocumentStatus.CHECKING
        row.save(update_fields=["status", "counted"])
        return _queued(row, by, size, at_once=at_once)


def _arrived(document: Document) -> int:
    """How large what was uploaded is."""
    with asking():
        found = store().stat(document.upload_key)
    if found is None:
        raise UploadMissing
    return found.size


def _queued(row: Document, by: User | None, size: int, *, at_once: bool) -> Confirmation:
    """A new one, or the one before anew: the fence goes on, so whoever still believes in an older lease has none."""
    fence = Confirmation.objects.filter(pk=row.pk).values_list("fence", flat=True).first() or 0
    work = Confirmation(document=row, started_by=by, size=size, at_once=at_once, fence=fence + 1)
    if at_once:
        work.status, work.attempts, work.holder = WorkStatus.RUNNING, 1, holder.me()
        work.started_at, work.lease_until = Now(), Now() + timedelta(seconds=patience(size))
    Confirmation.objects.bulk_create(
        [work], update_conflicts=True, unique_fields=["document"],
        update_fields=[field.name for field in Confirmation._meta.concrete_fields if not field.primary_key],
    )  # fmt: skip
    return work


def _left_behind(document: Document) -> Confirmation | None:
    """What a request that died was at, where this one can go on with it."""
    _bury()
    left = Confirmation.objects.filter(at_once=True, attempts__lt=MAX_ATTEMPTS - 1)
    seconds = patience(settings.DOCUMENT_CHECK_AT_ONCE_BYTES)
    found: Confirmation | None = left.claim(document.pk, lease_seconds=seconds, **_anew())
    return found


def _done(work: Confirmation) -> Document:
    try:
        return checking.attempt(work)
    except LeaseLost:
        raise
    except BaseException as error:  # also where the server is told to end: the document must not wait for its lease
        _give_back(work, *_words(error))
        raise


# --- in a task ----------------------------------------------------------------------------------------------------


def due(limit: int = 100) -> list[uuid.UUID]:
    """Documents to look at: waiting, or left by a process that died."""
    _bury()
    return list(Confirmation.objects.due().order_by("next_attempt_at").values_list("pk", flat=True)[:limit])


def work(document_id: uuid.UUID) -> None:
    """One attempt. Never raises for the store or the scanner."""
    if not _has_room(document_id):
        waits = Confirmation.objects.filter(pk=document_id, status=WorkStatus.QUEUED)
        waits.update(next_attempt_at=Now() + timedelta(seconds=FULL_SECONDS))
        return
    found: Confirmation | None = Confirmation.objects.claim(document_id, lease_seconds=patience(), **_anew())
    if found is None:
        return
    if found.attempts > MAX_ATTEMPTS:  # no attempt ended by itself: each took its worker along
        _give_back(found, "crashed", CRASHED)
        return
    try:
        checking.attempt(found)
    except (LeaseLost, NotFound):
        logger.info("document %s is looked at by another one, or was deleted", document_id)
    except Exception as error:  # the boundary: whatever broke, the row must say so and not wait for its lease
        if not isinstance(error, HubError):
            logger.exception("looking at document %s broke", document_id)
        _after_error(found, error)


def _anew() -> dict[str, object]:
    return {"holder": holder.me(), "stage": Stage.WAITING, "done": 0}


def _has_room(document_id: uuid.UUID) -> bool:
    """Half of the workers, at least one, look at files: these take long, and mail must not wait for them."""
    at_it = Confirmation.objects.filter(status=WorkStatus.RUNNING, at_once=False, lease_until__gte=Now())
    return at_it.exclude(pk=document_id).count() < max(1, settings.WORKER_CONCURRENCY // 2)


def _bury() -> None:
    """Leases of processes that are known to be dead are over."""
    running = Confirmation.objects.filter(status=WorkStatus.RUNNING)
    for pk, name in running.values_list("pk", "holder"):
        if holder.is_dead(name):
            running.filter(pk=pk, holder=name).update(lease_until=Now() - timedelta(seconds=1))


def _after_error(found: Confirmation, error: Exception) -> None:
    """A store or scanner that is down is waited for, however long that is."""
    code, message = _words(error)
    try:
        if isinstance(error, ServiceBusy):
            attempts = Least(F("attempts"), MAX_ATTEMPTS - 2)
            wait = max(error.retry_after, backoff_seconds(found.attempts))
            found.retry(after_seconds=wait, code=code, message=message, stage=Stage.WAITING, done=0, attempts=attempts)
        elif isinstance(error, LASTING) or found.attempts >= MAX_ATTEMPTS:
            _give_back(found, code, message)
        else:
            wait = backoff_seconds(found.attempts)
            found.retry(after_seconds=wait, code=code, message=message, stage=Stage.WAITING, done=0)
    except LeaseLost:
        logger.info("document %s is looked at by another one, or was deleted", found.pk)


def _words(error: BaseException) -> tuple[str, str]:
    if isinstance(error, HubError):
        return error.code[:64], clean_words(error.message)
    return "internal_error", "Looking at the upload broke off. Confirm it once more."


def _give_back(found: Confirmation, code: str, message: str) -> None:
    """Pending again, with the reason; whoever waited for a task finds the upload there for as long as a new one."""
    try:
        with transaction.atomic():
            row = locked(found.document)
            found.fail(code=code, message=message)
            quota.take(row, row.size or 0)
            row.status = DocumentStatus.PENDING
            row.save(update_fields=["status", "counted"])
            if not found.at_once:
                removals.note(row.upload_key, after=UPLOAD_LEAVES)
    except (LeaseLost, NotFound):
        logger.info("document %s is looked at by another one, or was deleted", found.pk)
