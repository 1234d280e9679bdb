"""A document begins: its row, its share of the quota, and an address its bytes may be sent to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction

from core.errors import InvalidInput, TooLarge
from core.ids import uuid7
from documents import keys, names
from documents.models import Document
from documents.services import quota, removals
from documents.storage import store
from documents.storage.base import Upload
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

UPLOAD_LIFE = timedelta(minutes=5)
"""In which an upload has to begin; it may last longer (reference reliability S14)."""
UNCONFIRMED_LIFE = timedelta(hours=20)
"""After which an upload nobody confirmed is given up; with an hour for the reaper's turn it is gone within a day."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What the client goes on with."""

    document: Document
    upload: Upload


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
) -> Begun:
    """InvalidInput for a name or type that is not taken, TooLarge, QuotaExceeded, NotConfigured. No call to the
    store, so it works while that is down."""
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
    upload = store().upload(
        document.upload_key,
        content_type=kind,
        size=size,
        sha256=document.sha256,
        max_bytes=settings.DOCUMENT_MAX_BYTES,
        expires_at=expires_at,
    )
    with transaction.atomic():
        document.save(force_insert=True)
        if size:
            quota.take(document, size)
            document.save(update_fields=["counted"])
        removals.note(document.upload_key, after=UNCONFIRMED_LIFE + timedelta(hours=1))
        audit.record(
            by=by, workspace=workspace, action="document.begun", target=document, changes={"size": size, "type": kind}
        )
    document.refresh_from_db(fields=["created_at"])
    return Begun(document, upload)


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
