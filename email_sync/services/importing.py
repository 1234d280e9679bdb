"""Mail from a file (mbox, or one .eml) into a mailbox: through the parser, the scope, the writer, threads and search.

An imported message is known by the digest of its bytes, so the same file again stores nothing twice; what the mailbox
has already from its provider is passed over. No provider ever hears of imported mail. Work in slices (`work`, called by
the task): messages and the place in the file commit together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from core.errors import Conflict, HubError, InvalidInput, LeaseLost
from email_sync import mbox
from email_sync.addresses import exact
from email_sync.models import ImportedSource, MailTransfer, Message, TransferChunk, TransferKind
from email_sync.records import ARCHIVE, SENT, RemoteMessage, RemoteState
from email_sync.scope import IMPORT_PREFIX, IMPORT_STREAM
from email_sync.services import bulk, fetching, salvage, scoping, store, transfers
from email_sync.services.store import Incoming
from integrations.models import Connection
from workspaces.models import User
from workspaces.services import audit

LEASE_SECONDS = 120.0
SLICE_SECONDS = 40.0
TOGETHER = 50
TOGETHER_BYTES = 8 * 1024 * 1024
MAX_PROBLEMS = 100
MAX_ATTEMPTS = 6
"""Slices in a row that came no further: the file breaks the worker."""
EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)

TOO_LARGE = f"It is larger than {mbox.MAX_MESSAGE // 1024 // 1024} MB."
EMPTY = "It is empty."
NO_MAIL = "It is no mail: it has none of a mail's headers."
UNFIT = "It cannot be stored in any form."
BLOCKED = "Mail from or to somebody in it is blocked in this mailbox."


class UploadTooLarge(HubError):
    """413: the file is larger than the operator lets in."""

    status = 413
    default_code = "too_large"


# --- the upload ---------------------------------------------------------------------------------------------------


def receive(connection: Connection, read: Callable[[int], bytes], *, by: User) -> MailTransfer:
    """Take in a file and begin its import; the caller rings it. `read(size)` gives the next bytes, b"" at the end.
    InvalidInput where it is empty, UploadTooLarge, Conflict for a connection that was disconnected."""
    if connection.disconnected_at is not None:
        raise Conflict("This account was disconnected. Connect it again first.", code="disconnected")
    transfer = MailTransfer.objects.create(connection=connection, kind=TransferKind.IMPORT, received=False)
    try:
        while piece := _full(read, transfers.CHUNK_BYTES):
            transfer.append(piece)
            if transfer.size > settings.MAIL_IMPORT_MAX_BYTES:
                raise UploadTooLarge(f"A file may have at most {settings.MAIL_IMPORT_MAX_BYTES} bytes.")
        if not transfer.size:
            raise InvalidInput("The file is empty.")
    except BaseException:
        transfer.delete()
        raise
    transfer.received = True
    with transaction.atomic():
        transfer.save(update_fields=["received", "size", "chunks"])
        audit.record(
            by=by,
            workspace=connection.workspace,
            action="connection.mail_imported",
            target=connection,
            changes={"bytes": transfer.size, "account": connection.account_email},
        )
    return transfer


def _full(read: Callable[[int], bytes], size: int) -> bytes:
    """So many bytes, fewer at the end only: a network gives what it has."""
    parts: list[bytes] = []
    while size > 0 and (part := read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


# --- the work -----------------------------------------------------------------------------------------------------


def work(transfer_id: object, *, seconds: float = SLICE_SECONDS) -> bool:
    """One slice. True where there is more to do at once."""
    transfer: MailTransfer | None = MailTransfer.objects.claim(transfer_id, lease_seconds=LEASE_SECONDS)
    if transfer is None:
        return False
    deadline = time.monotonic() + seconds
    try:
        if transfer.attempts > MAX_ATTEMPTS:
            transfer.fail(code="crashed", message="The file broke the import again and again.")
        elif _slice(transfer, deadline):
            transfer.retry(after_seconds=0, attempts=0)
            return True
        else:
            transfer.finish(total=transfer.done)
            TransferChunk.objects.filter(transfer=transfer).delete()
    except LeaseLost:  # cancelled, or another worker has it
        pass
    return False


def _slice(transfer: MailTransfer, deadline: float) -> bool:
    fetching.prepare()
    entries = mbox.entries(partial(transfers.read, transfer), transfer.offset) if _unread(transfer) else iter(())
    batch: list[mbox.Entry] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) >= TOGETHER or sum(len(one.raw or b"") for one in batch) >= TOGETHER_BYTES:
            _take(transfer, batch)
            batch = []
            if time.monotonic() >= deadline:
                return True
    if batch:
        _take(transfer, batch)
    return False


def _unread(transfer: MailTransfer) -> bool:
    return transfer.offset < transfer.size


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A message of the file that could be read: its number there, and what it is."""

    number: int
    raw: bytes
    received_at: datetime | None


@dataclass(slots=True)
class _Batch:
    """What becomes of the messages of one transaction."""

    candidates: dict[str, _Candidate] = field(default_factory=dict)
    """By remote id."""
    problems: list[tuple[int, str]] = field(default_factory=list)
    skipped: int = 0


