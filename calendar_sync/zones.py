"""Time zones by whatever name an event gives them, and back to instants.

`named` maps IANA names, Windows names, vendors' paths and fixed offsets to a name `zone` knows; `rules_of` reads a
VTIMEZONE for what nobody else knows. Promised: no name and no definition raises or hangs; a time that the clocks
skipped means what it would have been by the offset before (RFC 5545 3.3.5), one that came twice means the first.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from calendar_sync.records import ZoneRules

MAX_NAME = 200
NO_OFFSET = timedelta(0)
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall-clock arithmetic
_IN_UTC = frozenset({"utc", "z", "gmt", "zulu", "uct", "universal", "greenwich"})
_OFFSET = re.compile(r"(?:UTC|GMT)?\s*([+-])(\d{1,2}):?(\d{2})?", re.IGNORECASE)
_FIXED = re.compile(r"UTC([+-])(\d{2}):(\d{2})")


def named(name: str) -> str:
    """The name `zone` knows this by; "" where nobody does. UTC under any of its names is "UTC"."""
    words = name.strip().strip('"').strip()
    if not words or len(words) > MAX_NAME:
        return ""
    return _named(words)


@lru_cache(maxsize=5000)
def _named(words: str) -> str:
    if words in _iana():
        return "UTC" if words.rpartition("/")[2].casefold() in _IN_UTC else words
    folded = words.casefold()
    if folded in _IN_UTC:
        return "UTC"
    if known := _by_other_names().get(folded):
        return known
    parts = words.strip("/").split("/")  # "/vendor.example/20260101_1/Europe/Berlin", "tzone://Vendor/Utc"
    for size in (3, 2, 1):
        if len(parts) > size and (inner := _named("/".join(parts[-size:]))):
            return inner
    return ""


def offset_named(name: str) -> str:
    """ "GMT+0200" and the like as a name `zone` knows; "" where it is no such thing. A guess: who writes so may well
    observe summer time, so a definition that comes along wins."""
    found = _OFFSET.fullmatch(name.strip())
    if not found:
        return ""
    sign, hours, minutes = found[1], int(found[2]), int(found[3] or 0)
    return f"UTC{sign}{hours:02}:{minutes:02}" if hours < 24 and minutes < 60 else ""


@cache
def _iana() -> frozenset[str]:
    """Without the files that are no zones of anybody."""
    return frozenset(available_timezones() - {"localtime", "Factory", "posixrules"})


@cache
def _by_other_names() -> dict[str, str]:
    """Windows' names, and IANA's in any case; case folded."""
    own = {name.casefold(): name for name in _iana()}
    return {**own, **{name.casefold(): iana for name, iana in WINDOWS_TO_OLSON.items() if iana in _iana()}}


class DefinedZone(tzinfo):
    """A zone by the definition that came with an event."""

    def __init__(self, name: str, rules: ZoneRules) -> None:
        self.name = name
        self._starts = [start for start, _ in rules]
        self._offsets = [timedelta(seconds=offset) for _, offset in rules]
        befores = [self._offsets[0], *self._offsets[:-1]]
        pairs = list(zip(self._starts, befores, self._offsets, strict=True))
        self._changes = (
            [EPOCH + timedelta(seconds=start) + max(before, after) for start, before, after in pairs],
            [EPOCH + timedelta(seconds=start) + min(before, after) for start, before, after in pairs],
        )

    def utcoffset(self, moment: datetime | None) -> timedelta:
        """By the wall clock, `fold` saying which of two."""
        if moment is None:
            return self._offsets[0]
        passed = bisect_right(self._changes[moment.fold], moment.replace(tzinfo=None, fold=0))
        return self._offsets[max(0, passed - 1)]

    def dst(self, moment: datetime | None) -> timedelta:
        """Not told apart: nothing here asks."""
        return NO_OFFSET

    def tzname(self, moment: datetime | None) -> str:
        """The author's word."""
        return self.name

    def fromutc(self, moment: datetime) -> datetime:
        """From an instant that carries this zone."""
        seconds = (moment.replace(tzinfo=None) - EPOCH).total_seconds()
        at = max(0, bisect_right(self._starts, seconds) - 1)
        local = moment + self._offsets[at]
        back = self._offsets[at - 1] - self._offsets[at] if at else NO_OFFSET
        again = back > NO_OFFSET and seconds < self._starts[at] + back.total_seconds()
        return local.replace(fold=1) if again else local


@lru_cache(maxsize=2000)
def zone(name: str, rules: ZoneRules = ()) -> tzinfo:
    """The zone of a name that `named` or `offset_named` gave, or of a definition. UTC for what nobody knows."""
    if rules:
        return DefinedZone(name, rules)
    if fixed := _FIXED.fullmatch(name):
        delta = timedelta(hours=int(fixed[2]), minutes=int(fixed[3]))
        return timezone(-delta if fixed[1] == "-" else delta)
    return ZoneInfo(name) if name in _iana() else UTC


def instant(wall: datetime, where: tzinfo) -> datetime:
    """The instant of a wall-clock time. What the clocks skipped is read by the offset before it."""
    try:
        return wall.replace(tzinfo=where).astimezone(UTC)
    except OverflowError:  # within a day of the year 1 or 9999
        return wall.replace(tzinfo=UTC)


def wall(moment: datetime, where: tzinfo) -> datetime:
    """The wall-clock time of an instant."""
    try:
        return moment.astimezone(where).replace(tzinfo=None)
    except OverflowError:
        return moment.replace(tzinfo=None)
