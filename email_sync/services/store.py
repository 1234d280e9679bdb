"""The one writer of messages. Everything a page brings is written by `write_page`, inside the caller's transaction.

Whoever writes messages or threads of a mailbox takes its turn first (`locking`): a click cannot deadlock with a sync.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from core.ids import uuid7
from email_sync import fingerprints
from email_sync.models import (
    Attachment,
    ChangeKind,
    ChangeStatus,
    LocalChange,
    Message,
    MessageBody,
)
from email_sync.records import ROLES, Address, ParsedMessage, RemoteFolder, RemoteMessage, RemoteState
from email_sync.scope import IMPORT_STREAM
from email_sync.services import bounces, bulk, erasing, indexing, participants, scoping, telling, threads
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
    withheld: bool = False
    """`parsed` was cut down to metadata, as its user wishes (`services.scoping`)."""


@dataclass(slots=True)
class Written:
    """What a page came to."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    new_ids: list[uuid.UUID] = field(default_factory=list)
    changed_ids: list[uuid.UUID] = field(default_factory=list)
    removed_ids: list[uuid.UUID] = field(default_factory=list)


def write_page(
    *,
    connection: Connection,
    stream: str,
    messages: Sequence[Incoming] = (),
    updated: Sequence[RemoteState] = (),
    removed: Sequence[str] = (),
    removed_cause: str = "deleted",
    search_later: bool = False,
) -> Written:
    """Write one page, without what its user does not want here, and tell of it. Idempotent: the same page again changes
    nothing. With `search_later` new messages are found once `indexing.index_waiting` has come to them."""
    one_writer(connection.pk)
    page = scoping.sift(connection, stream, messages, updated)
    messages, updated = page.messages, page.updated
    scoping.forget(connection, removed)
    written = Written()
    states = {state.remote_id: state for state in updated} | {
        item.remote.state.remote_id: item.remote.state for item in messages
    }
    stored = _lock(connection, [*states, *removed])
    shown_before = {row.pk for row in stored.values() if participants.is_shown(row)}
    touched: set[uuid.UUID] = set()
    yielding = erasing.imported_twins(connection, stream, [item.parsed for item in messages])
    written.removed_ids += erasing.erase(connection, [*page.leaving, *yielding])
    written.removed = len(written.removed_ids)
    gone = [i for i in dict.fromkeys(removed) if i in stored and i not in states]
    written.removed += _remove(connection, [stored[i] for i in gone], removed_cause, touched, written)
    _adopt(connection, stream, states, stored, touched)
    written.changed_ids += _update(connection, stream, states, stored, touched)
    written.changed = len(written.changed_ids)
    new = _unique_new(messages, stored)
    written.added = len(new)
    written.new_ids, placed = _insert(connection, stream, new, search_later=search_later)
    people = participants.of_page(
        connection, [(t, i.remote.state.roles, i.parsed) for t, i in zip(placed.threads, new, strict=True)]
    )
    threads.recount(
        touched | {thread_id for thread_id in placed.threads if thread_id not in placed.opened},
        added=Counter(thread_id for thread_id, _ in people if thread_id not in placed.opened),
        disturbed={r.thread_id for r in stored.values() if participants.is_shown(r) != (r.pk in shown_before)},
    )
    participants.note([(thread_id, key) for thread_id, keys in people for key in keys])
    reports = ((pk, item.remote, item.parsed.report) for pk, item in zip(written.new_ids, new, strict=True))
    bounces.note(connection, reports)
    _tell(connection, stream, new, written)
    return written


def _tell(connection: Connection, stream: str, new: Sequence[Incoming], written: Written) -> None:
    places = [(item.remote.received_at, item.remote.state.roles) for item in new]
    brought = [telling.NewMessage(pk, *place) for pk, place in zip(written.new_ids, places, strict=True)]
    if stream == IMPORT_STREAM:  # not received just now, whatever it says of itself
        written.changed_ids, brought = [*written.changed_ids, *written.new_ids], []
    telling.page(connection, new=brought, changed=written.changed_ids, removed=written.removed_ids)


def _lock(connection: Connection, remote_ids: Iterable[str]) -> dict[str, Message]:
    rows = Message.objects.filter(connection=connection, remote_id__any_of=set(remote_ids))
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
    gone = Message.objects.filter(connection=connection, content_key__any_of=set(keys), removed_at__isnull=False)
    for row in gone.exclude(remote_id__any_of=set(states)).select_for_update().order_by("id"):
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
    row.remote_id, row.stream = state.remote_id, state.stream or stream
    row.folder_ids, row.content_key = list(state.folder_ids), state.content_key
    row.removed_at, row.removed_cause = None, ""


def _remove(
    connection: Connection, rows: Sequence[Message], cause: str, touched: set[uuid.UUID], written: Written
) -> int:
    """Tombstones, never deletions: the purge comes after a grace period (`housekeeping.purge_removed`)."""
    rows = [row for row in rows if row.removed_at is None]
    there = _copied(connection, rows)
    gone = [row for row in rows if row.content_key not in there or not _merge_moved(connection, row, touched, written)]
    now = timezone.now()
    for row in gone:
        row.removed_at, row.removed_cause = now, cause
        for role in ROLES:
            setattr(row, f"in_{role}", False)
        touched.add(row.thread_id)
    bulk.update(["removed_at", "removed_cause", *(f"in_{role}" for role in ROLES)], gone)
    written.removed_ids += [row.pk for row in gone]
    return len(gone)


def _copied(connection: Connection, rows: Sequence[Message]) -> set[str]:
    """The content keys of these rows that other rows carry too: in one question, because a folder of a hundred thousand
    may go at once."""
    keys = {row.content_key for row in rows if row.content_key}
    others = Message.objects.present().filter(connection=connection, content_key__any_of=keys)
    return set(others.exclude(pk__any_of={row.pk for row in rows}).values_list("content_key", flat=True))


