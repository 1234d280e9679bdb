"""When people are busy: blocks of time without a word of what fills them, from the stored occurrences.

One's own calendars, and those of colleagues whose connection shows colleagues anything (`Connection.visibility`): a
block tells less than the metadata of it, so a private event is one too. Busy is what takes place, shows as busy and was
not declined; tentative is what is only that. The database merges, so what is read grows with the range's blocks.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, tzinfo
from typing import TYPE_CHECKING, Any

from django.db import connection as database

from calendar_sync import zones
from calendar_sync.intervals import Stretch, clipped, merged, without
from calendar_sync.models import Calendar
from calendar_sync.records import CANCELLED, DECLINED, NEEDS_ACTION, TENTATIVE
from calendar_sync.services import occurrences, reading
from calendar_sync.services.reading import Cut
from entities.matching import normalise
from integrations.models import Connection
from workspaces.models import Membership

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

MAX_PEOPLE = 50
"""Colleagues that one question may name."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """When somebody is busy, in order; what is tentative is not in `busy` too."""

    busy: Sequence[Stretch] = ()
    tentative: Sequence[Stretch] = ()
    incomplete: Sequence[Cut] = ()
    """Series of which not everything was worked out."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The caller's blocks, and by the address asked for those of colleagues."""

    own: Blocks
    people: Mapping[str, Blocks] = field(default_factory=dict)
    unknown: Sequence[str] = ()
    """Addresses of nobody here, or of somebody who shows nothing: the two are not told apart."""

    @property
    def everybody(self) -> list[Blocks]:
        return [self.own, *self.people.values()]


def ask(
    *,
    user: User,
    workspace: Workspace,
    start: datetime,
    end: datetime,
    zone: tzinfo,
    calendar_id: str = "",
    emails: Sequence[str] = (),
) -> Answer:
    """Blocks within the half-open stretch; all-day events are days of `zone`. NotFound for a calendar that is not the
    caller's."""
    keys = _keys(emails)
    own = Calendar.objects.of(user=user, workspace=workspace)
    if calendar_id:
        own = own.filter(pk=own.find(calendar_id).pk)
    mine = list(own.shown().select_related("connection"))
    people = _people(user, workspace, keys) if keys else {}
    span = _Span(start, end, zone)
    blocks = span.blocks({key: found for key, found in people.items() if found})
    known = {address: blocks[key] for address, key in keys.items() if key in blocks}
    return Answer(span.blocks({"": mine})[""], known, [address for address in keys if address not in known])


def _keys(emails: Sequence[str]) -> dict[str, str]:
    """Address as it was given → its key, each person once."""
    keys: dict[str, str] = {}
    for address in emails:
        if (key := normalise(address)) not in keys.values():
            keys[address] = key
    return keys


# --- who ----------------------------------------------------------------------------------------------------------


def _people(user: User, workspace: Workspace, keys: Mapping[str, str]) -> dict[str, list[Calendar]]:
    """Key → the calendars of whoever it names: by the address they log in with, all that they show; by an account's
    address, that account's. Only of members, and only of accounts that are connected. Three queries."""
    members = Membership.objects.in_workspace(workspace).filter(user__is_active=True)
    logins = {pk: normalise(address) for pk, address in members.values_list("user_id", "user__email")}
    shown = Connection.objects.seen_by(user=user, workspace=workspace).filter(user__in=logins).connected()
    named: defaultdict[uuid.UUID, set[str]] = defaultdict(set)
    wanted = set(keys.values())
    for pk, user_id, address in shown.values_list("pk", "user_id", "account_email"):
        named[pk] = {logins[user_id], normalise(address)} & wanted
    found: dict[str, list[Calendar]] = {}
    accounts = [pk for pk, some in named.items() if some]
    for calendar in Calendar.objects.filter(connection__in=accounts).shown().select_related("connection"):
        for key in named[calendar.connection_id]:
            found.setdefault(key, []).append(calendar)
    return found


# --- when ---------------------------------------------------------------------------------------------------------


