"""Comparing what is stored of a stream with what the provider has: the ground of a reconcile.

A reconcile never deletes and refills. It says which messages are known, missing and gone, after a complete listing
only; messages whose remote id changed although they are the same (a new UIDVALIDITY, a move) keep their row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef

from core.errors import CursorExpired
from email_sync.models import Message
from email_sync.providers.base import MailProvider
from email_sync.records import RemoteState, Stream
from email_sync.scope import IMPORT_PREFIX, is_imported
from email_sync.services import bulk, scoping, store
from integrations.models import Connection

LISTED_TOGETHER = 500
REMOVAL_FLOOR = 50
REMOVAL_SHARE = 0.3
"""A pass that would remove more than this share of a stream (and more than the floor) stops and asks."""


@dataclass(frozen=True, slots=True)
class Difference:
    """`known` are stored, `missing` are not, `gone` are stored but no longer at the provider."""

    known: list[RemoteState]
    missing: list[str]
    gone: list[str]

    def known_chunks(self, size: int) -> Iterator[list[RemoteState]]:
        return (self.known[i : i + size] for i in range(0, len(self.known), size))

    def missing_chunks(self, size: int) -> Iterator[list[str]]:
        return (self.missing[i : i + size] for i in range(0, len(self.missing), size))


def fresh_cursor(mailbox: MailProvider, stream: Stream, *, between: Callable[[], None]) -> str:
    """A cursor for now. One that has to be walked to (a first round that names everything) is walked to its end, so
    that what is removed while the comparison lists is told afterwards; what it names on the way the listing finds too.
    `between` is called after each page."""
    cursor, more = mailbox.start_cursor(stream), True
    while more:
        try:
            page = mailbox.changes(stream, cursor)
        except CursorExpired:  # the provider tells no changes of this stream just now: each sync compares
            return cursor
        cursor, more = page.cursor, page.more
        between()
    return cursor


def compare(connection: Connection, stream: str, states: Sequence[RemoteState]) -> Difference:
    """The difference between the store and a complete listing. Rows whose message only changed its id are moved, so
    this runs inside the caller's transaction, under its fence."""
    remote = {state.remote_id: state for state in states}
    rows = Message.objects.present().filter(connection=connection, stream=stream)
    stored = {remote_id for remote_id in rows.values_list("remote_id", flat=True) if not is_imported(remote_id)}
    scoping.forget_gone(connection, stream, set(remote))
    elsewhere = store.stored_ids(connection, [i for i in remote if i not in stored])
    gone = stored - remote.keys()
    missing = remote.keys() - stored - elsewhere
    followed = _follow(connection, stream, gone, [state for i, state in remote.items() if i in missing])
    missing -= set(followed.values())
    return Difference(
        known=[state for remote_id, state in remote.items() if remote_id not in missing],
        missing=[remote_id for remote_id in remote if remote_id in missing],
        gone=sorted(gone - followed.keys()),
    )


def listed_since(
    mailbox: MailProvider, stream: Stream, since: datetime | None, *, between: Callable[[], None] = lambda: None
) -> set[str]:
    """Remote ids of what was received from then on, by listing alone. `between` is called after each page."""
    found: set[str] = set()
    token, more = "", True
    while more:
        page = mailbox.list_ids(stream, token, LISTED_TOGETHER, since=since)
        found.update(page.remote_ids)
        token, more = page.next_token, bool(page.next_token)
        between()
    return found


def _follow(connection: Connection, stream: str, gone: set[str], missing: Sequence[RemoteState]) -> dict[str, str]:
    """Point rows that are gone by id at the same content under a new id; old remote id → new one. An id that a removed
    row holds is that row's: it is taken up again when its message is fetched."""
    held = set(
        Message.objects.filter(connection=connection, remote_id__any_of={s.remote_id for s in missing}).values_list(
            "remote_id", flat=True
        )
    )
    by_content: defaultdict[str, list[RemoteState]] = defaultdict(list)
    for state in missing:
        if state.content_key and state.remote_id not in held:
            by_content[state.content_key].append(state)
    followed: dict[str, str] = {}
    moved: list[Message] = []
    rows = Message.objects.filter(connection=connection, stream=stream, content_key__any_of=set(by_content))
    for row in rows.select_for_update().order_by("id") if gone else ():
        if row.remote_id in gone and by_content[row.content_key]:
            state = by_content[row.content_key].pop(0)
            followed[row.remote_id] = state.remote_id
            store.place(row, stream, state)
            moved.append(row)
    bulk.update(store.PLACE_COLUMNS, moved)
    return followed


def ids_of(connection: Connection, stream: str, limit: int) -> list[str]:
    """Remote ids of so many messages of a stream that are not removed. Imported mail is in none of the provider's."""
    rows = Message.objects.present().filter(connection=connection, stream=stream)
    rows = rows.exclude(remote_id__startswith=IMPORT_PREFIX)
    return list(rows.order_by("id").values_list("remote_id", flat=True)[:limit])


def unseen_elsewhere(connection: Connection, streams: Sequence[str]) -> int:
    """How many messages of these streams have no copy in any other stream."""
    own = Message.objects.present().filter(connection=connection).exclude(remote_id__startswith=IMPORT_PREFIX)
    copies = own.filter(content_key=OuterRef("content_key")).exclude(content_key="").exclude(stream__in=streams)
    return own.filter(~Exists(copies), stream__in=streams).count() if streams else 0


def guard_removal(connection: Connection, stream: str, count: int) -> str:
    """ "" where removing `count` messages of a stream ("" is the whole mailbox) is plausible, else the sentence that
    says why it is held."""
    if count <= REMOVAL_FLOOR:
        return ""
    within = {"stream": stream} if stream else {}
    stored = Message.objects.present().filter(connection=connection, **within).count()
    if count <= stored * REMOVAL_SHARE:
        return ""
    return (
        f"{count} of {stored} messages would be removed because the provider no longer shows them. "
        "Nothing was removed. If this is right, start a sync that accepts removals."
    )
