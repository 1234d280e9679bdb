"""The one writer of messages. Everything a page brings is written by `write_page`, inside the caller's transaction.

Whoever writes messages or threads of a mailbox takes its turn first (`locking`): a click cannot deadlock with a sync.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from core.ids import uuid7
from email_sync.models import Attachment, ChangeKind, ChangeStatus, LocalChange, Message, MessageBody
from email_sync.records import ROLES, Address, ParsedMessage, RemoteFolder, RemoteMessage, RemoteState
from email_sync.services import bulk, threads
from email_sync.services.indexing import index
from email_sync.services.locking import one_writer
from integrations.models import Connection

SNIPPET_CHARACTERS = 200
MAX_FOLDER = 500
"""Characters of a folder's id and name, as the columns have it."""
STATE_COLUMNS = (*(f"in_{role}" for role in ROLES), "is_read", "is_starred")
"""What a provider's state sets. Also what a sync writes for a message it already has, besides its place."""
PLACE_COLUMNS = ("remote_id", "stream", "folder_ids", "content_key", "removed_at", "removed_cause")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A fetched message and what the parser made of it."""

    remote: RemoteMessage
    parsed: ParsedMessage


@dataclass(slots=True)
class Written:
    """What a page came to."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    new_ids: list[uuid.UUID] = field(default_factory=list)


def write_page(
    *,
    connection: Connection,
    stream: str,
    messages: Sequence[Incoming] = (),
    updated: Sequence[RemoteState] = (),
    removed: Sequence[str] = (),
    removed_cause: str = "deleted",
) -> Written:
    """Write one page. Idempotent: the same page again changes nothing."""
    one_writer(connection.pk)
    written = Written()
    states = {state.remote_id: state for state in updated} | {
        item.remote.state.remote_id: item.remote.state for item in messages
    }
    stored = _lock(connection, [*states, *removed])
    touched: set[uuid.UUID] = set()
    gone = [i for i in dict.fromkeys(removed) if i in stored and i not in states]
    written.removed = _remove(connection, [stored[i] for i in gone], removed_cause, touched)
    _adopt(connection, stream, states, stored, touched)
    written.changed = _update(connection, stream, states, stored, touched)
    new = _unique_new(messages, stored)
    written.added = len(new)
    written.new_ids = _insert(connection, stream, new, touched)
    threads.recount(touched)
    return written


def _lock(connection: Connection, remote_ids: Iterable[str]) -> dict[str, Message]:
    rows = Message.objects.filter(connection=connection, remote_id__in=list(remote_ids))
    return {row.remote_id: row for row in rows.select_for_update().order_by("id")}


def _unique_new(messages: Sequence[Incoming], stored: dict[str, Message]) -> list[Incoming]:
    """Those not stored, each remote id once: a page may repeat one (reference 8, item 37)."""
    by_id = {item.remote.state.remote_id: item for item in messages if item.remote.state.remote_id not in stored}
    return list(by_id.values())


# --- moves and removals -------------------------------------------------------------------------------------------


def _adopt(
    connection: Connection,
    stream: str,
    states: dict[str, RemoteState],
    stored: dict[str, Message],
    touched: set[uuid.UUID],
) -> None:
    """A message that is new by id but whose content a removed row carries was moved: the row follows it. A removed row
    whose own id is back on this page is no such row: the message is a copy of it."""
    keys = {
        state.content_key: state for remote_id, state in states.items() if state.content_key and remote_id not in stored
    }
    if not keys:
        return
    gone = Message.objects.filter(connection=connection, content_key__in=list(keys), removed_at__isnull=False)
    for row in gone.exclude(remote_id__in=list(states)).select_for_update().order_by("id"):
        state = keys.pop(row.content_key, None)
        if state is not None:
            move_row(row, stream, state)
            stored[state.remote_id] = row
            touched.add(row.thread_id)


def move_row(row: Message, stream: str, state: RemoteState) -> None:
    """Point a row at the message's new remote id; its own id, thread and links stay. The caller updates its flags."""
    place(row, stream, state)
    row.save(update_fields=[*PLACE_COLUMNS, "updated_at"])


def place(row: Message, stream: str, state: RemoteState) -> None:
    """What `move_row` says, without writing it."""
    row.remote_id, row.stream = state.remote_id, stream
    row.folder_ids, row.content_key = list(state.folder_ids), state.content_key
    row.removed_at, row.removed_cause = None, ""


