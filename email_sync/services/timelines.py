"""The timeline of a CRM entity: its conversations, newest first, of all mailboxes the reader sees.

A conversation is on it because somebody in it has a matched address or domain, or because somebody linked it. Threads
of several mailboxes that hold the same message are one item; it stands where its newest thread stands, and a reader's
own thread represents it. Cost follows the page: each address of each mailbox is one range of an index.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connection as database
from django.db.models import Value

from core.api.pagination import Page, PageQuery, decode_cursor, encode_cursor
from core.errors import InvalidInput
from email_sync import arrays
from email_sync.models import LinkKind, Thread
from email_sync.services import conversations
from email_sync.services.linking import own_addresses
from email_sync.services.visibility import Mailbox, mailboxes
from entities.models import AddressMatch, DomainMatch

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

WHOLE = 100
"""A timeline of no more threads is read whole: its total is exact, its pages are slices. Of a longer one a page is read
from its place on, and counted no further than the page."""
REACH = 10_000
"""A page by its number lies within so many conversations; further down goes a cursor."""
MAX_MATCHES = 500
"""Of one entity so many addresses and domains count, the newest: a contact has a few, a company some dozens."""

Place = tuple[datetime, uuid.UUID]
"""Where a thread stands: when its newest shown message was received, and its id."""
_TOP = ("infinity", "ffffffff-ffff-ffff-ffff-ffffffffffff")


@dataclass(frozen=True, slots=True)
class Conversation:
    """An item: the threads of one conversation, newest first."""

    place: Place
    """Of the newest."""
    threads: tuple[Thread, ...]
    repeats: int
    """How many of their messages are copies of others of theirs."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """What a timeline is read by: the mailboxes seen and the entity's matches."""

    seen: dict[uuid.UUID, Mailbox]
    addresses: Sequence[str]
    domains: Sequence[str]
    values: dict[str, str]
    """These, the entity and who is nobody one talks to, as the statements below take them."""


def timeline(
    *, user: User, workspace: Workspace, entity_type: str, entity_id: str, paging: PageQuery
) -> tuple[Page[Conversation], Timeline]:
    """A page of conversations and what it was read by. InvalidInput for a malformed cursor or a page out of reach."""
    after = _place(paging.cursor) if paging.cursor else None
    of = open_timeline(user=user, workspace=workspace, entity_type=entity_type, entity_id=entity_id)
    head = candidates(of, after, WHOLE + 1)
    if len(head) <= WHOLE:  # it ends here; whether it began not far above
        first = candidates(of, None, WHOLE + 1) if after else head
        if len(first) <= WHOLE:
            every = list(_conversations(of, first))
            rest = [one for one in every if after is None or one.place < after]
            return _page(rest, len(every), paging, exact=True), of
    if not paging.cursor and paging.page * paging.limit > REACH:
        raise InvalidInput(fields={"page": [f"Page numbers end at {REACH:,} conversations; go on by cursor."]})
    end = (1 if paging.cursor else paging.page) * paging.limit + 1
    walked = list(islice(_walk(of, head, paging.limit + 1), end))
    return _page(walked, max(WHOLE, len(walked)), paging, exact=False), of


def open_timeline(*, user: User, workspace: Workspace, entity_type: str, entity_id: str) -> Timeline:
    """The mailboxes and matches of a timeline. Three queries."""
    entity = {"entity_type": entity_type, "entity_id": entity_id}
    seen, own = mailboxes(user=user, workspace=workspace), own_addresses(workspace.pk)
    addresses = AddressMatch.objects.in_workspace(workspace).filter(**entity).order_by("-id")[:MAX_MATCHES]
    domains = DomainMatch.objects.in_workspace(workspace).filter(**entity).order_by("-id")[:MAX_MATCHES]
    matches = addresses.values_list("address_key", Value(True)).union(
        domains.values_list("domain", Value(False)), all=True
    )
    keys, names = ([name for name, is_address in matches if is_address is kind] for kind in (True, False))
    pairs = [(box, key) for box in seen for key in keys if key not in own.get(box, ())]
    values = {
        "boxes": arrays.of_ids(box for box, _ in pairs),
        "keys": arrays.of_values(key for _, key in pairs),
        "mailboxes": arrays.of_ids(seen),
        "domains": arrays.of_values(names),
        "everybody": arrays.of_values(frozenset().union(*own.values())),
        "type": entity_type,
        "id": entity_id,
    }
    return Timeline(seen, keys, names, values)


