"""What takes place in a stretch of time, and single events: the reading side of one's own calendars.

A page of a range is one statement over the stored occurrences, together with those of series that have to be expanded
for it because the stretch lies outside their horizon. The same meeting in several of one's calendars is shown once.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from django.db import connection as database

from calendar_sync import recurrence
from calendar_sync.models import Calendar, CalendarEvent, Occurrence
from calendar_sync.recurrence import moment_of
from calendar_sync.services import occurrences
from calendar_sync.services.rows import Shown, id_of, read, row_of
from core.api.pagination import Page, PageQuery, decode_cursor, encode_cursor
from core.errors import InvalidInput, NotFound
from workspaces.scoping import fetch

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

MAX_RANGE = timedelta(days=366)
EXPANDED_AT_ONCE = 2000
"""Series that one request expands; a stretch far outside the horizon that wants more is told as incomplete."""
AROUND = timedelta(days=400)
"""How far from its original start a moved occurrence is looked for."""
TOO_MANY = "This stretch is far from today, and there are more series than are worked out for it at once."


@dataclass(frozen=True, slots=True)
class Range:
    """What is asked for, checked."""

    start: datetime
    end: datetime
    zone: tzinfo = UTC
    """Where days begin: all-day events are compared as days there."""
    calendar_id: str = ""
    words: str = ""
    paging: PageQuery = field(default_factory=PageQuery)


@dataclass(frozen=True, slots=True)
class Happening:
    """One occurrence or single event, whole: to be shown, written or exported."""

    event: CalendarEvent
    """The series, or the single event."""
    source: CalendarEvent
    """Whose title, place and people hold."""
    key: str
    start: datetime
    end: datetime

    @property
    def id(self) -> str:
        """See `id_of`."""
        return id_of(self.event.pk, self.key)

    def shown(self) -> Shown:
        """What answers show of it."""
        source = row_of(self.source)
        event = source if self.event is self.source else row_of(self.event)
        return Shown(event, source, self.key, self.start, self.end)


@dataclass(frozen=True, slots=True)
class Cut:
    """A series of which not everything is shown."""

    event_id: str
    reason: str
    calendar: uuid.UUID


@dataclass(frozen=True, slots=True)
class Found:
    """A page, and what is missing from it."""

    page: Page[Shown]
    incomplete: Sequence[Cut]


_ROWS = """
    SELECT event_id, source_id, calendar_id, key, meeting, starts_at, ends_at, all_day
    FROM calendar_sync_occurrence
    WHERE calendar_id = ANY(%(calendars)s::uuid[]) AND event_id <> ALL(%(apart)s::uuid[])
"""
_HITS = f"""
    WITH hit AS (
        {_ROWS} AND NOT is_long AND starts_at < %(last)s AND starts_at >= %(look_back)s
        UNION ALL
        {_ROWS} AND is_long AND ends_at > %(first)s AND starts_at < %(last)s
        UNION ALL
        SELECT * FROM unnest(
            %(events)s::uuid[], %(sources)s::uuid[], %(homes)s::uuid[], %(keys)s::text[], %(meetings)s::uuid[],
            %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(days)s::boolean[]
        )
    ), shown AS (
        SELECT DISTINCT ON (hit.starts_at, hit.meeting)
            hit.event_id, hit.source_id, hit.key, hit.meeting, hit.starts_at, hit.ends_at
        FROM hit {{about}}
        WHERE hit.starts_at < CASE WHEN hit.all_day THEN %(day_end)s ELSE %(end)s END
          AND (hit.ends_at > CASE WHEN hit.all_day THEN %(day_start)s ELSE %(start)s END
               OR hit.starts_at >= CASE WHEN hit.all_day THEN %(day_start)s ELSE %(start)s END)
        ORDER BY hit.starts_at, hit.meeting, array_position(%(calendars)s::uuid[], hit.calendar_id), hit.event_id
    )
"""  # noqa: S608 - constants of this module
_ABOUT = """
    JOIN calendar_sync_calendarevent AS source ON source.id = hit.source_id
     AND concat_ws(' ', source.title, source.location, source.description, source.organizer_name,
                   source.organizer_email) ILIKE ALL(%(words)s::text[])
"""
"""Only where words are searched for: what takes place is found without looking at what it is."""
_PAGE = "{hits} SELECT *, count(*) OVER () FROM shown ORDER BY starts_at, meeting LIMIT %(limit)s OFFSET %(offset)s"
_COUNT = "{hits} SELECT count(*) FROM shown"


def in_range(*, user: User, workspace: Workspace, asked: Range) -> Found:
    """A page of what takes place, by start. NotFound for a calendar that is not the caller's."""
    calendars = Calendar.objects.of(user=user, workspace=workspace)
    if asked.calendar_id:
        calendars = calendars.filter(pk=calendars.find(asked.calendar_id).pk)
    shown = {calendar.pk: calendar for calendar in calendars.shown().order_by("-is_primary", "created_at", "id")}
    values, incomplete = _values(asked, shown)
    page = _page(asked.paging, values)
    return Found(page, incomplete)


def _values(asked: Range, calendars: dict[uuid.UUID, Calendar]) -> tuple[dict[str, Any], list[Cut]]:
    """The parameters of the statement; series that are not stored that far are expanded."""
    day_start, day_end = days_of(asked.start, asked.end, asked.zone)
    first, last = min(asked.start, day_start), max(asked.end, day_end)
    expanded, apart, incomplete = expanded_for(calendars, first, last)
    names = ("events", "sources", "homes", "keys", "meetings", "starts", "ends", "days")
    columns = list(zip(*expanded, strict=True)) or [()] * len(names)
    return {
        "calendars": list(calendars),
        "apart": apart,
        "start": asked.start,
        "end": asked.end,
        "day_start": day_start,
        "day_end": day_end,
        "first": first,
        "last": last,
        "look_back": first - occurrences.LONG,
        "words": [f"%{_escaped(word)}%" for word in asked.words.split()[:20]],
        **{name: list(column) for name, column in zip(names, columns, strict=True)},
    }, incomplete


