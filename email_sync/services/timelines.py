"""The timeline of a CRM entity: its conversations, newest first, of all mailboxes the reader sees.

A conversation is on it because somebody in it has a matched address or domain, or because somebody linked it. Threads
of several mailboxes that hold the same message are one item; it stands where its newest thread stands, and a reader's
own thread represents it. Cost follows the page: each address of each mailbox is one range of an index.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.db import connection as database
from django.db.models import Q

from core.api.pagination import Page, PageQuery, decode_cursor, encode_cursor
from core.errors import InvalidInput
from email_sync.models import LinkKind, Thread, ThreadLink, ThreadParticipant
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

    entity: tuple[str, str]
    seen: dict[uuid.UUID, Mailbox]
    addresses: Sequence[str]
    domains: Sequence[str]
    own: dict[uuid.UUID, frozenset[str]]
    """The own addresses of all mailboxes of the workspace."""

    @property
    def everybody(self) -> frozenset[str]:
        return frozenset().union(*self.own.values())

    def pairs(self) -> list[tuple[uuid.UUID, str]]:
        """Each mailbox with each address it may have mail of: not with its own."""
        return [(box, key) for box in self.seen for key in self.addresses if key not in self.own.get(box, ())]

    def counts(self, box: uuid.UUID, key: str, domain: str) -> bool:
        """Whether somebody in a conversation of this mailbox brings it onto the timeline."""
        by_address = key in self.addresses and key not in self.own.get(box, ())
        return by_address or (domain in self.domains and key not in self.everybody)


def timeline(
    *, user: User, workspace: Workspace, entity_type: str, entity_id: str, paging: PageQuery
) -> tuple[Page[Conversation], Timeline]:
    """A page of conversations and what it was read by. InvalidInput for a malformed cursor or a page out of reach."""
    after = _place(paging.cursor) if paging.cursor else None
    of = open_timeline(user=user, workspace=workspace, entity_type=entity_type, entity_id=entity_id)
    first = candidates(of, None, WHOLE + 1)
    if len(first) <= WHOLE:
        every = list(_conversations(of, first))
        rest = [one for one in every if after is None or one.place < after]
        return _page(rest, len(every), paging, exact=True), of
    if not paging.cursor and paging.page * paging.limit > REACH:
        raise InvalidInput(fields={"page": [f"Page numbers end at {REACH:,} conversations; go on by cursor."]})
    end = (1 if paging.cursor else paging.page) * paging.limit + 1
    walked = list(islice(_walk(of, after, paging.limit + 1, None if paging.cursor else first), end))
    return _page(walked, max(WHOLE, len(walked)), paging, exact=False), of


def open_timeline(*, user: User, workspace: Workspace, entity_type: str, entity_id: str) -> Timeline:
    """The mailboxes and matches of a timeline. Four queries."""
    entity = {"entity_type": entity_type, "entity_id": entity_id}
    addresses = AddressMatch.objects.in_workspace(workspace).filter(**entity).order_by("-id")
    domains = DomainMatch.objects.in_workspace(workspace).filter(**entity).order_by("-id")
    return Timeline(
        entity=(entity_type, entity_id),
        seen=mailboxes(user=user, workspace=workspace),
        addresses=list(addresses.values_list("address_key", flat=True)[:MAX_MATCHES]),
        domains=list(domains.values_list("domain", flat=True)[:MAX_MATCHES]),
        own=own_addresses(workspace.pk),
    )


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
_CANDIDATES = f"""
    WITH found AS (
        SELECT newest.* FROM unnest(%(boxes)s::uuid[], %(keys)s::text[]) AS pair (connection_id, address_key)
        CROSS JOIN LATERAL (
            SELECT person.shown_at, person.thread_id FROM email_sync_threadparticipant AS person
            WHERE person.connection_id = pair.connection_id AND person.address_key = pair.address_key
              AND (person.shown_at, person.thread_id) {_AFTER} AND NOT {_DECIDED}
            ORDER BY person.shown_at DESC, person.thread_id DESC LIMIT %(limit)s
        ) AS newest
        UNION ALL
        SELECT newest.* FROM unnest(%(mailboxes)s::uuid[]) AS mailbox (connection_id)
        CROSS JOIN unnest(%(domains)s::text[]) AS matched (domain)
        CROSS JOIN LATERAL (
            SELECT DISTINCT person.shown_at, person.thread_id FROM email_sync_threadparticipant AS person
            WHERE person.connection_id = mailbox.connection_id AND person.domain = matched.domain
              AND person.address_key <> ALL(%(everybody)s::text[])
              AND (person.shown_at, person.thread_id) {_AFTER} AND NOT {_DECIDED}
            ORDER BY person.shown_at DESC, person.thread_id DESC LIMIT %(limit)s
        ) AS newest
        UNION ALL
        SELECT thread.shown_at, thread.id FROM email_sync_threadlink AS link
        JOIN email_sync_thread AS thread ON thread.id = link.thread_id
        WHERE link.connection_id = ANY(%(mailboxes)s::uuid[]) AND link.entity_type = %(type)s
          AND link.entity_id = %(id)s AND link.kind = 'linked' AND (thread.shown_at, thread.id) {_AFTER}
    )
    SELECT DISTINCT shown_at, thread_id FROM found ORDER BY shown_at DESC, thread_id DESC LIMIT %(limit)s
