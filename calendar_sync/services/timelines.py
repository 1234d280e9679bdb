"""The events of a CRM entity, the latest start first, of all calendars the reader sees: a series once, and a meeting of
several calendars once.

An event is on it because somebody in it has a matched address or domain, or because somebody linked it. A meeting
stands where its latest row stands, and the reader's own copy represents it. Cost follows the page: each address of each
account is one range of an index.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.db import connection as database

from calendar_sync.models import Calendar
from calendar_sync.services import visibility
from calendar_sync.services.linking import own_addresses
from calendar_sync.services.rows import EventRow, read
from calendar_sync.services.visibility import Access
from core.api.pagination import Page, PageQuery, decode_cursor, encode_cursor
from core.errors import InvalidInput
from entities.models import AddressMatch, DomainMatch

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

WHOLE = 100
"""A timeline of no more rows is read whole: its total is exact, its pages are slices. Of a longer one a page is read
from its place on, and counted no further than the page."""
REACH = 10_000
"""A page by its number lies within so many meetings; further down goes a cursor."""
MAX_MATCHES = 500
"""Of one entity so many addresses and domains count, the newest."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An event, and how much of it the reader sees."""

    event: EventRow
    access: Access


Place = tuple[datetime, uuid.UUID]
"""When a row starts, and its id."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row that may be where a meeting stands."""

    place: Place
    meeting: uuid.UUID


@dataclass(frozen=True, slots=True)
class Meeting:
    """An item: where it stands, and the event that represents it."""

    place: Place
    event_id: uuid.UUID
    access: Access


def timeline(*, user: User, workspace: Workspace, entity_type: str, entity_id: str, paging: PageQuery) -> Page[Seen]:
    """A page of it. InvalidInput for a malformed cursor or a page out of reach."""
    after = _place(paging.cursor) if paging.cursor else None
    of = _Timeline(user, workspace, entity_type, entity_id)
    first = of.candidates(None, WHOLE + 1)
    if len(first) <= WHOLE:
        every = list(of.meetings(first))
        found = [one for one in every if after is None or one.place < after]
        return _page(found, len(every), paging, exact=True)
    if not paging.cursor and paging.page * paging.limit > REACH:
        raise InvalidInput(fields={"page": [f"Page numbers end at {REACH:,} events; go on by cursor."]})
    end = (1 if paging.cursor else paging.page) * paging.limit + 1
    found = list(islice(of.walk(after, paging.limit + 1, None if after else first), end))
    return _page(found, max(WHOLE, len(found)), paging, exact=False)


def _page(found: list[Meeting], total: int, paging: PageQuery, *, exact: bool) -> Page[Seen]:
    start = 0 if paging.cursor else (paging.page - 1) * paging.limit
    rows = found[start : start + paging.limit]
    events = read([one.event_id for one in rows])
    shown = [
        Seen(event, visibility.of_event(event, one.access))
        for one in rows
        if (event := events.get(one.event_id)) is not None
    ]
    following = None
    if rows and len(found) > start + paging.limit:
        at, pk = rows[-1].place
        following = encode_cursor([at.isoformat(), str(pk)])
    return Page(shown, total, following, total_is_exact=exact)


def _place(cursor: str) -> Place:
    try:
        moment, event_id = decode_cursor(cursor)
        at, pk = datetime.fromisoformat(str(moment)), uuid.UUID(str(event_id))
        if at.utcoffset() != timedelta():  # ours are in UTC; others may be out of PostgreSQL's range
            raise ValueError
    except (TypeError, ValueError):
        raise InvalidInput(fields={"cursor": ["This cursor is not one of ours."]}) from None
    return at, pk


# --- the walk -----------------------------------------------------------------------------------------------------
# OFFSET 0 is a fence: each row of the page asks an index. Without it the planner may read all people or all links once
# and keep them (a hashed subplan), which PostgreSQL 15 does where it takes them for few.

