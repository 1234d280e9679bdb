"""One attempt at an upload, under the lease of its `Confirmation`: it becomes ready, or is rejected, or stays.

What was uploaded is looked at where nobody can change it any more: each attempt promotes the upload to a key of its
own, looks at it there, and names it in the row only while the lease is its own. A removal noted before the attempt
takes its object away if the process dies. Promised: a ready document's object was whole and unchanged when it was
looked at and no address that writes to it was ever made; no attempt leaves an orphan; of two attempts at most one
settles.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from core.errors import HubError, NotFound, RemoteMissing, ServiceBusy
from documents import keys, scanning
from documents.models import Confirmation, Document, DocumentStatus, Stage
from documents.services import in_parts, quota, removals, telling
from documents.services.asking import asking
from documents.services.in_parts import GIVEN_UP, UploadMissing
from documents.services.inspecting import Found, Problem, inspect
from documents.storage import store
from integrations.models import EventType
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User

ATTEMPT_LIFE = timedelta(hours=2)
"""After so long without a word of its attempt, an object goes if nobody took it."""
UPLOAD_ENDS = timedelta(hours=1)
"""After a document is settled, what somebody still sends to its upload address goes after so long."""
SILENCE_SECONDS = 180.0
"""Longer than any one request to the store or the scanner, but for copies."""
SLOWEST, MOST_COPIED = 5 * 1024**2, 5 * 1024**3
"""Bytes a second that every store copies, and bytes it copies in one request."""
BEAT_SECONDS = 2.0


class ContentRefused(HubError):
    """422: what was uploaded is not what was announced, or is not taken; `code` says which."""

    status = 422
    default_code = "content_refused"


def patience(size: int = 0) -> float:
    """Seconds a lease has to last: over a silent scanner, and over a copy of so many bytes."""
    scanner = float(settings.CLAMAV_TIMEOUT_SECONDS) if scanning.is_configured() else 0.0
    return SILENCE_SECONDS + scanner + min(size, MOST_COPIED) / SLOWEST


class Pulse:
    """Holds a lease while bytes go by and says how far they are. LeaseLost where another one has it, or the document
    was deleted: whatever goes on then ends."""

    def __init__(self, work: Confirmation, putting: removals.Putting) -> None:
        self._work, self._putting, self._held = work, putting, time.monotonic()

    def begin(self, stage: Stage) -> None:
        self._work.stage, self._work.done = stage, 0
        if not self._work.at_once:
            self._hold(patience(self._work.size if stage == Stage.COPYING else 0))

    def __call__(self, count: int) -> None:
        self._work.done += count
        if time.monotonic() - self._held >= BEAT_SECONDS:
            self._hold(patience())

    def _hold(self, seconds: float) -> None:
        self._work.hold(lease_seconds=seconds, stage=self._work.stage, done=self._work.done)
        self._held = time.monotonic()
        self._putting.off()


def attempt(work: Confirmation) -> Document:
    """The document, ready or rejected. Where it stays `checking`, for the caller to decide: UploadMissing,
    QuotaExceeded, ServiceBusy while store or scanner are down, TooLarge for the scanner, ProviderError, LeaseLost;
    NotFound where it was deleted."""
    document = work.document
    key = keys.final_key(document.workspace_id, document.pk)
    putting = removals.Putting(key, after=ATTEMPT_LIFE)
    try:
        row = _settle(work, key, _found(document, key, Pulse(work, putting)))
    except BaseException:  # also where the process is told to end: what was copied goes now and not in two hours
        removals.abandon(key)
        raise
    removals.try_now(row.upload_key, "" if row.key == key else key)
    return row


def _found(document: Document, key: str, pulse: Pulse) -> Found:
    if document.upload_id:
        pulse.begin(Stage.JOINING)
        in_parts.join(document)
    pulse.begin(Stage.COPYING)
    try:
        with asking():
            store().promote(document.upload_key, key, size=document.size, going=pulse)
            return inspect(store(), key, document, pulse)
    except RemoteMissing:
        raise UploadMissing(GIVEN_UP if document.upload_id else "") from None


@transaction.atomic
def _settle(work: Confirmation, key: str, found: Found) -> Document:
    row = locked(work.document)
    work.hold(lease_seconds=patience())
    if found.problem:
        _reject(row, found.problem, work.started_by)
        removals.note(key)
    else:
        _accept(row, key, found, work.started_by)
    Confirmation.objects.filter(pk=row.pk).delete()
    return row


def locked(document: Document) -> Document:
    """As it is now, for the rest of the transaction. NotFound where it was deleted."""
    rows = Document.objects.in_workspace(document.workspace_id).select_for_update(of=("self",))
    row = rows.select_related("workspace", "uploaded_by").filter(pk=document.pk).first()
    if row is None:
        raise NotFound
    return row


def _accept(row: Document, key: str, found: Found, by: User | None) -> None:
    quota.take(row, found.size)
    if not removals.take_back(key):
        raise ServiceBusy("Looking at the upload took too long. Confirm it once more.", code="storage_unavailable")
    row.status, row.key, row.confirmed_at = DocumentStatus.READY, key, timezone.now()
    row.size, row.sha256, row.sniffed_type = found.size, found.sha256, found.looks_like
    row.save()
    removals.note(row.upload_key, after=UPLOAD_ENDS)
    audit.record(
        by=by, workspace=row.workspace, action="document.uploaded", target=row, changes={"fileName": row.file_name}
    )
    telling.tell(EventType.DOCUMENT_UPLOADED, row)


def _reject(row: Document, problem: Problem, by: User | None) -> None:
    quota.take(row, 0)
    row.status, row.reason, row.reason_text = DocumentStatus.REJECTED, problem.code, problem.words[:500]
    row.save()
    removals.note(row.upload_key, after=UPLOAD_ENDS)
    audit.record(
        by=by, workspace=row.workspace, action="document.rejected", target=row, changes={"reason": problem.code}
    )