"""  # noqa: S608 - our own constants


def candidates(of: Timeline, after: Place | None, limit: int) -> list[Place]:
    """The newest threads of the timeline after a place."""
    pairs = of.pairs()
    at, thread_id = after or _TOP
    values: dict[str, Any] = {
        "boxes": [box for box, _ in pairs],
        "keys": [key for _, key in pairs],
        "mailboxes": list(of.seen),
        "domains": list(of.domains),
        "everybody": list(of.everybody),
        "type": of.entity[0],
        "id": of.entity[1],
        "at": at,
        "after": thread_id,
        "limit": limit,
    }
    with database.cursor() as cursor:
        cursor.execute(_CANDIDATES, values)
        return list(cursor.fetchall())


def _walk(
    of: Timeline, after: Place | None, portion: int, head: Sequence[Place] | None = None
) -> Iterator[Conversation]:
    """All conversations after a place, read so many threads at a time; `head` are the first of them, known already."""
    places = head[:portion] if head else candidates(of, after, portion)
    while places:
        yield from _conversations(of, places)
        places = candidates(of, places[-1], portion)


def _conversations(of: Timeline, places: Sequence[Place]) -> Iterator[Conversation]:
    """The conversations whose newest thread is one of these. One that a newer thread belongs to was shown there, so it
    is passed over here, whatever page this is."""
    ours = {thread for _, thread in places}
    held = conversations.look(ours, of.seen)
    decisions = _decisions(of, held.copies)
    linked = ours | _linked(of, held.copies.keys() - ours, decisions)
    rows = Thread.objects.in_bulk(linked)
    found: dict[uuid.UUID, Conversation] = {}
    for group in held.groups():
        standing = sorted(((at, t) for t in group if t in rows and (at := rows[t].shown_at)), reverse=True)
        if standing and _stands(decisions, group):
            members = tuple(rows[thread] for _, thread in standing)
            found[members[0].pk] = Conversation(standing[0], members, held.repeats(row.pk for row in members))
    for _, thread in places:
        if thread in found:
            yield found[thread]


Decision = tuple[datetime, str]


def _decisions(of: Timeline, threads: Collection[uuid.UUID]) -> dict[uuid.UUID, Decision]:
    links = ThreadLink.objects.filter(thread__in=list(threads), entity_type=of.entity[0], entity_id=of.entity[1])
    return {thread: (at, kind) for thread, at, kind in links.values_list("thread_id", "decided_at", "kind")}


def _linked(of: Timeline, copies: Collection[uuid.UUID], decisions: Mapping[uuid.UUID, Decision]) -> set[uuid.UUID]:
    """Which of these copies are on the timeline themselves, by the same rules as the candidates."""
    if not copies:
        return set()
    people = ThreadParticipant.objects.filter(thread__in=list(copies))
    matched = people.filter(Q(address_key__in=of.addresses) | Q(domain__in=of.domains))
    columns = ("thread_id", "connection_id", "address_key", "domain")
    found = {thread for thread, *person in matched.values_list(*columns) if of.counts(*person)}
    for thread in copies:
        kind = decisions[thread][1] if thread in decisions else None
        if kind == LinkKind.LINKED:
            found.add(thread)
        elif kind == LinkKind.UNLINKED:
            found.discard(thread)
    return found


def _stands(decisions: Mapping[uuid.UUID, Decision], group: Sequence[uuid.UUID]) -> bool:
    """A decision about one copy counts for the conversation; the newest one. What the reader cannot see decides
    nothing for them."""
    made = [decisions[thread] for thread in group if thread in decisions]
    return not made or max(made)[1] == LinkKind.LINKED
