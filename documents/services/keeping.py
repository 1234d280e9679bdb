"""A file that the product itself brings (from a mail, from a vendor) becomes a document: ready, or not at all.

It is written straight to a final key, for which no address was ever made, sized and hashed on its way in and judged as
an upload is. A removal noted before takes its object away if the process dies. Promised: what is refused or breaks off
leaves neither row nor object; of one origin an entity has one document, whoever brings it at the same moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from core.errors import HubError, InvalidInput, ServiceBusy, TooLarge
from core.ids import uuid7
from documents import keys, names, sniffing
from documents.models import STORED, Document, DocumentStatus
from documents.services import quota, removals, telling
from documents.services.asking import asking
from documents.services.checking import ATTEMPT_LIFE, ContentRefused
from documents.services.inspecting import Found, Seen, judge
from documents.services.uploading import acceptable_type, check_size
from documents.storage import store
from integrations.models import EventType
from workspaces.services import audit

if TYPE_CHECKING:
    from integrations.services.files import Brought
    from workspaces.models import User, Workspace

UNKNOWN_TYPE = "application/octet-stream"


def keep(*, workspace: Workspace, by: User | None, brought: Brought) -> tuple[Document, bool]:
    """The ready document, and whether it was made now. See `integrations.services.files.Files.keep`."""
    if (before := _before(workspace, brought)) is not None:
        return before, False
    document = _begun(workspace, by, brought)
    check(workspace=workspace, size=brought.size or 0)
    key = keys.final_key(workspace.pk, document.pk)
    putting = removals.Putting(key, after=ATTEMPT_LIFE)
    try:
        _accept(document, key, _written(document, key, _Passing(brought.chunks, putting)), by)
    except IntegrityError:
        removals.abandon(key)
        if (twin := _before(workspace, brought)) is None:  # and it was deleted again
            raise ServiceBusy(code="storage_unavailable") from None
        return twin, False
    except BaseException:  # also where the process is told to end: what was written goes now and not in two hours
        removals.abandon(key)
        raise
    document.refresh_from_db(fields=["created_at"])
    return document, True


def check(*, workspace: Workspace, size: int) -> None:
    """TooLarge, QuotaExceeded; NotConfigured and ServiceBusy where the store cannot be asked now. Told before anybody
    fetches or pays for bytes that could not be kept."""
    check_size(size)
    quota.check(workspace.pk, size)
    with asking():
        store().stat(keys.final_key(workspace.pk, uuid7()))


def _before(workspace: Workspace, brought: Brought) -> Document | None:
    if not brought.origin:
        return None
    rows = Document.objects.in_workspace(workspace).select_related("workspace", "uploaded_by")
    same = rows.of_entity(entity_type=brought.entity_type, entity_id=brought.entity_id)
    return same.filter(origin=brought.origin, status__in=STORED).first()


def _begun(workspace: Workspace, by: User | None, brought: Brought) -> Document:
    return Document(
        id=uuid7(),
        workspace=workspace,
        uploaded_by=by,
        file_name=names.clean(brought.file_name),
        content_type=_claimed(brought.content_type),
        entity_type=brought.entity_type,
        entity_id=brought.entity_id,
        origin=brought.origin,
    )


def _claimed(content_type: str) -> str:
    """A stranger's claim, if it is one. InvalidInput where files of that type are not taken."""
    try:
        kind = names.content_type(content_type)
    except InvalidInput:
        return UNKNOWN_TYPE
    return kind if kind == UNKNOWN_TYPE else acceptable_type(kind)


def _named(looks_like: str) -> str:
    """The type of a file of which nothing was claimed. Old office files look all the same, so they stay unnamed."""
    known = looks_like and looks_like != sniffing.OLE
    if known and names.is_allowed(looks_like, settings.DOCUMENT_ALLOWED_TYPES):
        return looks_like
    return acceptable_type(UNKNOWN_TYPE)


class _Passing:
    """The chunks on their way to the store. What breaks on their own side is told from what the store does."""

    def __init__(self, chunks: Iterable[bytes], putting: removals.Putting) -> None:
        self.chunks, self.putting, self.seen = chunks, putting, Seen()
        self.broke: HubError | None = None

    def __iter__(self) -> Iterator[bytes]:
        most = settings.DOCUMENT_MAX_BYTES
        try:
            for part in self.chunks:
                self.putting.off()
                self.seen.add(part)
                if self.seen.size > most:
                    raise TooLarge(f"A document has at most {most:,} bytes.")
                yield part
        except HubError as error:
            self.broke = error
            raise


def _written(document: Document, key: str, passing: _Passing) -> Found:
    """The object, and what it is. ContentRefused where it may not be the document."""
    try:
        with asking():
            store().write(key, passing, content_type=document.content_type)
    except ServiceBusy as error:
        raise (passing.broke or error) from None
    seen = passing.seen
    with asking():
        found = judge(store(), key, document, head=seen.head, size=seen.size, sha256=seen.sha256)
    if found.problem:
        raise ContentRefused(found.problem.words, code=found.problem.code)
    if document.content_type == UNKNOWN_TYPE:
        document.content_type = _named(found.looks_like)
    return found


@transaction.atomic
def _accept(document: Document, key: str, found: Found, by: User | None) -> None:
    """IntegrityError where the same was brought meanwhile."""
    document.status, document.key, document.confirmed_at = DocumentStatus.READY, key, timezone.now()
    document.size, document.sha256, document.sniffed_type = found.size, found.sha256, found.looks_like
    document.save(force_insert=True)
    quota.take(document, found.size)
    document.save(update_fields=["counted"])
    if not removals.take_back(key):
        raise ServiceBusy("Storing the file took too long. Try once more.", code="storage_unavailable")
    changes = {"fileName": document.file_name, "from": document.origin.partition(":")[0]}
    audit.record(by=by, workspace=document.workspace, action="document.kept", target=document, changes=changes)
    telling.tell(EventType.DOCUMENT_UPLOADED, document)
