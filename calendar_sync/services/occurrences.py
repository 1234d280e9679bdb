"""When events take place: the rows of `Occurrence`, kept for a horizon, and the expansion beyond it.

`refresh` is called by the writer for every event it changed, in its transaction; `extend` by the schedule, so that the
horizon goes along with time. Whoever reads outside the horizon expands there (`beyond`): being late costs time and
never an event.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection as database
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from calendar_sync import recurrence, rules
from calendar_sync.models import Calendar, CalendarEvent, Occurrence
from calendar_sync.records import CANCELLED
from calendar_sync.services.columns import change_of, floating_zone, recurrence_of, span_of

BEFORE, AFTER = timedelta(days=366), timedelta(days=731)
"""The horizon: what people look at."""
EXTEND_WHEN_LEFT = timedelta(days=701)
"""A series is expanded anew when less of its future than this is stored: once a month."""
LONG = timedelta(days=7)
"""What lasts longer is found by its end: a range then looks back only so far for starts."""
AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Horizon:
    """The stretch that is stored."""

    begin: datetime
    end: datetime

    @classmethod
    def now(cls) -> Horizon:
        today = timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(today - BEFORE, today + AFTER)


def refresh(events: Sequence[CalendarEvent], calendars: Mapping[uuid.UUID, Calendar], *, fresh: bool = False) -> None:
    """Write the occurrences of these events (series or single ones) anew, inside the caller's transaction; what is gone
    or unreadable has none. `fresh`: none of them has any yet."""
    if not events:
        return
    if not fresh:
        Occurrence.objects.filter(event__in=[event.pk for event in events]).delete()
    horizon = Horizon.now()
    changes = changes_of([event for event in events if event.recurrence])
    made: list[Occurrence] = []
    for event in events:
        if event.removed_at is None and not event.problem and not _is_nothing(event):
            made += _rows(event, changes.get(event.pk, ()), calendars[event.calendar_id], horizon)
    Occurrence.objects.bulk_create(made, batch_size=5000)
    expanded = [event for event in events if event.recurrence]
    CalendarEvent.objects.bulk_update(expanded, ["expanded_from", "expanded_until", "cut"], batch_size=500)


def changes_of(series: Sequence[CalendarEvent]) -> dict[uuid.UUID, list[CalendarEvent]]:
    """The changed occurrences of these series that are still there. One query, none for nothing."""
    found: defaultdict[uuid.UUID, list[CalendarEvent]] = defaultdict(list)
    if series:
        for row in CalendarEvent.objects.readable().filter(series__in=[event.pk for event in series]).order_by("id"):
            if row.series_id is not None:
                found[row.series_id].append(row)
    return dict(found)


def expand(
    event: CalendarEvent, changes: Iterable[CalendarEvent], calendar: Calendar, begin: datetime, end: datetime
) -> recurrence.Expansion[CalendarEvent]:
    """The occurrences of a series that overlap a stretch. A rule that cannot be followed gives none, and says so."""
    try:
        return recurrence.expand(
            span_of(event),
            recurrence_of(event),
            event,
            begin,
            end,
            changes=[change_of(row) for row in changes],
            floating=floating_zone(calendar),
        )
    except rules.BadRule as error:
        return recurrence.Expansion((), str(error))


def _is_nothing(event: CalendarEvent) -> bool:
    """A cancelled occurrence of a series that is not here."""
    return bool(event.recurrence_key) and event.status == CANCELLED


def _rows(
    event: CalendarEvent, changes: Iterable[CalendarEvent], calendar: Calendar, horizon: Horizon
) -> list[Occurrence]:
    if not event.recurrence:
        return [_row(event, event, "", event.starts_at, event.ends_at)]
    changes = list(changes)
    found = expand(event, changes, calendar, horizon.begin, horizon.end)
    event.expanded_from, event.expanded_until = _stored(event, changes, horizon)
    event.cut = found.cut
    return [_row(event, one.source, one.key, one.start, one.end) for one in found.occurrences]


def _stored(event: CalendarEvent, changes: Sequence[CalendarEvent], horizon: Horizon) -> tuple[datetime, datetime]:
    """The stretch outside of which a series surely has nothing that is not stored: without end where it begins or ends
    inside the horizon, so that nobody has to look at it again who asks for another time."""
    if any(row.following for row in changes) or recurrence_of(event).added:  # these may lie before its start
        return horizon.begin, horizon.end
    starts = [event.starts_at, *(row.starts_at for row in changes)]
    ends = [event.series_ends_at or recurrence.LATEST, *(row.ends_at for row in changes)]
    begin = recurrence.EARLIEST if min(starts) >= horizon.begin else horizon.begin
    return begin, recurrence.LATEST if max(ends) <= horizon.end else horizon.end


def _row(event: CalendarEvent, source: CalendarEvent, key: str, start: datetime, end: datetime) -> Occurrence:
    return Occurrence(
        calendar_id=event.calendar_id,
        event=event,
        source=source,
        key=key,
        meeting=event.meeting,
        starts_at=start,
        ends_at=end,
        all_day=source.all_day,
        is_long=end - start > LONG,
    )


_NOT_ALL_STORED = """
    (SELECT id, calendar_id, cut FROM calendar_sync_calendarevent
     WHERE calendar_id = ANY(%(calendars)s::uuid[]) AND cut <> '' AND removed_at IS NULL AND problem = ''
       AND starts_at < %(end)s
     ORDER BY id LIMIT %(limit)s)
    UNION ALL
    (SELECT id, calendar_id, '' FROM calendar_sync_calendarevent
     WHERE calendar_id = ANY(%(calendars)s::uuid[]) AND cut = '' AND removed_at IS NULL AND problem = ''
       AND recurrence IS NOT NULL AND (expanded_until < %(end)s OR expanded_from > %(begin)s)
       AND (series_ends_at IS NULL OR series_ends_at > %(begin)s) AND starts_at < %(end)s
     ORDER BY id LIMIT %(limit)s)
"""
"""Every page of a range asks it, and mostly there is nothing: hence one statement, written once."""


def beyond(
    calendars: Collection[uuid.UUID], begin: datetime, end: datetime, limit: int
) -> list[tuple[uuid.UUID, uuid.UUID, str]]:
    """The series of these calendars that may take place in a stretch of which not everything is stored: id, calendar
    and why it was cut off, "" for those that can be expanded. So many of either kind, by id."""
    with database.cursor() as cursor:
        cursor.execute(_NOT_ALL_STORED, {"calendars": list(calendars), "begin": begin, "end": end, "limit": limit})
        return list(cursor.fetchall())


def extend(limit: int = AT_ONCE) -> int:
    """Expand series whose stored future runs short; how many. Called by the schedule until nothing is left."""
    soon = timezone.now() + EXTEND_WHEN_LEFT
    with transaction.atomic():
        due = CalendarEvent.objects.readable().filter(recurrence__isnull=False, cut="", expanded_until__lt=soon)
        due = due.filter(Q(series_ends_at__isnull=True) | Q(series_ends_at__gt=timezone.now() - BEFORE))
        events = list(due.select_for_update(skip_locked=True).order_by("expanded_until")[:limit])
        refresh(events, Calendar.objects.in_bulk({event.calendar_id for event in events}))
    return len(events)