def days_of(start: datetime, end: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """The days of a stretch in a zone, as midnights of UTC: the form all-day events are stored in."""
    try:
        begin, end = (moment.astimezone(zone).replace(tzinfo=UTC) for moment in (start, end))
        first = begin.replace(hour=0, minute=0, second=0, microsecond=0)
        last = end.replace(hour=0, minute=0, second=0, microsecond=0)
        return first, last if last == end else last + timedelta(days=1)
    except OverflowError:
        return start, end


def expanded_for(
    calendars: dict[uuid.UUID, Calendar], first: datetime, last: datetime
) -> tuple[list[tuple[Any, ...]], list[uuid.UUID], list[Cut]]:
    """Rows of series whose stored horizon does not reach so far; those series; and what is missing."""
    found = occurrences.beyond(calendars, first, last, EXPANDED_AT_ONCE + 1)
    incomplete = [Cut(str(pk), reason, home) for pk, home, reason in found if reason][:EXPANDED_AT_ONCE]
    open_ends = [(pk, home) for pk, home, reason in found if not reason]
    if len(open_ends) > EXPANDED_AT_ONCE:
        left_out, home = open_ends.pop()
        incomplete.append(Cut(str(left_out), TOO_MANY, home))
    return _expanded([pk for pk, _ in open_ends], calendars, first, last, incomplete)


def _expanded(
    ids: list[uuid.UUID], calendars: dict[uuid.UUID, Calendar], first: datetime, last: datetime, incomplete: list[Cut]
) -> tuple[list[tuple[Any, ...]], list[uuid.UUID], list[Cut]]:
    """As `expanded_for`, of these series."""
    series = list(CalendarEvent.objects.filter(pk__in=ids).order_by("id")) if ids else []
    changes = occurrences.changes_of(series)
    rows: list[tuple[Any, ...]] = []
    for event in series:
        found = occurrences.expand(event, changes.get(event.pk, ()), calendars[event.calendar_id], first, last)
        if found.cut:
            incomplete.append(Cut(str(event.pk), found.cut, event.calendar_id))
        rows += [
            (event.pk, one.source.pk, event.calendar_id, one.key, event.meeting, one.start, one.end, one.source.all_day)
            for one in found.occurrences
        ]
    return rows, [event.pk for event in series], incomplete


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _page(paging: PageQuery, values: dict[str, Any]) -> Page[Shown]:
    number = _number(paging)
    place = {"limit": paging.limit, "offset": (number - 1) * paging.limit}
    with database.cursor() as cursor:
        cursor.execute(_sql(_PAGE, values), {**values, **place})
        rows = cursor.fetchall()
        if not rows and number > 1:
            cursor.execute(_sql(_COUNT, values), values)
            return Page([], cursor.fetchone()[0])
    total = rows[0][-1] if rows else 0
    events = read({pk for row in rows for pk in row[:2]})
    shown = [
        Shown(events[event_id], events[source_id], key, start, end)
        for event_id, source_id, key, _, start, end, _ in rows
        if event_id in events and source_id in events
    ]
    more = number * paging.limit < total
    return Page(shown, total, encode_cursor([number + 1]) if more else None)


def _sql(question: str, values: dict[str, Any]) -> str:
    return question.format(hits=_HITS.format(about=_ABOUT if values["words"] else ""))


def _number(paging: PageQuery) -> int:
    """Of the page; a cursor names the next."""
    if not paging.cursor:
        return paging.page
    [number, *rest] = decode_cursor(paging.cursor)
    if rest or type(number) is not int or not 1 <= number <= 1_000_000:
        raise InvalidInput(fields={"cursor": ["This cursor is not one of ours."]})
    return number


# --- one event ----------------------------------------------------------------------------------------------------


def find(*, user: User, workspace: Workspace, event_id: str) -> Happening:
    """A single event, a series, or one occurrence of a series, by its id. NotFound for a foreign, malformed or missing
    id alike, and for an occurrence that does not take place."""
    own_id, _, key = event_id.partition("_")
    mine = CalendarEvent.objects.of(user=user, workspace=workspace).readable().filter(series__isnull=True)
    event = fetch(mine.select_related("calendar").prefetch_related("attendees"), pk=own_id)
    if not key:
        return Happening(event, event, "", event.starts_at, event.ends_at)
    if (moment := moment_of(key)) is None or not event.recurrence:
        raise NotFound
    stored = Occurrence.objects.filter(event=event, key=key).select_related("source").first()
    if stored is not None:
        return Happening(event, stored.source, key, stored.starts_at, stored.ends_at)
    return _expanded_one(event, key, moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _expanded_one(event: CalendarEvent, key: str, moment: datetime) -> Happening:
    changes = occurrences.changes_of([event]).get(event.pk, [])
    wide = AROUND if changes else timedelta(days=2)
    begin, end = max(moment, recurrence.EARLIEST + wide) - wide, min(moment, recurrence.LATEST - wide) + wide
    found = occurrences.expand(event, changes, event.calendar, begin, end)
    for one in found.occurrences:
        if one.key == key:
            return Happening(event, one.source, key, one.start, one.end)
    raise NotFound
