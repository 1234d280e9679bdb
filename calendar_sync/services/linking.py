"""Which CRM entities an event is about: by the addresses and domains of those who take part, or by a decision.

Joined with the workspace's matches when it is read, so a new match covers old events at once. In its own calendar an
address is nobody one meets, and colleagues are linked by no domain. What somebody decided by hand (`link`, `unlink`)
wins and is changed by no sync.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now

from calendar_sync.models import CalendarEvent, EventLink, LinkKind
from calendar_sync.services import visibility
from entities.matching import normalise
from entities.models import AddressMatch, DomainMatch
from entities.services.matches import AnyMatch, Matched
from integrations.models import Connection
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

CAP = 1000
"""Counting what a match links stops here."""


MANUAL, ADDRESS, DOMAIN = "manual", "address", "domain"
"""How an event comes to an entity; the first that applies is told."""
WAYS = [(MANUAL, MANUAL), (ADDRESS, ADDRESS), (DOMAIN, DOMAIN)]
"""The choices of `how`."""
_RANK = {MANUAL: 0, ADDRESS: 1, DOMAIN: 2}


@dataclass(frozen=True, slots=True, order=True)
class LinkedEntity:
    """An entity and how it was found."""

    entity_type: str
    entity_id: str
    how: str


def own_addresses(workspace_id: uuid.UUID) -> dict[uuid.UUID, str]:
    """The key of each account's own address, of all accounts of the workspace. One query."""
    rows = Connection.objects.filter(workspace=workspace_id).values_list("pk", "account_email")
    return {pk: normalise(address) for pk, address in rows}


# --- decisions ----------------------------------------------------------------------------------------------------


def link(*, event: CalendarEvent, entity_type: str, entity_id: str, by: User) -> tuple[EventLink, bool]:
    """This event is about that entity, whoever takes part. The decision, and whether it is a new one."""
    return _decide(event, LinkKind.LINKED, entity_type, entity_id, by)


def unlink(*, event: CalendarEvent, entity_type: str, entity_id: str, by: User) -> tuple[EventLink, bool]:
    """This event is not about that entity, whoever takes part. As `link`."""
    return _decide(event, LinkKind.UNLINKED, entity_type, entity_id, by)


def _decide(event: CalendarEvent, kind: LinkKind, entity_type: str, entity_id: str, by: User) -> tuple[EventLink, bool]:
    """In every calendar of the meeting that `by` sees: it is one to them."""
    workspace = event.connection.workspace
    seen = visibility.accounts(user=by, workspace=workspace)
    copies = CalendarEvent.objects.readable().filter(
        connection__in=seen, meeting=event.meeting, recurrence_key=event.recurrence_key
    )
    entity = {"entity_type": entity_type, "entity_id": entity_id}
    is_new = False
    with transaction.atomic():
        for copy in {event, *copies}:
            is_new |= _write(copy, kind, entity, by)
        if is_new:
            audit.record(
                by=by, workspace=workspace, action=f"event.{kind}", target=event,
                changes={"entityType": entity_type, "entityId": entity_id},
            )  # fmt: skip
    return EventLink.objects.get(event=event, **entity), is_new


def _write(event: CalendarEvent, kind: LinkKind, entity: dict[str, str], by: User) -> bool:
    """True where that is a change."""
    found, is_new = EventLink.objects.select_for_update().get_or_create(
        event=event, **entity, defaults={"connection_id": event.connection_id, "kind": kind, "decided_by": by}
    )
    if is_new or found.kind == kind:
        return is_new
    EventLink.objects.filter(pk=found.pk).update(kind=kind, decided_by=by, decided_at=Now())
    return True


# --- reading ------------------------------------------------------------------------------------------------------


_ENTITIES = """
    SELECT person.event_id, person.connection_id, person.address_key, match.entity_type, match.entity_id, 'address', 0
    FROM calendar_sync_attendee AS person JOIN entities_addressmatch AS match
      ON match.workspace_id = %(workspace)s AND match.address_key = person.address_key
    WHERE person.event_id = ANY(%(events)s::uuid[]) AND person.address_key <> ''
    UNION ALL
    SELECT person.event_id, person.connection_id, person.address_key, match.entity_type, match.entity_id, 'domain', 0
    FROM calendar_sync_attendee AS person JOIN entities_domainmatch AS match
      ON match.workspace_id = %(workspace)s AND match.domain = person.domain
    WHERE person.event_id = ANY(%(events)s::uuid[]) AND person.domain <> ''
    UNION ALL
    SELECT asked.id, asked.connection_id, '', link.entity_type, link.entity_id, link.kind,
           CASE WHEN link.event_id = asked.id THEN 2 ELSE 1 END
    FROM calendar_sync_calendarevent AS asked JOIN calendar_sync_eventlink AS link
      ON link.event_id IN (asked.id, asked.series_id)
    WHERE asked.id = ANY(%(events)s::uuid[])
    ORDER BY 7
"""


def entities_of(*, workspace_id: uuid.UUID, event_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, list[LinkedEntity]]:
    """The entities of these events, every one that applies. One query, a second where any matched."""
    if not event_ids:
        return {}
    with database.cursor() as cursor:
        cursor.execute(_ENTITIES, {"workspace": workspace_id, "events": list(event_ids)})
        rows = cursor.fetchall()
    own = own_addresses(workspace_id) if any(row[5] in (ADDRESS, DOMAIN) for row in rows) else {}
    everybody = frozenset(own.values())
    found: defaultdict[uuid.UUID, dict[tuple[str, str], str]] = defaultdict(dict)
    for event, account, key, *entity, how, _ in rows:  # decisions come last: a series' first, then the event's own
        place = tuple(entity)
        if how == LinkKind.LINKED:
            found[event][place] = MANUAL
        elif how == LinkKind.UNLINKED:
            found[event].pop(place, None)
        elif key not in everybody if how == DOMAIN else key != own.get(account):
            found[event][place] = min(found[event].get(place, how), how, key=_RANK.__getitem__)
    return {event: sorted(LinkedEntity(*place, how) for place, how in some.items()) for event, some in found.items()}


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