def _remove(connection: Connection, rows: Sequence[Message], cause: str, touched: set[uuid.UUID]) -> int:
    """Tombstones, never deletions: the purge comes after a grace period (`housekeeping.purge_removed`)."""
    rows = [row for row in rows if row.removed_at is None]
    there = _copied(connection, rows)
    gone = [row for row in rows if row.content_key not in there or not _merge_moved(connection, row, touched)]
    now = timezone.now()
    for row in gone:
        row.removed_at, row.removed_cause = now, cause
        for role in ROLES:
            setattr(row, f"in_{role}", False)
        touched.add(row.thread_id)
    bulk.update(["removed_at", "removed_cause", *(f"in_{role}" for role in ROLES)], gone)
    return len(gone)


def _copied(connection: Connection, rows: Sequence[Message]) -> set[str]:
    """The content keys of these rows that other rows carry too: in one question, because a folder of a hundred thousand
    may go at once."""
    keys = [row.content_key for row in rows if row.content_key]
    others = Message.objects.present().filter(connection=connection, content_key__in=keys)
    return set(others.exclude(pk__in=[row.pk for row in rows]).values_list("content_key", flat=True))


def _merge_moved(connection: Connection, row: Message, touched: set[uuid.UUID]) -> bool:
    """The same content was seen under a newer row first (the target folder is synced before the source): the older row
    takes over its place, so that ids handed out earlier stay good. In the same folder it is no move but a copy: a mail
    that was delivered twice."""
    twins = Message.objects.filter(
        connection=connection, content_key=row.content_key, removed_at__isnull=True, pk__gt=row.pk
    ).exclude(stream=row.stream)
    twin = twins.select_for_update().order_by("id").first()
    if twin is None:
        return False
    place = {name: getattr(twin, name) for name in (*PLACE_COLUMNS, *STATE_COLUMNS)}
    LocalChange.objects.filter(
        message=row,
        status=ChangeStatus.PENDING,
        kind__in=twin.local_changes.filter(status=ChangeStatus.PENDING).values("kind"),
    ).delete()
    twin.local_changes.update(message=row)
    touched |= {row.thread_id, twin.thread_id}
    twin.delete()
    for name, value in place.items():
        setattr(row, name, value)
    row.save(update_fields=[*place, "updated_at"])
    return True


# --- known messages -----------------------------------------------------------------------------------------------


def _update(
    connection: Connection,
    stream: str,
    states: dict[str, RemoteState],
    stored: dict[str, Message],
    touched: set[uuid.UUID],
) -> int:
    known = [(stored[remote_id], state) for remote_id, state in states.items() if remote_id in stored]
    pending = pending_changes([row.pk for row, _ in known])
    changed = [row for row, state in known if _apply(row, stream, state, pending.get(row.pk, {}))]
    touched.update(row.thread_id for row in changed)
    bulk.update([*STATE_COLUMNS, *PLACE_COLUMNS], changed)
    return len(changed)


def pending_changes(message_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, dict[str, bool]]:
    """What users changed that the provider has not got yet: an incoming state never undoes it."""
    found: dict[uuid.UUID, dict[str, bool]] = {}
    changes = LocalChange.objects.filter(message__in=message_ids, status=ChangeStatus.PENDING)
    for message_id, kind, value in changes.values_list("message_id", "kind", "value"):
        found.setdefault(message_id, {})[kind] = value
    return found


def _apply(row: Message, stream: str, state: RemoteState, pending: dict[str, bool]) -> bool:
    """Set the provider's state on a row, local changes on top. True where anything differs."""
    wanted = state_columns(state)
    if ChangeKind.READ in pending:
        wanted["is_read"] = pending[ChangeKind.READ]
    if ChangeKind.STARRED in pending:
        wanted["is_starred"] = pending[ChangeKind.STARRED]
    if ChangeKind.ARCHIVED in pending:
        wanted["in_archive"], wanted["in_inbox"] = pending[ChangeKind.ARCHIVED], not pending[ChangeKind.ARCHIVED]
    wanted |= {"stream": stream, "folder_ids": list(state.folder_ids), "removed_at": None, "removed_cause": ""}
    if state.content_key:
        wanted["content_key"] = state.content_key
    different = {name: value for name, value in wanted.items() if getattr(row, name) != value}
    for name, value in different.items():
        setattr(row, name, value)
    return bool(different)


def state_columns(state: RemoteState) -> dict[str, object]:
    """The columns a provider's state stands for, in the order of STATE_COLUMNS."""
    columns: dict[str, object] = {f"in_{role}": role in state.roles for role in ROLES}
    return columns | {"is_read": state.is_read, "is_starred": state.is_starred}


# --- new messages -------------------------------------------------------------------------------------------------