_DECIDED = """
    EXISTS (SELECT FROM calendar_sync_eventlink AS link
            WHERE link.event_id = event.{which} AND link.entity_type = %(type)s AND link.entity_id = %(id)s
              AND link.kind = '{kind}' OFFSET 0)
"""
_LINKED = _DECIDED.format(which="id", kind="linked")
_APART = f"""
    ({_DECIDED.format(which="id", kind="unlinked")}
     OR {_DECIDED.format(which="series_id", kind="unlinked")} AND NOT {_LINKED})
"""
_SHOWN = "event.removed_at IS NULL AND event.problem = '' AND event.calendar_id = ANY(%(calendars)s::uuid[])"
_AFTER = "< (%(at)s::timestamptz, %(after)s::uuid)"
_CANDIDATES = f"""
    WITH found AS (
        SELECT latest.* FROM unnest(%(boxes)s::uuid[], %(keys)s::text[]) AS pair (connection_id, address_key)
        CROSS JOIN LATERAL (
            SELECT person.starts_at, person.event_id, event.meeting
            FROM calendar_sync_attendee AS person
            JOIN calendar_sync_calendarevent AS event ON event.id = person.event_id
            WHERE person.connection_id = pair.connection_id AND person.address_key = pair.address_key
              AND person.address_key <> '' AND (person.starts_at, person.event_id) {_AFTER}
              AND {_SHOWN} AND NOT {_APART}
            ORDER BY person.starts_at DESC, person.event_id DESC LIMIT %(limit)s
        ) AS latest
        UNION ALL
        SELECT latest.* FROM unnest(%(accounts)s::uuid[]) AS account (connection_id)
        CROSS JOIN unnest(%(domains)s::text[]) AS matched (domain)
        CROSS JOIN LATERAL (
            SELECT DISTINCT person.starts_at, person.event_id, event.meeting
            FROM calendar_sync_attendee AS person
            JOIN calendar_sync_calendarevent AS event ON event.id = person.event_id
            WHERE person.connection_id = account.connection_id AND person.domain = matched.domain
              AND person.domain <> '' AND (person.starts_at, person.event_id) {_AFTER}
              AND person.address_key <> ALL(%(everybody)s::text[]) AND {_SHOWN} AND NOT {_APART}
            ORDER BY person.starts_at DESC, person.event_id DESC LIMIT %(limit)s
        ) AS latest
        UNION ALL
        SELECT event.starts_at, event.id, event.meeting
        FROM calendar_sync_eventlink AS link JOIN calendar_sync_calendarevent AS event ON event.id = link.event_id
        WHERE link.connection_id = ANY(%(accounts)s::uuid[]) AND link.entity_type = %(type)s
          AND link.entity_id = %(id)s AND link.kind = 'linked' AND (event.starts_at, event.id) {_AFTER} AND {_SHOWN}
    )
    SELECT DISTINCT starts_at, event_id, meeting FROM found ORDER BY starts_at DESC, event_id DESC LIMIT %(limit)s
"""  # noqa: S608 - our own constants
_ROWS = f"""
    SELECT DISTINCT ON (event.meeting, event.connection_id)
        event.meeting, event.starts_at, event.id, coalesce(event.series_id, event.id), event.connection_id
    FROM calendar_sync_calendarevent AS event
    WHERE event.connection_id = ANY(%(accounts)s::uuid[]) AND event.meeting = ANY(%(meetings)s::uuid[]) AND {_SHOWN}
      AND ({_LINKED} OR NOT {_APART} AND EXISTS (
          SELECT FROM calendar_sync_attendee AS person
          WHERE person.event_id = event.id AND (
              (person.connection_id, person.address_key)
                  IN (SELECT * FROM unnest(%(boxes)s::uuid[], %(keys)s::text[]) WHERE person.address_key <> '')
              OR person.domain = ANY(%(domains)s::text[]) AND person.domain <> ''
                 AND person.address_key <> ALL(%(everybody)s::text[]))
          OFFSET 0))
    ORDER BY event.meeting, event.connection_id, event.starts_at DESC, event.id DESC
"""  # noqa: S608 - our own constants
_TOP = ("infinity", "ffffffff-ffff-ffff-ffff-ffffffffffff")


class _Timeline:
    """What one is read by: the accounts seen, their calendars, and the entity's matches."""

    def __init__(self, user: User, workspace: Workspace, entity_type: str, entity_id: str) -> None:
        """Five queries."""
        entity = {"entity_type": entity_type, "entity_id": entity_id}
        addresses = AddressMatch.objects.in_workspace(workspace).filter(**entity).order_by("-id")
        domains = DomainMatch.objects.in_workspace(workspace).filter(**entity).order_by("-id")
        self.seen = visibility.accounts(user=user, workspace=workspace)
        own = own_addresses(workspace.pk)
        keys = list(addresses.values_list("address_key", flat=True)[:MAX_MATCHES])
        pairs = [(account, key) for account in self.seen for key in keys if key != own.get(account)]
        self.values: dict[str, Any] = {
            "type": entity_type,
            "id": entity_id,
            "accounts": list(self.seen),
            "calendars": list(Calendar.objects.shown().filter(connection__in=self.seen).values_list("pk", flat=True)),
            "boxes": [account for account, _ in pairs],
            "keys": [key for _, key in pairs],
            "domains": list(domains.values_list("domain", flat=True)[:MAX_MATCHES]),
            "everybody": list(own.values()),
        }

    def candidates(self, after: Place | None, limit: int) -> list[Candidate]:
        """The latest rows after a place."""
        at, event_id = after or _TOP
        rows = self._ask(_CANDIDATES, {"at": at, "after": event_id, "limit": limit})
        return [Candidate((starts_at, pk), meeting) for starts_at, pk, meeting in rows]

    def walk(self, after: Place | None, portion: int, head: Sequence[Candidate] | None = None) -> Iterator[Meeting]:
        """All meetings after a place, read so many rows at a time; `head` are the first of them, known already."""
        found = head[:portion] if head else self.candidates(after, portion)
        while found:
            yield from self.meetings(found)
            found = self.candidates(found[-1].place, portion)

    def meetings(self, found: Sequence[Candidate]) -> Iterator[Meeting]:
        """The meetings whose latest row is one of these. What a later row belongs to was shown there, so it is passed
        over here, whatever page this is."""
        latest: dict[uuid.UUID, Place] = {}
        best: dict[uuid.UUID, tuple[Access, Place, uuid.UUID]] = {}
        for meeting, starts_at, pk, shown, account in self._ask(_ROWS, {"meetings": [one.meeting for one in found]}):
            place = (starts_at, pk)
            latest[meeting] = max(latest.get(meeting, place), place)
            copy = (self.seen[account], place, shown)
            best[meeting] = max(best.get(meeting, copy), copy)
        for one in found:
            if latest.get(one.meeting) == one.place:
                access, _, shown = best[one.meeting]
                yield Meeting(one.place, shown, access)

    def _ask(self, sql: str, more: dict[str, Any]) -> list[tuple[Any, ...]]:
        with database.cursor() as cursor:
            cursor.execute(sql, {**self.values, **more})
            return list(cursor.fetchall())