_COLUMNS = "hit.source_id, hit.starts_at, hit.ends_at, hit.all_day"
_BLOCKS = f"""
    WITH home AS (
        SELECT * FROM unnest(%(people)s::int[], %(calendars)s::uuid[], %(own)s::text[]) AS home (person, calendar, own)
    ), hit AS (
        SELECT home.person, home.own, {_COLUMNS}
        FROM home JOIN calendar_sync_occurrence AS hit ON hit.calendar_id = home.calendar
        WHERE NOT hit.is_long AND hit.starts_at < %(last)s AND hit.starts_at >= %(look_back)s
          AND hit.event_id <> ALL(%(apart)s::uuid[])
        UNION ALL
        SELECT home.person, home.own, {_COLUMNS}
        FROM home JOIN calendar_sync_occurrence AS hit ON hit.calendar_id = home.calendar
        WHERE hit.is_long AND hit.ends_at > %(first)s AND hit.starts_at < %(last)s
          AND hit.event_id <> ALL(%(apart)s::uuid[])
        UNION ALL
        SELECT home.person, home.own, {_COLUMNS}
        FROM home JOIN unnest(
            %(homes)s::uuid[], %(sources)s::uuid[], %(starts)s::timestamptz[], %(ends)s::timestamptz[],
            %(days)s::boolean[]
        ) AS hit (calendar_id, source_id, starts_at, ends_at, all_day) ON hit.calendar_id = home.calendar
    ), answered AS MATERIALIZED ( -- else the answer is looked up again wherever it is named
        SELECT hit.*, source.status,
            (SELECT person.response FROM calendar_sync_attendee AS person
             WHERE person.event_id = hit.source_id AND person.address_key = hit.own AND hit.own <> ''
               AND person.is_invited
             LIMIT 1) AS response
        FROM hit JOIN calendar_sync_calendarevent AS source ON source.id = hit.source_id
        WHERE source.busy AND source.status <> %(cancelled)s
    ), judged AS (
        SELECT *, (status = %(tentative)s OR response IN (%(tentative)s, %(unanswered)s)) IS TRUE AS maybe
        FROM answered WHERE response IS DISTINCT FROM %(declined)s
    ), block AS (
        SELECT person, all_day, maybe,
            unnest(range_agg(tstzrange(starts_at, greatest(starts_at, ends_at)))) AS stretch
        FROM judged GROUP BY person, all_day, maybe
    )
    SELECT person, all_day, maybe, lower(stretch), upper(stretch) FROM block
    ORDER BY person, lower(stretch)
"""  # noqa: S608 - constants of this module


@dataclass(frozen=True, slots=True)
class _Span:
    """The stretch that is asked for."""

    start: datetime
    end: datetime
    zone: tzinfo

    def blocks(self, homes: Mapping[str, Sequence[Calendar]]) -> dict[str, Blocks]:
        """Of each of these people with these calendars. Three queries, a fourth where a series with changed occurrences
        has to be worked out because the range lies outside what is stored; none for nobody."""
        if not homes:
            return {}
        values, incomplete = self._values(homes)
        with database.cursor() as cursor:
            cursor.execute(_BLOCKS, values)
            rows = cursor.fetchall()
        found: dict[int, dict[bool, list[Stretch]]] = {number: {False: [], True: []} for number in range(len(homes))}
        for person, all_day, maybe, begin, until in rows:
            found[person][maybe].append((self._midnight(begin), self._midnight(until)) if all_day else (begin, until))
        return {
            key: self._told(found[number], _of_these(calendars, incomplete))
            for number, (key, calendars) in enumerate(homes.items())
        }

    def _values(self, homes: Mapping[str, Sequence[Calendar]]) -> tuple[dict[str, Any], list[Cut]]:
        """The parameters of the statement, and what is missing."""
        day_start, day_end = reading.days_of(self.start, self.end, self.zone)
        first, last = min(self.start, day_start), max(self.end, day_end)
        every = {calendar.pk: calendar for calendars in homes.values() for calendar in calendars}
        expanded, apart, incomplete = reading.expanded_for(every, first, last)
        pairs = [(number, calendar) for number, calendars in enumerate(homes.values()) for calendar in calendars]
        rows = [(home, source, begin, until, day) for _, source, home, _, _, begin, until, day in expanded]
        names = ("homes", "sources", "starts", "ends", "days")
        columns = list(zip(*rows, strict=True)) or [()] * len(names)
        return {
            "people": [number for number, _ in pairs],
            "calendars": [calendar.pk for _, calendar in pairs],
            "own": [normalise(calendar.connection.account_email) for _, calendar in pairs],
            "apart": apart,
            "first": first,
            "last": last,
            "look_back": first - occurrences.LONG,
            "cancelled": CANCELLED,
            "declined": DECLINED,
            "tentative": TENTATIVE,
            "unanswered": NEEDS_ACTION,
            **{name: list(column) for name, column in zip(names, columns, strict=True)},
        }, incomplete

    def _midnight(self, day: datetime) -> datetime:
        """When a day, stored as midnight in UTC, begins here."""
        return zones.instant(datetime.combine(day.astimezone(UTC).date(), time()), self.zone)

    def _told(self, found: Mapping[bool, Sequence[Stretch]], cuts: Sequence[Cut]) -> Blocks:
        busy, maybe = (merged(clipped(found[kind], self.start, self.end)) for kind in (False, True))
        return Blocks(busy, without(maybe, busy), cuts)


def _of_these(calendars: Sequence[Calendar], incomplete: Sequence[Cut]) -> list[Cut]:
    """What is missing of somebody's: where there are too many series, it may be anybody's."""
    own = {calendar.pk for calendar in calendars}
    return [cut for cut in incomplete if cut.calendar in own or cut.reason == reading.TOO_MANY]
