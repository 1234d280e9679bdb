"""Which CRM entities an event is about: by the addresses and domains of those who take part.

Joined with the workspace's matches when it is read, so a new match covers old events at once. In its own calendar an
address is nobody one meets, and colleagues are linked by no domain.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import connection as database
from django.db.models import Q

from calendar_sync.models import Attendee, Calendar, CalendarEvent
from calendar_sync.services import visibility
from calendar_sync.services.visibility import Access
from core.api.pagination import Page, PageQuery, paginate
from entities.matching import normalise
from entities.models import AddressMatch, DomainMatch
from entities.services.matches import AnyMatch, Matched
from integrations.models import Connection

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

MAX_MATCHES = 500
"""Of one entity so many addresses and domains count, the newest."""
REACH = 5000
"""A timeline goes so many attendances back."""
CAP = 1000
"""Counting what a match links stops here."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An event on a timeline, and how much of it its reader sees."""

    event: CalendarEvent
    access: Access


def own_addresses(workspace_id: uuid.UUID) -> dict[uuid.UUID, str]:
    """The key of each account's own address, of all accounts of the workspace. One query."""
    rows = Connection.objects.filter(workspace=workspace_id).values_list("pk", "account_email")
    return {pk: normalise(address) for pk, address in rows}


_ENTITIES = """
    SELECT person.event_id, person.connection_id, person.address_key, match.entity_type, match.entity_id, FALSE
    FROM calendar_sync_attendee AS person JOIN entities_addressmatch AS match
      ON match.workspace_id = %(workspace)s AND match.address_key = person.address_key
    WHERE person.event_id = ANY(%(events)s::uuid[]) AND person.address_key <> ''
    UNION ALL
    SELECT person.event_id, person.connection_id, person.address_key, match.entity_type, match.entity_id, TRUE
    FROM calendar_sync_attendee AS person JOIN entities_domainmatch AS match
      ON match.workspace_id = %(workspace)s AND match.domain = person.domain
    WHERE person.event_id = ANY(%(events)s::uuid[]) AND person.domain <> ''
"""


def entities_of(*, workspace_id: uuid.UUID, event_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, list[tuple[str, str]]]:
    """(type, id) of the entities of these events, every one that applies. One query, a second where any matched."""
    if not event_ids:
        return {}
    with database.cursor() as cursor:
        cursor.execute(_ENTITIES, {"workspace": workspace_id, "events": list(event_ids)})
        rows = cursor.fetchall()
    own = own_addresses(workspace_id) if rows else {}
    everybody = frozenset(own.values())
    found: defaultdict[uuid.UUID, set[tuple[str, str]]] = defaultdict(set)
    for event, account, key, entity_type, entity_id, by_domain in rows:
        if key not in everybody if by_domain else key != own.get(account):
            found[event].add((entity_type, entity_id))
    return {event: sorted(entities) for event, entities in found.items()}


# --- the timeline of an entity ------------------------------------------------------------------------------------


def timeline(*, user: User, workspace: Workspace, entity_type: str, entity_id: str, paging: PageQuery) -> Page[Seen]:
    """Events with this entity, the latest start first, a series once; of all accounts the reader sees, one meeting
    once: their own copy before a colleague's."""
    entity = {"entity_type": entity_type, "entity_id": entity_id}
    addresses = AddressMatch.objects.in_workspace(workspace).filter(**entity).order_by("-id")
    domains = DomainMatch.objects.in_workspace(workspace).filter(**entity).order_by("-id")
    seen = visibility.accounts(user=user, workspace=workspace)
    wanted = _people(
        seen,
        set(addresses.values_list("address_key", flat=True)[:MAX_MATCHES]),
        list(domains.values_list("domain", flat=True)[:MAX_MATCHES]),
        own_addresses(workspace.pk),
    )
    rows = _attended(wanted)
    best: dict[uuid.UUID, tuple[Access, datetime, uuid.UUID]] = {}
    for event_id, meeting, starts_at, account in rows:
        place = (seen[account], starts_at, event_id)
        best[meeting] = max(best.get(meeting, place), place, key=lambda one: one[0])
    ordered = sorted(best.values(), key=lambda one: (one[1], one[2]), reverse=True)
    page = paginate(ordered, paging)
    events = CalendarEvent.objects.prefetch_related("attendees").in_bulk([pk for _, _, pk in page.rows])
    shown = [Seen(events[pk], visibility.of_event(events[pk], access)) for access, _, pk in page.rows if pk in events]
    return Page(shown, page.total, page.next_cursor, total_is_exact=len(rows) < REACH)


