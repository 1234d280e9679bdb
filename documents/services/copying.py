"""Copies between documents and a workspace's file store, in either direction, of any size, in flat memory.

Begun by an action of the integration (`start`), worked by a task (`due`, `work`). What goes there has its id before the
first byte leaves, what comes from there its origin, so that an attempt that broke off, or whose worker was killed, is
repeated and makes no second one. The lease is renewed with every part that goes by.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from django.db.models import F
from django.db.models.functions import Greatest, Now

from core.errors import (
    Conflict,
    Crashing,
    EgressRefused,
    HubError,
    InvalidInput,
    LeaseLost,
    NotConfigured,
    NotFound,
    ProviderRateLimited,
    ProviderRejected,
    RemoteMissing,
    ServiceBusy,
    TooLarge,
    UnsupportedOperation,
)
from core.http import clean_words
from core.work import ACTIVE, backoff_seconds, sane_wait
from documents.models import Document, DocumentCopy, DocumentStatus
from documents.services import keeping, reading
from documents.services.asking import asking
from documents.services.checking import ContentRefused
from documents.storage import store
from integrations.providers.base import FILES, Action
from integrations.records import FileStore
from integrations.services import bringing, integration_health, integration_use
from integrations.services.files import Brought, DocumentUnusable
from integrations.services.integrations import provider_of
from workspaces import scoping

if TYPE_CHECKING:
    from integrations.models import Integration
    from workspaces.models import User, Workspace

logger = logging.getLogger("patchbay.documents")

LEASE_SECONDS = 180.0
"""Longer than any one request to a vendor."""
MAX_ATTEMPTS = 8
REMEMBERED = timedelta(days=30)
LASTING = (
    Conflict, InvalidInput, NotConfigured, ProviderRejected, TooLarge, UnsupportedOperation, ContentRefused,
    DocumentUnusable, NotFound, RemoteMissing, EgressRefused, Crashing,
)  # fmt: skip
"""Another attempt would not help."""


def start(*, integration: Integration, action: Action, given: Mapping[str, Any], by: User) -> DocumentCopy:
    """Queue it; the caller rings it. DocumentUnusable, QuotaExceeded, Disabled, NotConfigured at once."""
    if FILES not in provider_of(integration).capabilities:
        raise UnsupportedOperation("This integration has no files.")
    integration_use.provider_for(integration)
    row = DocumentCopy(integration=integration, action=action.name, started_by=by, given=dict(given))
    if action.brings:
        asked, entity = bringing.read(action, given)
        row.given = {**asked, **entity}
        keeping.check(workspace=integration.workspace, size=1)
    else:
        row.document = _ready(integration.workspace, given["documentId"])
        row.total = row.document.size
    row.save(force_insert=True)
    row.refresh_from_db()
    return row


def find(*, workspace: Workspace, copy_id: object) -> DocumentCopy:
    """NotFound for a foreign, malformed or missing id alike."""
    rows = DocumentCopy.objects.filter(integration__workspace=workspace)
    row: DocumentCopy = scoping.fetch(rows, pk=copy_id)
    return row


def of_document(document: Document, *, limit: int) -> list[DocumentCopy]:
    """The newest of those that bring it somewhere, or that brought it here."""
    return list(DocumentCopy.objects.filter(document=document).select_related("integration").order_by("-id")[:limit])


def comes_here(copy: DocumentCopy) -> bool:
    """Whether a file is to become a document; else a document goes to the file store."""
    return "documentId" not in copy.given


def due(limit: int = 100) -> list[object]:
    """Work to ring: waiting, or left by a worker that died."""
    return DocumentCopy.objects.to_ring(limit)


def forget_old() -> None:
    """Rows of copies that ended long ago; what was copied stays."""
    DocumentCopy.objects.exclude(status__in=ACTIVE).filter(finished_at__lt=Now() - REMEMBERED).delete()


def work(copy_id: object) -> None:
    """One attempt, from the beginning. Never raises for a vendor or the store."""
    copy: DocumentCopy | None = DocumentCopy.objects.claim(copy_id, lease_seconds=LEASE_SECONDS, done=0)
    if copy is None:
        return
    try:
        if copy.attempts > MAX_ATTEMPTS:  # no attempt ended by itself: each took its worker along
            raise Crashing("The copy broke off again and again.")
        integration = copy.integration
        remote = cast("FileStore", integration_use.provider_for(integration))
        action = provider_of(integration).action(copy.action)
        result = _fetch(copy, remote) if action.brings else _send(copy, remote)
        copy.finish(**result)
        integration_health.works(integration)
    except LeaseLost:
        logger.info("copy %s was taken over by another worker", copy.pk)
    except (HubError, OSError) as error:
        _after_error(copy, error)
    except Exception as error:  # the boundary: whatever broke, the row must say so and not wait for its lease
        logger.exception("copy %s broke", copy.pk)
        _after_error(copy, error)


# --- there --------------------------------------------------------------------------------------------------------


def _send(copy: DocumentCopy, remote: FileStore) -> dict[str, Any]:
    document = _ready(copy.integration.workspace, copy.given["documentId"])
    size = document.size or 0
    if not copy.file_id:
        copy.file_id = remote.new_file_id()
        copy.hold(lease_seconds=LEASE_SECONDS, file_id=copy.file_id)

    def read(start: int, length: int) -> bytes:
        copy.hold(lease_seconds=LEASE_SECONDS, done=start)
        if not length:
            return b""
        try:
            with asking():
                return b"".join(store().read(document.key, start=start, end=start + length))
        except RemoteMissing:
            raise DocumentUnusable("The document was deleted meanwhile.") from None

    file = remote.send_file(
        read, size, name=document.file_name, content_type=document.content_type, file_id=copy.file_id, given=copy.given
    )
    return {"result": dict(file), "done": size}


def _ready(workspace: Workspace, document_id: object) -> Document:
    try:
        row = reading.find(workspace=workspace, document_id=document_id)
    except NotFound:
        raise DocumentUnusable(fields={"documentId": ["There is no such document."]}) from None
    if row.status != DocumentStatus.READY:
        raise DocumentUnusable(fields={"documentId": [f"This document is {row.status}; it has to be ready."]})
    return row


# --- from there ---------------------------------------------------------------------------------------------------


def _fetch(copy: DocumentCopy, remote: FileStore) -> dict[str, Any]:
    file = remote.open_file(copy.given)
    copy.hold(lease_seconds=LEASE_SECONDS, total=file.size)
    brought = Brought(
        file_name=file.name.replace("/", "-"),
        content_type=file.content_type,
        entity_type=copy.given["entity_type"],
        entity_id=copy.given["entity_id"],
        chunks=_held(copy, file.chunks),
        size=file.size,
        origin=f"copy:{copy.pk}",
    )
    document, _ = keeping.keep(workspace=copy.integration.workspace, by=copy.started_by, brought=brought)
    return {"document": document, "done": document.size, "total": document.size, "result": {"id": copy.given["fileId"]}}


def _held(copy: DocumentCopy, chunks: Iterable[bytes]) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        copy.hold(lease_seconds=LEASE_SECONDS, done=done)
        yield chunk


# --- when it does not work ----------------------------------------------------------------------------------------


def _after_error(copy: DocumentCopy, error: Exception) -> None:
    """The error carries the decision (DESIGN 3). A worker that lost its lease decides nothing."""
    code, message = "internal_error", "The copy broke; the log says where. It is tried again."
    if isinstance(error, HubError):
        words = " ".join([error.message, *(text for texts in error.fields.values() for text in texts)])
        code, message = error.code[:64], clean_words(words)
    try:
        if isinstance(error, ProviderRateLimited):
            attempts = Greatest(F("attempts") - 1, 0)
            copy.retry(after_seconds=sane_wait(error.retry_after), code=code, message=message, attempts=attempts)
        elif isinstance(error, LASTING) or copy.attempts >= MAX_ATTEMPTS:
            copy.fail(code=code, message=message)
        else:
            wait = error.retry_after if isinstance(error, ServiceBusy) else backoff_seconds(copy.attempts)
            copy.retry(after_seconds=wait, code=code, message=message)
    except LeaseLost:
        logger.info("copy %s was taken over by another worker", copy.pk)
        return
    if isinstance(error, HubError):
        integration_health.refused(copy.integration, error)
