"""Documents that go along with a mail: found, weighed, and read only when the mail may be that large.

Called by `sending` and `drafts`. What goes along is a copy: what becomes of the document later changes no mail.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from email_sync.composing import OutgoingAttachment, refuse_larger
from integrations.services.files import StoredFile, files

if TYPE_CHECKING:
    from workspaces.models import Workspace


@dataclass(frozen=True, slots=True)
class Enclosure:
    """A document of the workspace, by its id."""

    document_id: uuid.UUID
    field: str
    """What the caller named it in."""


File = OutgoingAttachment | Enclosure


def opened(given: Sequence[File], *, workspace: Workspace, limit: int) -> list[OutgoingAttachment]:
    """The same files with their bytes, in this order. DocumentUnusable 422, naming the field; TooLarge before any byte
    is read where they are more than `limit` in a mail; ServiceBusy while the store is down."""
    found = [_found(file, workspace) if isinstance(file, Enclosure) else file for file in given]
    sizes = (file.size if isinstance(file, StoredFile) else len(file.content) for file in found)
    refuse_larger(sum(sizes) * 4 // 3, limit)
    return [_read(file) if isinstance(file, StoredFile) else file for file in found]


def _found(file: Enclosure, workspace: Workspace) -> StoredFile:
    return files().find(workspace=workspace, document_id=file.document_id, field=file.field)


def _read(file: StoredFile) -> OutgoingAttachment:
    return OutgoingAttachment(file.file_name, file.content_type, b"".join(file.read(0, None)))