def _people(
    seen: Mapping[uuid.UUID, Access], addresses: set[str], domains: Sequence[str], own: Mapping[uuid.UUID, str]
) -> Q:
    """Who brings an event onto the timeline."""
    wanted = Q(pk__in=[])
    for account in seen if addresses else ():
        wanted |= Q(connection=account, address_key__in=addresses - {own.get(account, "")})
    if domains:
        wanted |= Q(connection__in=seen, domain__in=domains) & ~Q(address_key__in=set(own.values()))
    return wanted


def _attended(wanted: Q) -> list[tuple[uuid.UUID, uuid.UUID, datetime, uuid.UUID]]:
    """(series or event, meeting, start, account) of what they take part in, the latest first."""
    there = Attendee.objects.filter(
        wanted, event__removed_at__isnull=True, event__problem="", event__calendar__in=Calendar.objects.shown()
    )
    rows = there.order_by("-event__starts_at", "-event_id").values_list(
        "event_id", "event__series_id", "event__meeting", "event__starts_at", "connection_id"
    )[:REACH]
    return [(series or event, meeting, starts_at, account) for event, series, meeting, starts_at, account in rows]


# --- how much a match links ---------------------------------------------------------------------------------------


_COUNT = """
    SELECT pair.number, count(*) FROM (
        SELECT DISTINCT asked.number, event.meeting
        FROM unnest(%(numbers)s::int[], %(boxes)s::uuid[], %(keys)s::text[]) AS asked (number, box, key)
        CROSS JOIN LATERAL (
            SELECT person.event_id FROM calendar_sync_attendee AS person
            WHERE person.connection_id = asked.box AND person.{column} = asked.key AND person.{column} <> ''
              AND person.address_key <> ALL(%(apart)s::text[])
            LIMIT %(cap)s + 1
        ) AS attended
        JOIN calendar_sync_calendarevent AS event ON event.id = attended.event_id
        WHERE event.removed_at IS NULL AND event.problem = ''
    ) AS pair GROUP BY pair.number
"""


def count_events(*, user: User, workspace: Workspace, matches: Sequence[AnyMatch]) -> dict[uuid.UUID, Matched]:
    """See `entities.services.matches.Counter`: what `settings.MATCH_COUNTERS["events"]` names. Series count once."""
    own = own_addresses(workspace.pk)
    boxes = list(visibility.accounts(user=user, workspace=workspace))
    addresses = [match for match in matches if isinstance(match, AddressMatch)]
    domains = [match for match in matches if isinstance(match, DomainMatch)]
    by_address = [
        (number, box, match.address_key)
        for number, match in enumerate(addresses)
        for box in boxes
        if own.get(box) != match.address_key
    ]
    by_domain = [(number, box, match.domain) for number, match in enumerate(domains) for box in boxes]
    counted = _counted(addresses, "address_key", by_address, ())
    return counted | _counted(domains, "domain", by_domain, [key for key in own.values() if key])


def _counted(
    matches: Sequence[AnyMatch], column: str, pairs: Sequence[tuple[int, uuid.UUID, str]], apart: Collection[str]
) -> dict[uuid.UUID, Matched]:
    if not pairs:
        return {}
    numbers, boxes, keys = (list(values) for values in zip(*pairs, strict=True))
    values: dict[str, Any] = {"numbers": numbers, "boxes": boxes, "keys": keys, "apart": list(apart), "cap": CAP}
    with database.cursor() as cursor:
        cursor.execute(_COUNT.format(column=column), values)
        rows = cursor.fetchall()
    return {matches[number].pk: Matched(min(count, CAP), count <= CAP) for number, count in rows}
