"""A document becomes ready, or is rejected: what was uploaded is looked at where nobody can change it any more.

Each attempt promotes the upload to a key of its own, looks at it there, and names it in the row only if the row is
still pending: of two attempts one wins, the other cleans up. A removal noted before the attempt takes its object away
if the process dies. Promised: a ready document's object was whole and unchanged when it was looked at and no address
that writes to it was ever made; no attempt leaves an orphan; doing it again changes nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from core.errors import HubError, NotFound, RemoteMissing, ServiceBusy
from documents import keys
from documents.models import Document, DocumentStatus
from documents.services import in_parts, quota, removals, telling
from documents.services.asking import asking
from documents.services.in_parts import GIVEN_UP, UploadMissing
from documents.services.inspecting import Found, Problem, inspect
from documents.services.quota import QuotaExceeded
from documents.storage import store
from integrations.models import EventType
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User

ATTEMPT_LIFE = timedelta(hours=2)
"""Longer than any attempt may take; its object goes after that if nobody took it."""
UPLOAD_ENDS = timedelta(hours=1)
"""After a document is settled, what somebody still sends to its upload address goes after so long."""


class ContentRefused(HubError):
    """422: what was uploaded is not what was announced, or is not taken; `code` says which."""

    status = 422
    default_code = "content_refused"


def confirm(*, document: Document, by: User | None) -> Document:
    """The ready document, also where it was ready before. UploadMissing, ContentRefused (the object is gone then),
    QuotaExceeded, ServiceBusy while the store is down."""
    if document.status != DocumentStatus.PENDING:
        return _settled(document)
    if document.upload_id:
        in_parts.join(document)
    key = keys.final_key(document.workspace_id, document.pk)
    removals.note(key, after=ATTEMPT_LIFE)
    try:
        with asking():
            store().promote(document.upload_key, key, size=document.size)
            found = inspect(store(), key, document)
    except RemoteMissing:
        removals.try_now(key)
        removals.note(key)
        return _settled(_again(document), missing=True)
    try:
        return _settled(_settle(document, key, found, by))
    except (QuotaExceeded, ServiceBusy):
        removals.try_now(key)
        raise


def _again(document: Document) -> Document:
    """As it is now. NotFound where it was deleted meanwhile."""
    rows = Document.objects.in_workspace(document.workspace_id).select_related("workspace", "uploaded_by")
    return rows.fetch(document.pk)


def _settled(document: Document, *, missing: bool = False) -> Document:
    if document.status == DocumentStatus.REJECTED:
        raise ContentRefused(document.reason_text, code=document.reason)
    if document.status == DocumentStatus.PENDING and missing:
        raise UploadMissing(GIVEN_UP if document.upload_id else "")
    return document


def _settle(document: Document, key: str, found: Found, by: User | None) -> Document:
    """Write what was found, if nobody has yet."""
    with transaction.atomic():
        rows = Document.objects.in_workspace(document.workspace_id).select_for_update(of=("self",))
        row = rows.select_related("workspace", "uploaded_by").filter(pk=document.pk).first()
        if row is None or row.status != DocumentStatus.PENDING or found.problem:
            removals.note(key)
        if row is not None and row.status == DocumentStatus.PENDING:
            if found.problem:
                _reject(row, found.problem, by)
            else:
                _accept(row, key, found, by)
    if row is None:
        removals.try_now(key)
        raise NotFound
    removals.try_now(row.upload_key, "" if row.key == key else key)
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
