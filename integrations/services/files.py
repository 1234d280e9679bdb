"""Documents of a workspace, for those who bring a file or need one: mail, and actions of integrations.

The documents are an app beside those, above this one, so they are asked for by the dotted path in settings
(`settings.DOCUMENT_FILES`, ADR 31). Promised: a file that is kept was sized, sniffed, scanned and counted like one
that somebody uploaded; bytes go through in parts.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from django.conf import settings
from django.utils.module_loading import import_string

from core.errors import HubError

if TYPE_CHECKING:
    from workspaces.models import User, Workspace


class DocumentUnusable(HubError):
    """422: the document that is named cannot be used: there is none, or it is not ready. `fields` names where."""

    status = 422
    default_code = "document_unusable"
    default_message = "A document cannot be used."


@dataclass(frozen=True, slots=True)
class Brought:
    """A file from elsewhere that is to be a document of an entity."""

    file_name: str
    content_type: str
    """As its sender claims; application/octet-stream claims nothing, and is replaced by what the content looks like."""
    entity_type: str
    entity_id: str
    chunks: Iterable[bytes] = field(repr=False)
    """Begun only after all that can be refused without them was, so they may be fetched as they are asked for."""
    size: int | None = None
    """In bytes, as far as it is known before; only what is surely too large is refused by it."""
    origin: str = ""
    """Where it is from: the same one is one document of an entity, however often it is brought. "": always new."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The document that came of it."""

    document_id: uuid.UUID
    shown: Mapping[str, Any]
    """As the API shows documents."""
    made: bool
    """False: it was there before."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A document that is ready."""

    document_id: uuid.UUID
    file_name: str
    content_type: str
    size: int
    read: Callable[[int, int | None], Iterator[bytes]] = field(repr=False)
    """(start, end) → those bytes, in parts; end None: all that follow. ServiceBusy where the store is down."""


class Files(Protocol):
    """What the setting names."""

    def check(self, *, workspace: Workspace, size: int = 1) -> None:
        """Whether so many bytes could be kept now: QuotaExceeded, NotConfigured, ServiceBusy where they could not."""

    def keep(self, *, workspace: Workspace, by: User | None, brought: Brought) -> Kept:
        """InvalidInput for a type that is not taken, TooLarge, QuotaExceeded 409, ContentRefused 422, NotConfigured,
        ServiceBusy while the store or the scanner is down; errors of whoever gives the bytes as they are. What is
        refused leaves nothing behind."""

    def find(self, *, workspace: Workspace, document_id: uuid.UUID, field: str) -> StoredFile:
        """DocumentUnusable, naming `field`, for a foreign or missing id alike, and for one that is not ready."""


def files() -> Files:
    """The documents of this installation."""
    return cast("Files", import_string(settings.DOCUMENT_FILES)())
