"""RRULE, read strictly: a rule that means nothing is refused in words instead of being guessed at or looping for ever.

Used by `recurrence`, which walks a rule, and by whoever takes one from a user. RFC 5545 3.3.10.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time

YEARLY, MONTHLY, WEEKLY, DAILY, HOURLY, MINUTELY, SECONDLY = range(7)
FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
MAX_RULE = 2000
MAX_INTERVAL = 100_000
MAX_COUNT = 1_000_000_000

_BY_DAY = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_UNTIL = re.compile(r"(\d{4})(\d{2})(\d{2})(?:T(\d{2})(\d{2})(\d{2})(Z)?)?")
_LISTS = {
    "BYMONTH": ("by_month", 1, 12, False),
    "BYWEEKNO": ("by_week", 1, 53, True),
    "BYYEARDAY": ("by_year_day", 1, 366, True),
    "BYMONTHDAY": ("by_month_day", 1, 31, True),
    "BYHOUR": ("by_hour", 0, 23, False),
    "BYMINUTE": ("by_minute", 0, 59, False),
    "BYSECOND": ("by_second", 0, 60, False),
    "BYSETPOS": ("by_position", 1, 366, True),
}
"""Part → field, least and greatest value, whether it may count from the end."""


class BadRule(ValueError):
    """A rule that cannot be followed; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One RRULE. Sets are empty where the part is missing."""

    frequency: int
    interval: int = 1
    count: int | None = None
    until: datetime | None = None
    """Without zone; the last moment of its day where a date was given."""
    until_is_utc: bool = False
    week_start: int = 0
    by_month: frozenset[int] = frozenset()
    by_week: frozenset[int] = frozenset()
    by_year_day: frozenset[int] = frozenset()
    by_month_day: frozenset[int] = frozenset()
    by_day: frozenset[tuple[int, int]] = frozenset()
    """(which one, weekday); which one is 0 for every."""
    by_hour: frozenset[int] = frozenset()
    by_minute: frozenset[int] = frozenset()
    by_second: frozenset[int] = frozenset()
    by_position: frozenset[int] = frozenset()

    @property
    def names_days(self) -> bool:
        """Whether the rule itself says which days, so that they do not follow from the start."""
        return bool(self.by_week or self.by_year_day or self.by_month_day or self.by_day)


def parse(text: str) -> Rule:
    """The rule of an RRULE's value; BadRule says what is wrong with it."""
    if len(text) > MAX_RULE or not re.fullmatch(r"[!-~]*", text.strip()):
        raise BadRule("The rule is too long, or holds other than ASCII characters.")
    parts = _parts(text.strip().removeprefix("RRULE:"))
    frequency = parts.pop("FREQ", "")
    if frequency not in FREQUENCIES:
        raise BadRule("A rule needs FREQ, one of " + ", ".join(FREQUENCIES) + ".")
    values: dict[str, object] = {"frequency": FREQUENCIES.index(frequency)}
    for name, value in parts.items():
        values |= _part(name, value)
    return Rule(**values)  # type: ignore[arg-type]


def _parts(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in filter(None, text.upper().split(";")):
        name, equals, value = part.partition("=")
        if not equals or not value:
            raise BadRule(f"{part[:40]!r} is not NAME=value.")
        if name in parts:
            raise BadRule(f"{name[:40]} stands in the rule twice.")
        parts[name.strip()] = value.strip()
    return parts


def _part(name: str, value: str) -> dict[str, object]:
    if name == "INTERVAL":
        return {"interval": _number(name, value, 1, MAX_INTERVAL)}
    if name == "COUNT":
        return {"count": _number(name, value, 1, MAX_COUNT)}
    if name == "UNTIL":
        return _until(value)
    if name == "WKST":
        if value not in WEEKDAYS:
            raise BadRule("WKST has to be a weekday such as MO.")
        return {"week_start": WEEKDAYS.index(value)}
    if name == "BYDAY":
        return {"by_day": frozenset(_by_day(item) for item in value.split(","))}
    if name in _LISTS:
        field, least, most, negative = _LISTS[name]
        return {field: frozenset(_number(name, item, least, most, negative=negative) for item in value.split(","))}
    if name.startswith("X-"):
        return {}
    raise BadRule(f"{name[:40]} is not a part of a rule.")


def _number(name: str, text: str, least: int, most: int, *, negative: bool = False) -> int:
    number = int(text) if re.fullmatch(r"[+-]?\d{1,12}", text.strip()) else None
    if number is None or not least <= (abs(number) if negative else number) <= most:
        raise BadRule(f"{name} has to be from {least} to {most}" + (", or the same below zero." if negative else "."))
    return number


def _by_day(text: str) -> tuple[int, int]:
    found = _BY_DAY.fullmatch(text.strip())
    if not found or abs(int(found[1] or 1)) > 53 or int(found[1] or 1) == 0:
        raise BadRule(f"BYDAY cannot be {text[:20]!r}.")
    return int(found[1] or 0), WEEKDAYS.index(found[2])


def _until(text: str) -> dict[str, object]:
    found = _UNTIL.fullmatch(text)
    try:
        if not found:
            raise ValueError
        day = date(int(found[1]), int(found[2]), int(found[3]))
        clock = time(int(found[4]), int(found[5]), min(59, int(found[6]))) if found[4] else time(23, 59, 59)
    except ValueError:
        raise BadRule("UNTIL has to be a date or a time such as 20260131T220000Z.") from None
    return {"until": datetime.combine(day, clock), "until_is_utc": bool(found[7])}