MESSAGE_COLUMNS = (
    "id", "connection", "thread", "remote_id", "stream", "content_key", "folder_ids", "message_id", "subject",
    "from_name", "from_email", "recipients", "snippet", "sent_at", "received_at", "size", "has_attachments", "defect",
    "removed_cause", "updated_at", *STATE_COLUMNS,
)  # fmt: skip
BODY_COLUMNS = ("message", "text", "html", "headers", "in_reply_to", "references", "reply_to")
ATTACHMENT_COLUMNS = ("id", "message", "part_id", "file_name", "content_type", "size", "inline", "content_id")
Row = tuple[object, ...]


def _insert(connection: Connection, stream: str, new: Sequence[Incoming], touched: set[uuid.UUID]) -> list[uuid.UUID]:
    if not new:
        return []
    placed = threads.assign(
        connection=connection, messages=[(item.remote.thread_remote_id, item.parsed) for item in new]
    )
    ids = [uuid7() for _ in new]
    now = timezone.now()
    rows = [
        (message_id, connection.pk, thread_id, *_row(stream, item, now))
        for message_id, thread_id, item in zip(ids, placed, new, strict=True)
    ]
    parsed = [(message_id, item.parsed) for message_id, item in zip(ids, new, strict=True)]
    bulk.copy(Message, MESSAGE_COLUMNS, rows)
    bulk.copy(MessageBody, BODY_COLUMNS, (_body(*pair) for pair in parsed))
    bulk.copy(Attachment, ATTACHMENT_COLUMNS, [part for pair in parsed for part in _attachments(*pair)])
    index(connection.pk, [(pk, i.remote.received_at, i.parsed) for pk, i in zip(ids, new, strict=True)])
    touched.update(placed)
    return ids


def _row(stream: str, item: Incoming, now: datetime) -> Row:
    """What MESSAGE_COLUMNS says, from `remote_id` on."""
    remote, parsed = item.remote, item.parsed
    recipients = {"to": _pairs(parsed.to), "cc": _pairs(parsed.cc), "bcc": _pairs(parsed.bcc)}
    return (
        remote.state.remote_id,
        stream,
        remote.state.content_key,
        list(remote.state.folder_ids),
        parsed.message_id,
        parsed.subject,
        parsed.sender.name,
        parsed.sender.email,
        json.dumps(recipients),
        " ".join(parsed.text[: SNIPPET_CHARACTERS * 5].split())[:SNIPPET_CHARACTERS],
        parsed.sent_at,
        remote.received_at,
        remote.size,
        any(not part.inline for part in parsed.attachments),
        parsed.defect,
        "",
        now,
        *state_columns(remote.state).values(),
    )


def _body(message_id: uuid.UUID, parsed: ParsedMessage) -> Row:
    return (
        message_id,
        parsed.text,
        parsed.html,
        json.dumps(parsed.headers),
        list(parsed.in_reply_to),
        list(parsed.references),
        json.dumps(_pairs(parsed.reply_to)),
    )


def _attachments(message_id: uuid.UUID, parsed: ParsedMessage) -> list[Row]:
    parts = {part.part_id: part for part in parsed.attachments}
    return [
        (uuid7(), message_id, p.part_id, p.file_name, p.content_type[:255], p.size, p.inline, p.content_id)
        for p in parts.values()
    ]


def _pairs(addresses: Sequence[Address]) -> list[list[str]]:
    return [[address.name, address.email] for address in addresses]


def stored_ids(connection: Connection, remote_ids: Sequence[str]) -> set[str]:
    """Which of these are stored and not removed."""
    known = Message.objects.filter(Q(connection=connection, remote_id__in=remote_ids, removed_at__isnull=True))
    return set(known.values_list("remote_id", flat=True))


def ids_of(connection: Connection, stream: str, limit: int) -> list[str]:
    """Remote ids of so many messages of a stream that are not removed."""
    rows = Message.objects.present().filter(connection=connection, stream=stream)
    return list(rows.order_by("id").values_list("remote_id", flat=True)[:limit])


def unseen_elsewhere(connection: Connection, streams: Sequence[str]) -> int:
    """How many messages of these streams have no copy in any other stream."""
    own = Message.objects.present().filter(connection=connection)
    copies = own.filter(content_key=OuterRef("content_key")).exclude(content_key="").exclude(stream__in=streams)
    return own.filter(~Exists(copies), stream__in=streams).count() if streams else 0


def storable(folders: Sequence[RemoteFolder]) -> list[RemoteFolder]:
    """Each folder once, with a name of a length that is kept. One whose very id is longer cannot be synced."""
    known = {f.remote_id: replace(f, name=f.name[:MAX_FOLDER]) for f in folders if len(f.remote_id) <= MAX_FOLDER}
    return list(known.values())
