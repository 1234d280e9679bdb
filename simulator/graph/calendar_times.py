"""When an event of Graph's takes place: its dateTimeTimeZone values, and the days of a patternedRecurrence.

Days are tried one after the other, so that a reader of the pattern finds here what it means and not another translation
of it. https://learn.microsoft.com/en-us/graph/api/resources/recurrencepattern
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
INDEXES = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1}
TYPES = {"daily", "weekly", "absoluteMonthly", "relativeMonthly", "absoluteYearly", "relativeYearly"}
WINDOWS = {
    "W. Europe Standard Time": "Europe/Berlin",
    "GMT Standard Time": "Europe/London",
    "Pacific Standard Time": "America/Los_Angeles",
    "Eastern Standard Time": "America/New_York",
    "Tokyo Standard Time": "Asia/Tokyo",
    "India Standard Time": "Asia/Kolkata",
    "tzone://Microsoft/Utc": "UTC",
    "tzone://Microsoft/Custom": "Etc/GMT-5",
}
LAST_YEAR = 2200
NAMES = available_timezones()
JsonObject = dict[str, Any]


def zone(name: str) -> ZoneInfo:
    """Of a Windows or IANA name; ValueError for any other."""
    known = WINDOWS.get(name, name)
    if known not in NAMES:
        raise ValueError(f"The time zone '{name}' is not valid.")
    return ZoneInfo(known)


def wall(moment: JsonObject) -> datetime:
    """The clock time of a dateTimeTimeZone."""
    return datetime.fromisoformat(str(moment["dateTime"]).removesuffix("Z").partition(".")[0])


def instant(moment: JsonObject) -> datetime:
    """In UTC."""
    return wall(moment).replace(tzinfo=zone(str(moment.get("timeZone") or "UTC"))).astimezone(UTC)


def shown(moment: datetime, where: str) -> JsonObject:
    """An instant as Graph writes it in a zone: seven decimals, no offset."""
    return {"dateTime": f"{moment.astimezone(zone(where)):%Y-%m-%dT%H:%M:%S}.0000000", "timeZone": where}


def check(recurrence: JsonObject) -> None:
    """ValueError where it is no patternedRecurrence."""
    pattern, range_ = recurrence["pattern"], recurrence["range"]
    if pattern.get("type") not in TYPES or int(pattern.get("interval", 0)) < 1:
        raise ValueError("The recurrence pattern is not valid.")
    if pattern["type"].startswith(("weekly", "relative")) and not pattern.get("daysOfWeek"):
        raise ValueError("The recurrence pattern needs daysOfWeek.")
    if range_.get("type") not in ("noEnd", "endDate", "numbered"):
        raise ValueError("The recurrence range is not valid.")
    if range_["type"] == "numbered" and int(range_.get("numberOfOccurrences", 0)) < 1:
        raise ValueError("A numbered range needs numberOfOccurrences.")
    date.fromisoformat(str(range_["startDate"]))


def days(recurrence: JsonObject, until: date) -> Iterator[date]:
    """The days of a series up to one, by the clock of the series."""
    pattern, range_ = recurrence["pattern"], recurrence["range"]
    first = date.fromisoformat(range_["startDate"])
    last = date.fromisoformat(range_["endDate"]) if range_["type"] == "endDate" else date(LAST_YEAR, 1, 1)
    left = int(range_["numberOfOccurrences"]) if range_["type"] == "numbered" else 1 << 30
    day = first
    while day <= min(last, until) and left:
        if day == first or _matches(pattern, first, day):
            left -= 1
            yield day
        day += timedelta(days=1)


def _matches(pattern: JsonObject, first: date, day: date) -> bool:
    kind, interval = pattern["type"], int(pattern.get("interval", 1))
    if kind == "daily":
        return (day - first).days % interval == 0
    if kind == "weekly":
        start = DAYS.index(str(pattern.get("firstDayOfWeek") or "sunday").lower())
        weeks = (_week_of(day, start) - _week_of(first, start)).days // 7
        return weeks % interval == 0 and DAYS[day.weekday()] in _names(pattern)
    if kind.endswith("Yearly"):
        in_turn = day.month == int(pattern["month"]) and (day.year - first.year) % interval == 0
    else:
        in_turn = ((day.year - first.year) * 12 + day.month - first.month) % interval == 0
    if kind.startswith("absolute"):
        return in_turn and day.day == min(int(pattern["dayOfMonth"]), calendar.monthrange(day.year, day.month)[1])
    return in_turn and day == _nth(pattern, day)


def _names(pattern: JsonObject) -> set[str]:
    return {str(name).lower() for name in pattern["daysOfWeek"]}


def _week_of(day: date, start: int) -> date:
    return day - timedelta(days=(day.weekday() - start) % 7)


def _nth(pattern: JsonObject, day: date) -> date | None:
    count = calendar.monthrange(day.year, day.month)[1]
    month = [date(day.year, day.month, number) for number in range(1, count + 1)]
    named = [one for one in month if DAYS[one.weekday()] in _names(pattern)]
    index = INDEXES[str(pattern.get("index") or "first")]
    return named[index - 1 if index > 0 else -1] if named else None
