"""Working hours: "MO-FR 09:00-17:00, SA 10:00-12:00" read strictly, and as instants of a zone.

A time is reached at the first moment at which the zone's clock shows it or a later one. So a working day is as long as
its clock makes it (23 or 25 hours where it is the whole of a day on which the clocks change), and hours never overlap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from itertools import pairwise

from calendar_sync import zones
from calendar_sync.intervals import Stretch
from calendar_sync.rules import WEEKDAYS

DEFAULT = "MO-FR 09:00-17:00"
MAX_TEXT = 1000
_PART = re.compile(r"([A-Z]{2})(?:-([A-Z]{2}))? (\d{2}):(\d{2})-(\d{2}):(\d{2})")
_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)


class BadHours(ValueError):
    """Hours that mean nothing; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """Of each weekday, Monday first, the minutes since midnight from which and until which work goes on; in order."""

    days: tuple[tuple[tuple[int, int], ...], ...]


def parse(text: str) -> WorkingHours:
    """BadHours says what is wrong."""
    days: list[list[tuple[int, int]]] = [[] for _ in WEEKDAYS]
    for part in " ".join(text.upper().split()).split(","):
        weekdays, begin, end = _part(part.strip())
        for weekday in weekdays:
            days[weekday].append((begin, end))
    for weekday, hours in enumerate(days):
        hours.sort()
        if any(before[1] > after[0] for before, after in pairwise(hours)):
            raise BadHours(f"Hours of {WEEKDAYS[weekday]} overlap.")
    return WorkingHours(tuple(map(tuple, days)))


def _part(text: str) -> tuple[list[int], int, int]:
    found = _PART.fullmatch(text)
    if not found or found[1] not in WEEKDAYS or (found[2] or found[1]) not in WEEKDAYS:
        raise BadHours(f"{text[:40]!r} is not like 'MO-FR 09:00-17:00'.")
    first, last = WEEKDAYS.index(found[1]), WEEKDAYS.index(found[2] or found[1])
    begin, end = int(found[3]) * 60 + int(found[4]), int(found[5]) * 60 + int(found[6])
    if max(int(found[4]), int(found[6])) > 59 or end > 24 * 60 or begin >= end:
        raise BadHours(f"{text[:40]!r} has to begin before it ends, within one day (00:00 to 24:00).")
    count = (last - first) % 7 + 1
    return [(first + number) % 7 for number in range(count)], begin, end


def stretches(hours: WorkingHours, zone: tzinfo, begin: datetime, end: datetime) -> Iterator[Stretch]:
    """The hours that touch a stretch, whole and in order."""
    day, last = zones.wall(begin, zone).date() - _DAY, zones.wall(end, zone).date() + _DAY
    while day <= last:
        for first, until in hours.days[day.weekday()]:
            opened, closed = reached(day, first, zone), reached(day, until, zone)
            if opened < end and closed > begin and opened < closed:
                yield opened, closed
        day += _DAY


def reached(day: date, minutes: int, zone: tzinfo) -> datetime:
    """When the clock first shows so many minutes after midnight of a day, or more."""
    wall = datetime.combine(day, time()) + timedelta(minutes=minutes)
    high = zones.instant(wall, zone)
    skipped = zones.wall(high, zone) - wall
    low = high - max(skipped, timedelta(0))  # the clocks jumped over it, between these two
    while high - low > _MINUTE:
        middle = low + (high - low) // _MINUTE // 2 * _MINUTE
        low, high = (low, middle) if zones.wall(middle, zone) >= wall else (middle, high)
    return high