def _merge_moved(connection: Connection, row: Message, touched: set[uuid.UUID], written: Written) -> bool:
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
    written.removed_ids.append(twin.pk)
    written.changed_ids.append(row.pk)
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
) -> list[uuid.UUID]:
    known = [(stored[remote_id], state) for remote_id, state in states.items() if remote_id in stored]
    pending = pending_changes([row.pk for row, _ in known])
    changed = [row for row, state in known if _apply(row, stream, state, pending.get(row.pk, {}))]
    touched.update(row.thread_id for row in changed)
    bulk.update([*STATE_COLUMNS, *PLACE_COLUMNS], changed)
    return [row.pk for row in changed]


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
    wanted |= {
        "stream": state.stream or stream,
        "folder_ids": list(state.folder_ids),
        "removed_at": None,
        "removed_cause": "",
    }
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
    "removed_cause", "updated_at", "body_withheld", "fingerprint", *STATE_COLUMNS,
)  # fmt: skip
BODY_COLUMNS = ("message", "text", "html", "headers", "in_reply_to", "references", "reply_to")
ATTACHMENT_COLUMNS = (
    "id", "message", "part_id", "file_name", "content_type", "size", "inline", "content_id", "calendar",
)  # fmt: skip
Row = tuple[object, ...]


def _insert(
    connection: Connection, stream: str, new: Sequence[Incoming], *, search_later: bool
) -> tuple[list[uuid.UUID], threads.Assigned]:
    """The ids of the new messages, and their threads."""
    if not new:
        return [], threads.Assigned([], frozenset())
    placed = threads.assign(
        connection=connection, messages=[threads.Arrival.of(item.remote, item.parsed) for item in new]
    )
    ids = [uuid7() for _ in new]
    now = timezone.now()
    rows = [
        (message_id, connection.pk, thread_id, *_row(stream, item, now))
        for message_id, thread_id, item in zip(ids, placed.threads, new, strict=True)
    ]
    bulk.copy(Message, MESSAGE_COLUMNS, rows)
    insert_texts(connection, list(zip(ids, new, strict=True)), search_later=search_later)
    return ids, placed


def insert_texts(
    connection: Connection, messages: Sequence[tuple[uuid.UUID, Incoming]], *, search_later: bool = False
) -> None:
    """What hangs on messages, given as (own id, what came): bodies, attachments, search."""
    bulk.copy(MessageBody, BODY_COLUMNS, (_body(pk, item.parsed) for pk, item in messages))
    bulk.copy(Attachment, ATTACHMENT_COLUMNS, [part for pk, i in messages for part in _attachments(pk, i.parsed)])
    if search_later:
        indexing.postpone(connection.pk, (pk for pk, _ in messages))
        return
    indexing.index(connection.pk, [(pk, item.remote.received_at, item.parsed) for pk, item in messages])


def _row(stream: str, item: Incoming, now: datetime) -> Row:
    """What MESSAGE_COLUMNS says, from `remote_id` on."""
    remote, parsed = item.remote, item.parsed
    recipients = {"to": pairs(parsed.to), "cc": pairs(parsed.cc), "bcc": pairs(parsed.bcc)}
    return (
        remote.state.remote_id,
        remote.state.stream or stream,
        remote.state.content_key,
        list(remote.state.folder_ids),
        parsed.message_id,
        parsed.subject,
        parsed.sender.name,
        parsed.sender.email,
        json.dumps(recipients),
        snippet(parsed),
        parsed.sent_at,
        remote.received_at,
        remote.size,
        any(not part.inline for part in parsed.attachments),
        parsed.defect,
        "",
        now,
        item.withheld,
        fingerprints.of_parsed(parsed),
        *state_columns(remote.state).values(),
    )


def snippet(parsed: ParsedMessage) -> str:
    """The beginning of the text, on one line."""
    return " ".join(parsed.text[: SNIPPET_CHARACTERS * 5].split())[:SNIPPET_CHARACTERS]


def _body(message_id: uuid.UUID, parsed: ParsedMessage) -> Row:
    return (
        message_id,
        parsed.text,
        parsed.html,
        json.dumps(parsed.headers),
        list(parsed.in_reply_to),
        list(parsed.references),
        json.dumps(pairs(parsed.reply_to)),
    )


def _attachments(message_id: uuid.UUID, parsed: ParsedMessage) -> list[Row]:
    parts = {p.part_id: p.values() for p in parsed.attachments}.values()
    return [(uuid7(), message_id, *facts, calendar and json.dumps(calendar)) for *facts, calendar in parts]


def pairs(addresses: Sequence[Address]) -> list[list[str]]:
    """As rows keep people."""
    return [[address.name, address.email] for address in addresses]


def stored_ids(connection: Connection, remote_ids: Sequence[str], *, stream: str = "") -> set[str]:
    """Which of these are stored and not removed, or are kept out by the mailbox's scope: not to be fetched. With
    `stream` only what is stored as being there: what is listed in one folder and stored in another was moved."""
    known = Message.objects.filter(Q(connection=connection, remote_id__any_of=set(remote_ids), removed_at__isnull=True))
    known = known.filter(stream=stream) if stream else known
    return {*known.values_list("remote_id", flat=True), *scoping.excluded_ids(connection, remote_ids)}


def storable(folders: Sequence[RemoteFolder]) -> list[RemoteFolder]:
    """Each folder once, with a name of a length that is kept. One whose very id is longer cannot be synced."""
    known = {f.remote_id: replace(f, name=f.name[:MAX_FOLDER]) for f in folders if len(f.remote_id) <= MAX_FOLDER}
    return list(known.values())
