"""A confirmed document is archived, taken out again, or deleted.

Archiving hides nothing and deletes nothing: it is a mark. Deleting ends the row at once and the object as soon as the
store is there; whoever is confirming meanwhile finds no row and cleans up.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from core.errors import Conflict, NotFound, PermissionRefused
from documents.models import STORED, Document, DocumentStatus
from documents.services import quota, removals, telling
from documents.services.checking import UPLOAD_ENDS
from integrations.models import EventType
from workspaces.models import CONSOLE_ROLES, Membership
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User


@transaction.atomic
def archive(*, document: Document, by: User, archived: bool | None = None) -> Document:
    """Set it, or turn it over where `archived` is None. Conflict where nothing was confirmed."""
    row = _locked(document)
    if row.status not in STORED:
        raise Conflict(f"This document is {row.status}: only one that is ready can be archived.", code="not_ready")
    wanted = row.status != DocumentStatus.ARCHIVED if archived is None else archived
    if wanted == (row.status == DocumentStatus.ARCHIVED):
        return row
    row.status = DocumentStatus.ARCHIVED if wanted else DocumentStatus.READY
    row.archived_at = timezone.now() if wanted else None
    row.save(update_fields=["status", "archived_at"])
    action = "document.archived" if wanted else "document.restored"
    audit.record(by=by, workspace=row.workspace, action=action, target=row, changes={"fileName": row.file_name})
    if wanted:
        telling.tell(EventType.DOCUMENT_ARCHIVED, row)
    return row


def delete(*, document: Document, by: User) -> None:
    """Row and object. PermissionRefused for a MEMBER with a document that somebody else uploaded."""
    if document.uploaded_by_id != by.pk and not _may_delete_others(document, by):
        raise PermissionRefused("Only who uploaded this document, an ADMIN or an OWNER can delete it.")
    with transaction.atomic():
        row = _locked(document)
        _let_go(row)
        audit.record(
            by=by, workspace=row.workspace, action="document.deleted", target=row, changes={"fileName": row.file_name}
        )
        if row.status in STORED:
            telling.tell(EventType.DOCUMENT_DELETED, row)
        key, upload_key = row.key, row.upload_key
        row.delete()
    removals.try_now(key, upload_key)


@transaction.atomic
def give_up(document_id: uuid.UUID) -> bool:
    """End an upload that nobody confirmed; False where somebody just did."""
    row = Document.objects.select_for_update().filter(pk=document_id, status=DocumentStatus.PENDING).first()
    if row is None:
        return False
    _let_go(row)
    row.delete()
    return True


def _let_go(row: Document) -> None:
    quota.take(row, 0)
    removals.note(row.key)
    removals.note(row.upload_key, after=UPLOAD_ENDS)


def _locked(document: Document) -> Document:
    rows = Document.objects.in_workspace(document.workspace_id).select_for_update(of=("self",))
    row = rows.select_related("workspace", "uploaded_by").filter(pk=document.pk).first()
    if row is None:
        raise NotFound
    return row


def _may_delete_others(document: Document, by: User) -> bool:
    rows = Membership.objects.in_workspace(document.workspace_id)
    return rows.filter(user=by, role__in=CONSOLE_ROLES).exists()