def _take(transfer: MailTransfer, entries: Sequence[mbox.Entry]) -> None:
    """One transaction: messages, their bytes, and how far the file was read."""
    batch = _sorted(transfer, entries)
    messages = _unknown(transfer.connection, _parsed(transfer.connection, batch.candidates), batch)
    with transaction.atomic():
        transfer.hold(lease_seconds=LEASE_SECONDS, attempts=0)
        salvage.write(partial(_write, transfer.connection, batch.candidates), messages)
        _count(transfer, entries, messages, batch)


def _sorted(transfer: MailTransfer, entries: Sequence[mbox.Entry]) -> _Batch:
    """By what can be read at all; a message that stands twice in the file counts once. A file that is all one thing and
    no mail was sent by mistake; among others such a thing is kept, as from a provider."""
    batch = _Batch()
    for number, entry in enumerate(entries, transfer.done + 1):
        if entry.raw is None:
            batch.problems.append((number, TOO_LARGE))
        elif not entry.raw.strip():
            batch.problems.append((number, EMPTY))
        elif (entry.start, entry.end) == (0, transfer.size) and not mbox.is_mail(entry.raw):
            batch.problems.append((number, NO_MAIL))
        elif (remote_id := IMPORT_PREFIX + mbox.digest(entry.raw)) in batch.candidates:
            batch.skipped += 1
        else:
            batch.candidates[remote_id] = _Candidate(number, entry.raw, entry.received_at)
    return batch


def _parsed(connection: Connection, candidates: Mapping[str, _Candidate]) -> list[Incoming]:
    remotes = [
        RemoteMessage(_state(remote_id, ARCHIVE), timezone.now(), len(candidate.raw), raw=candidate.raw)
        for remote_id, candidate in candidates.items()
    ]
    return [_placed(connection, item, candidates) for item in fetching.parse_all(remotes)]


def _state(remote_id: str, role: str) -> RemoteState:
    """In no folder of the provider's, and read: its user had it before."""
    return RemoteState(remote_id, (), frozenset({role}), is_read=True, is_starred=False)


def _placed(connection: Connection, item: Incoming, candidates: Mapping[str, _Candidate]) -> Incoming:
    """Where it belongs and when it came, by what it says of itself."""
    remote_id = item.remote.state.remote_id
    own = exact(item.parsed.sender.email) == exact(connection.account_email)
    received_at = candidates[remote_id].received_at or item.parsed.sent_at or item.remote.received_at
    received_at = min(max(received_at, EARLIEST), timezone.now())
    state = _state(remote_id, SENT if own else ARCHIVE)
    return Incoming(RemoteMessage(state, received_at, item.remote.size), item.parsed)


def _unknown(connection: Connection, messages: Sequence[Incoming], batch: _Batch) -> list[Incoming]:
    """Without those the mailbox has: imported before, or the same mail by way of its provider."""
    here = set(_rows(connection, batch.candidates).values_list("remote_id", flat=True))
    ids = [item.parsed.message_id for item in messages if item.parsed.message_id]
    synced = Message.objects.present().filter(connection=connection, message_id__in=ids)
    known = set(synced.values_list("message_id", "from_email", "sent_at"))
    new = [
        item
        for item in messages
        if item.remote.state.remote_id not in here
        and (item.parsed.message_id, item.parsed.sender.email, item.parsed.sent_at) not in known
    ]
    batch.skipped += len(messages) - len(new)
    return new


def _write(connection: Connection, candidates: Mapping[str, _Candidate], messages: Sequence[Incoming]) -> None:
    """A savepoint of its own: a message the database does not take must not take the others along."""
    with transaction.atomic():
        store.write_page(connection=connection, stream=IMPORT_STREAM, messages=messages)
        rows = _rows(connection, [item.remote.state.remote_id for item in messages])
        whole = list(rows.filter(body_withheld=False, imported_source__isnull=True).values_list("pk", "remote_id"))
        bulk.copy(ImportedSource, ("message", "raw"), ((pk, candidates[remote_id].raw) for pk, remote_id in whole))


def _rows(connection: Connection, remote_ids: Iterable[str]) -> QuerySet[Message]:
    return Message.objects.filter(connection=connection, remote_id__in=list(remote_ids))


def _count(transfer: MailTransfer, entries: Sequence[mbox.Entry], messages: Sequence[Incoming], batch: _Batch) -> None:
    ids = [item.remote.state.remote_id for item in messages]
    stored = set(_rows(transfer.connection, ids).values_list("remote_id", flat=True))
    blocked = scoping.excluded_ids(transfer.connection, ids)
    for remote_id in (one for one in ids if one not in stored):
        reason = BLOCKED if remote_id in blocked else UNFIT
        batch.problems.append((batch.candidates[remote_id].number, reason))
    transfer.done += len(entries)
    transfer.offset = entries[-1].end
    transfer.stored += len(stored)
    transfer.skipped += batch.skipped
    transfer.refused += len(batch.problems)
    transfer.problems = [*transfer.problems, *sorted(batch.problems)][:MAX_PROBLEMS]
    transfer.save(update_fields=["done", "offset", "stored", "skipped", "refused", "problems"])
