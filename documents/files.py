"""Documents for the apps below and beside this one (`settings.DOCUMENT_FILES`, ADR 31)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from core.errors import NotFound, RemoteMissing
from documents import serializers
from documents.models import Document, DocumentStatus
from documents.services import keeping, reading
from documents.services.asking import asking
from documents.storage import store
from integrations.services.files import Brought, DocumentUnusable, Kept, StoredFile

if TYPE_CHECKING:
    from workspaces.models import User, Workspace


class DocumentFiles:
    """As `integrations.services.files.Files`."""

    def check(self, *, workspace: Workspace, size: int = 1) -> None:
        keeping.check(workspace=workspace, size=size)

    def keep(self, *, workspace: Workspace, by: User | None, brought: Brought) -> Kept:
        document, made = keeping.keep(workspace=workspace, by=by, brought=brought)
        return Kept(document.pk, serializers.document(document), made)

    def find(self, *, workspace: Workspace, document_id: uuid.UUID, field: str) -> StoredFile:
        try:
            row = reading.find(workspace=workspace, document_id=document_id)
        except NotFound:
            raise DocumentUnusable(fields={field: ["There is no such document."]}) from None
        if row.status != DocumentStatus.READY:
            raise DocumentUnusable(fields={field: [f"This document is {row.status}; it has to be ready."]})
        return _stored(row, field)


def _stored(row: Document, field: str) -> StoredFile:
    def read(start: int = 0, end: int | None = None) -> Iterator[bytes]:
        try:
            with asking():
                yield from store().read(row.key, start=start, end=end)
        except RemoteMissing:
            raise DocumentUnusable(fields={field: ["This document was deleted."]}) from None

    return StoredFile(row.pk, row.file_name, row.content_type, row.size or 0, read)