def _page(found: list[Conversation], total: int, paging: PageQuery, *, exact: bool) -> Page[Conversation]:
    start = 0 if paging.cursor else (paging.page - 1) * paging.limit
    rows = found[start : start + paging.limit]
    more = rows and len(found) > start + paging.limit
    at, thread_id = rows[-1].place if more else (None, None)
    following = encode_cursor([at.isoformat(), str(thread_id)]) if at else None
    return Page(rows=rows, total=total, next_cursor=following, total_is_exact=exact)


def _place(cursor: str) -> Place:
    try:
        moment, thread_id = decode_cursor(cursor)
        at, pk = datetime.fromisoformat(str(moment)), uuid.UUID(str(thread_id))
        if at.utcoffset() != timedelta():  # ours are in UTC; others may be out of PostgreSQL's range
            raise ValueError
    except (TypeError, ValueError):
        raise InvalidInput(fields={"cursor": ["This cursor is not one of ours."]}) from None
    return at, pk


# --- the walk -----------------------------------------------------------------------------------------------------

_DECIDED = """
    EXISTS (SELECT FROM email_sync_threadlink AS link
            WHERE link.thread_id = person.thread_id AND link.entity_type = %(type)s AND link.entity_id = %(id)s
              AND link.kind = 'unlinked')
"""
_AFTER = "< (%(at)s::timestamptz, %(after)s::uuid)"
_BY_ADDRESS = f"""
    SELECT newest.* FROM unnest(%(boxes)s::uuid[], %(keys)s::text[]) AS pair (connection_id, address_key)
    CROSS JOIN LATERAL (
        SELECT person.shown_at, person.thread_id FROM email_sync_threadparticipant AS person
        WHERE person.connection_id = pair.connection_id AND person.address_key = pair.address_key
          AND (person.shown_at, person.thread_id) {_AFTER} AND NOT {_DECIDED}
        ORDER BY person.shown_at DESC, person.thread_id DESC LIMIT %(limit)s
    ) AS newest
"""  # noqa: S608 - our own constants
_BY_DOMAIN = f"""
    SELECT newest.* FROM unnest(%(mailboxes)s::uuid[]) AS mailbox (connection_id)
    CROSS JOIN unnest(%(domains)s::text[]) AS matched (domain)
    CROSS JOIN LATERAL (
        SELECT DISTINCT person.shown_at, person.thread_id FROM email_sync_threadparticipant AS person
        WHERE person.connection_id = mailbox.connection_id AND person.domain = matched.domain
          AND person.address_key <> ALL(%(everybody)s::text[])
          AND (person.shown_at, person.thread_id) {_AFTER} AND NOT {_DECIDED}
        ORDER BY person.shown_at DESC, person.thread_id DESC LIMIT %(limit)s
    ) AS newest
"""  # noqa: S608 - our own constants
_BY_HAND = f"""
    SELECT thread.shown_at, thread.id FROM email_sync_threadlink AS link
    JOIN email_sync_thread AS thread ON thread.id = link.thread_id
    WHERE link.connection_id = ANY(%(mailboxes)s::uuid[]) AND link.entity_type = %(type)s
      AND link.entity_id = %(id)s AND link.kind = 'linked' AND (thread.shown_at, thread.id) {_AFTER}
"""  # noqa: S608 - our own constants
_COLUMNS = [column.attname for column in Thread._meta.concrete_fields]
_ROW = f"{', '.join(f'thread.{column}' for column in _COLUMNS)}, link.decided_at, link.kind"
_DECISION = """
    LEFT JOIN email_sync_threadlink AS link
      ON link.thread_id = thread.id AND link.entity_type = %(type)s AND link.entity_id = %(id)s
"""
_CANDIDATES = f"""
    SELECT {_ROW}, place.shown_at
    FROM (SELECT DISTINCT shown_at, thread_id FROM ({{ways}}) AS found (shown_at, thread_id)
          ORDER BY shown_at DESC, thread_id DESC LIMIT %(limit)s) AS place
    JOIN email_sync_thread AS thread ON thread.id = place.thread_id {_DECISION}
    ORDER BY place.shown_at DESC, place.thread_id DESC
"""  # noqa: S608 - our own constants
_COPIES = f"""
    SELECT {_ROW}, CASE WHEN link.kind = 'linked' OR (link.kind IS NULL AND EXISTS (
        SELECT FROM email_sync_threadparticipant AS person
        WHERE person.thread_id = thread.id
          AND ((thread.connection_id, person.address_key) IN (SELECT * FROM unnest(%(boxes)s::uuid[], %(keys)s::text[]))
               OR (person.domain = ANY(%(domains)s::text[]) AND person.address_key <> ALL(%(everybody)s::text[])))
    )) THEN thread.shown_at END
    FROM email_sync_thread AS thread {_DECISION}
    WHERE thread.id = ANY(%(threads)s::uuid[])
"""  # noqa: S608 - our own constants

