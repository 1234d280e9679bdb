"""Attachments on demand: metadata is stored, bytes come from the provider when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from threading import BoundedSemaphore
from typing import IO, TYPE_CHECKING

from django.http import HttpResponse
from django.utils.http import content_disposition_header

from core.errors import Conflict, RemoteMissing, ServiceBusy
from email_sync.models import Attachment, Message
from email_sync.providers import MAIL_PROVIDERS
from email_sync.providers.base import MailProvider
from email_sync.scope import is_imported
from email_sync.services import imported
from email_sync.services.accounts import with_mailbox
from integrations.services.files import Brought, Kept, files
from workspaces import scoping

if TYPE_CHECKING:
    from workspaces.models import User

INLINE_SAFE = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Types that keep their own content type; all others are sent as octets. Either way as a download."""
CHUNK = 256 * 1024
LONGEST_NAME = 200
IN_MEMORY = 1024 * 1024
"""Bytes of an attachment that is to be a document; more lie in a temporary file."""
SMALL = 8 * 1024 * 1024
AT_ONCE = 2
TURN_SECONDS = 30.0
_turns = BoundedSemaphore(AT_ONCE)
"""Of this process, for attachments beyond SMALL that a provider gives whole."""


def fetch(*, message: Message, attachment_id: str) -> tuple[Attachment, bytes]:
    """The part and its bytes. NotFound for another message's part; Conflict where the provider no longer has it."""
    part = _part(message, attachment_id)
    return part, _bytes(message, part)


def save(*, message: Message, attachment_id: str, entity_type: str, entity_id: str, by: User) -> Kept:
    """The part as a document of an entity; of one part an entity has one. As `fetch`, and as `Files.keep` refuses; too
    large or beyond the quota is said before anything is fetched."""
    part = _part(message, attachment_id)

    brought = Brought(
        file_name=_document_name(part.file_name),
        content_type=part.content_type,
        entity_type=entity_type,
        entity_id=entity_id,
        chunks=_spooled(message, part),
        size=part.size,
        origin=f"email:{message.pk}:{part.part_id}",
    )
    return files().keep(workspace=message.connection.workspace, by=by, brought=brought)


def _spooled(message: Message, part: Attachment) -> Iterator[bytes]:
    """The bytes by way of a temporary file: while a store takes them, neither memory nor the mailbox is held."""
    try:
        with SpooledTemporaryFile(max_size=IN_MEMORY) as file:
            with _in_turn(message, part):
                _fetch_into(file, message, part)
            file.seek(0)
            while chunk := file.read(CHUNK):
                yield chunk
    except OSError as error:
        raise ServiceBusy(f"The attachment could not be put aside here: {error.strerror}.") from error


def _fetch_into(file: IO[bytes], message: Message, part: Attachment) -> None:
    if is_imported(message.remote_id):
        for piece in _imported(message, part):
            file.write(piece)
        return

    def work(box: MailProvider) -> None:
        file.seek(0)
        file.truncate()  # it may be done a second time, with another access token
        for piece in box.attachment_pieces(message.remote_id, part.part_id):
            file.write(piece)

    try:
        with_mailbox(message.connection, work)
    except RemoteMissing:
        raise Conflict("The provider no longer has this attachment.", code="removed") from None


@contextmanager
def _in_turn(message: Message, part: Attachment) -> Iterator[None]:
    """What comes whole is in memory twice while it comes: a few large ones at a time. ServiceBusy where it is not soon
    one's turn."""
    kind = MAIL_PROVIDERS.get(message.connection.provider)
    if part.size <= SMALL or kind.attachments_in_pieces or is_imported(message.remote_id):
        yield
        return
    if not _turns.acquire(timeout=TURN_SECONDS):
        raise ServiceBusy("Other large attachments are being fetched. Try again in a moment.", retry_after=TURN_SECONDS)
    try:
        yield
    finally:
        _turns.release()


def _part(message: Message, attachment_id: str) -> Attachment:
    part = scoping.fetch(message.attachments.all(), pk=attachment_id)
    if message.removed_at is not None:
        raise Conflict("The provider no longer has this email.", code="removed")
    if message.body_withheld:
        raise Conflict("Only metadata of this mailbox is kept here.", code="metadata_only")
    return part


def _bytes(message: Message, part: Attachment) -> bytes:
    if is_imported(message.remote_id):
        return b"".join(_imported(message, part))
    try:
        return with_mailbox(message.connection, lambda box: box.attachment(message.remote_id, part.part_id))
    except RemoteMissing:
        raise Conflict("The provider no longer has this attachment.", code="removed") from None


def _imported(message: Message, part: Attachment) -> Iterator[bytes]:
    """No provider has it, its bytes are here."""
    try:
        yield from imported.attachment_pieces(message, part.part_id)
    except RemoteMissing:
        raise Conflict("The bytes of this attachment were not kept.", code="removed") from None


def as_download(part: Attachment, content: bytes) -> HttpResponse:
    """A response that no browser runs: attachment, nosniff, a sandbox for those who ignore both."""
    kind = part.content_type if part.content_type in INLINE_SAFE else "application/octet-stream"
    response = HttpResponse(content, content_type=kind)
    response["Content-Disposition"] = content_disposition_header(True, _safe_name(part.file_name))
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response["Cache-Control"] = "private, no-store"
    return response


def _safe_name(name: str) -> str:
    """No path, no control or bidi characters: the name comes from a stranger."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return (
        "".join(
            c for c in last if c.isprintable() and c not in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        )
        or "attachment"
    )


def _document_name(name: str) -> str:
    """Fit for a document, with its ending where it is too long."""
    safe = _safe_name(name).strip(". ") or "attachment"
    return safe if len(safe) <= LONGEST_NAME else f"{safe[: LONGEST_NAME - 20]}…{safe[-19:]}"
