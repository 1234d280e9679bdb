"""A document begins: its row, its share of the quota, and an address its bytes may be sent to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction

from core.errors import HubError, InvalidInput, TooLarge
from core.ids import uuid7
from documents import keys, names
from documents.models import Document
from documents.services import in_parts, quota, removals
from documents.services.in_parts import Missing
from documents.storage import store
from documents.storage.base import Upload
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

UPLOAD_LIFE = timedelta(minutes=5)
"""In which an upload has to begin; it may last longer (reference reliability S14)."""
UNCONFIRMED_LIFE = timedelta(hours=20)
"""After which an upload nobody confirmed is given up; with an hour for the reaper's turn it is gone within a day."""
UPLOAD_LEAVES = UNCONFIRMED_LIFE + timedelta(hours=1)
"""After which what was sent goes from the store, if nobody looks at it then."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What the client goes on with."""

    document: Document
    upload: Upload | Missing
    """In one request, or in parts."""


def begin(
    *,
    workspace: Workspace,
    by: User,
    file_name: str,
    content_type: str,
    entity_type: str,
    entity_id: str,
    size: int | None = None,
    sha256: str = "",
    parts: bool = False,
) -> Begun:
    """InvalidInput for a name or type that is not taken, TooLarge, QuotaExceeded, NotConfigured. `parts`: in parts
    where the store takes any, also if one request would do; that asks the store, so ServiceBusy while it is down.
    Otherwise there is no call to it."""
    kind = acceptable_type(content_type)
    check_size(size)
    expires_at = datetime.now(UTC) + UPLOAD_LIFE
    document = Document(
        id=(pk := uuid7()),
        workspace=workspace,
        file_name=names.clean(file_name),
        content_type=kind,
        entity_type=entity_type,
        entity_id=entity_id,
        size=size,
        sha256=sha256.lower(),
        uploaded_by=by,
        upload_key=keys.upload_key(workspace.pk, pk),
        upload_expires_at=expires_at,
    )
    if in_parts.wanted(size, asked=parts):
        upload: Upload | Missing = in_parts.begin(document)
    else:
        upload = store().upload(
            document.upload_key,
            content_type=kind,
            size=size,
            sha256=document.sha256,
            max_bytes=settings.DOCUMENT_MAX_BYTES,
            expires_at=expires_at,
        )
    try:
        _save(document, by)
    except HubError:
        if document.upload_id:
            in_parts.abandon(document)
        raise
    document.refresh_from_db(fields=["created_at"])
    return Begun(document, upload)


@transaction.atomic
def _save(document: Document, by: User) -> None:
    document.save(force_insert=True)
    if document.size:
        quota.take(document, document.size)
        document.save(update_fields=["counted"])
    removals.note(document.upload_key, after=UPLOAD_LEAVES, upload_id=document.upload_id)
    changes = {"size": document.size, "type": document.content_type}
    audit.record(by=by, workspace=document.workspace, action="document.begun", target=document, changes=changes)


def acceptable_type(content_type: str) -> str:
    """The content type in its plain form. InvalidInput where it is none, or none that is taken."""
    kind = names.content_type(content_type)
    if not names.is_allowed(kind, settings.DOCUMENT_ALLOWED_TYPES):
        allowed = ", ".join(settings.DOCUMENT_ALLOWED_TYPES)
        raise InvalidInput(fields={"contentType": [f"Documents of this type are not taken. Allowed are {allowed}."]})
    return kind


def check_size(size: int | None) -> None:
    """TooLarge above the limit."""
    most = settings.DOCUMENT_MAX_BYTES
    if size is not None and size > most:
        raise TooLarge(f"A document has at most {most:,} bytes.", fields={"size": [f"At most {most:,}."]})