Decision = tuple[datetime, str]


class Linked(NamedTuple):
    """A thread, and what ties it to the entity."""

    thread: Thread
    decision: Decision | None
    place: Place | None
    """None of a copy that is not on the timeline itself."""


def candidates(of: Timeline, after: Place | None, limit: int) -> list[Linked]:
    """The newest threads of the timeline after a place. It is asked in no way that it has not: planning takes longer
    than reading. One query."""
    at, thread_id = after or _TOP
    ways = [_BY_ADDRESS] * bool(of.addresses) + [_BY_DOMAIN] * bool(of.domains) + [_BY_HAND]
    return _linked(of, _CANDIDATES.format(ways=" UNION ALL ".join(ways)), at=at, after=thread_id, limit=limit)


def _linked(of: Timeline, statement: str, **values: Any) -> list[Linked]:
    with database.cursor() as cursor:
        cursor.execute(statement, {**of.values, **values})
        return [
            Linked(
                thread=(thread := Thread.from_db(database.alias, _COLUMNS, row)),
                decision=(decided_at, kind) if kind else None,
                place=(at, thread.pk) if at else None,
            )
            for *row, decided_at, kind, at in cursor.fetchall()
        ]


def _walk(of: Timeline, head: Sequence[Linked], enough: int) -> Iterator[Conversation]:
    """All conversations from a place on, so many at a time; `head` are their first WHOLE + 1 threads."""
    found = head
    while found:
        rest = found
        while rest:
            portion = _portion(rest, enough)
            yield from _conversations(of, rest[:portion])
            rest = rest[portion:]
        found = candidates(of, found[-1].place, WHOLE + 1) if len(found) > WHOLE else ()  # fewer were the last


def _portion(found: Sequence[Linked], enough: int) -> int:
    """How many of these threads to look at together for a page: until one mailbox has enough. Two of its threads are
    hardly ever one conversation; a colleague's copies would leave half a page, and each further look is queries."""
    of_mailbox: Counter[uuid.UUID] = Counter()
    for number, one in enumerate(found, 1):
        of_mailbox[one.thread.connection_id] += 1
        if of_mailbox[one.thread.connection_id] == enough:
            return number
    return len(found)


def _conversations(of: Timeline, found: Sequence[Linked]) -> Iterator[Conversation]:
    """The conversations whose newest thread is one of these. One that a newer thread belongs to was shown there, so it
    is passed over here, whatever page this is."""
    known = {one.thread.pk: one for one in found}
    held = conversations.look(known, of.seen)
    if copies := held.copies.keys() - known:
        known |= {one.thread.pk: one for one in _linked(of, _COPIES, threads=arrays.of_ids(copies))}
    shown: dict[uuid.UUID, Conversation] = {}
    for group in held.groups():
        members = [known[thread] for thread in group if thread in known]
        standing = sorted((one.place for one in members if one.place), reverse=True)
        if standing and _stands(one.decision for one in members):
            threads = tuple(known[thread].thread for _, thread in standing)
            shown[threads[0].pk] = Conversation(standing[0], threads, held.repeats(row.pk for row in threads))
    for one in found:
        if one.thread.pk in shown:
            yield shown[one.thread.pk]


def _stands(decisions: Iterable[Decision | None]) -> bool:
    """A decision about one copy counts for the conversation; the newest one. What the reader cannot see decides
    nothing for them."""
    made = [decision for decision in decisions if decision]
    return not made or max(made)[1] == LinkKind.LINKED
