"""The occurrences of a series in a stretch of time: rules, single times added and left out, changed occurrences.

DST-true in the series' own zone; bounded in cost and in number, and what is cut off says so. Pure: no database.
Called by the writer (which materialises a horizon) and by readers (beyond it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from heapq import merge
from typing import Generic, TypeVar

from calendar_sync import rules, zones
from calendar_sync.records import CANCELLED, Recurrence, Span, key_of
from calendar_sync.stepping import Budget, Exhausted, walk

MOST = 2000
"""Occurrences of one series at one asking."""
MARGIN = timedelta(hours=3)
"""What clocks that are put back or forward may move an occurrence over the edge of the stretch asked for."""
LATEST = datetime(9990, 1, 1, tzinfo=UTC)
EARLIEST = datetime(10, 1, 1, tzinfo=UTC)
EXPLODES = "The series has more occurrences than are shown: it is cut off after {count}."
TOO_FAR = "The series could not be followed to its end: its rule takes too long to work out."
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Occurrence(Generic[T]):
    """One time of an event. `start` and `end` are instants; of days, midnights in UTC."""

    key: str
    start: datetime
    end: datetime
    source: T
    """Whose title, place and people hold: the series', or a changed occurrence's."""


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """One occurrence that differs from its series, or all from it on (`following`)."""

    key: str
    span: Span
    source: T
    cancelled: bool = False
    following: bool = False


@dataclass(frozen=True, slots=True)
class Expansion(Generic[T]):
    """What `expand` found, in order. `cut` is "" or says in a sentence why it is not all."""

    occurrences: tuple[Occurrence[T], ...]
    cut: str = ""


@dataclass(frozen=True, slots=True)
class _Base:
    """An occurrence before it is changed."""

    wall: datetime
    start: datetime
    duration: timedelta | None = None
    """Its own (RDATE with a period)."""


def zone_of(span: Span, floating: tzinfo = UTC) -> tzinfo:
    """Where the span's clock hangs. Days are counted in UTC; `floating` is for times of no zone."""
    if span.all_day:
        return UTC
    return zones.zone(span.zone, span.rules) if span.zone else floating


def ends(span: Span, wall: datetime, start: datetime, where: tzinfo, duration: timedelta | None = None) -> datetime:
    """The end of an occurrence that starts then. An event with an end lasts equally long on every day; one with a
    duration ends by the clock (RFC 5545 3.8.5.3)."""
    length = max(timedelta(0), span.duration if duration is None else duration)
    try:
        if span.nominal and not span.all_day:
            days = timedelta(days=length.days)
            return max(start, zones.instant(wall + days, where) + (length - days))
        return start + length
    except OverflowError:
        return start


def key(span: Span, wall: datetime, start: datetime) -> str:
    """What the occurrence at this time is called."""
    if span.all_day:
        return key_of(wall, all_day=True)
    return key_of(wall if span.floating else start)


def single(span: Span, source: T, floating: tzinfo = UTC) -> Occurrence[T]:
    """An event that does not recur."""
    where = zone_of(span, floating)
    start = zones.instant(span.start, where)
    return Occurrence("", start, ends(span, span.start, start, where), source)


def check(recurrence: Recurrence) -> None:
    """rules.BadRule where a rule cannot be followed."""
    for text in (*recurrence.rules, *recurrence.excluded_rules):
        rules.parse(text)


def expand(
    span: Span,
    recurrence: Recurrence,
    source: T,
    begin: datetime,
    end: datetime,
    *,
    changes: Sequence[Change[T]] = (),
    floating: tzinfo = UTC,
    most: int = MOST,
) -> Expansion[T]:
    """What overlaps the half-open stretch from `begin` to `end`, by start. rules.BadRule where a rule cannot be
    followed. An event without length counts at its moment."""
    series = _Series(span, recurrence, floating)
    begin, end = max(begin, EARLIEST), min(end, LATEST)
    single_changes = {change.key: change for change in changes if not change.following}
    shifts = sorted(_shifts(series, changes), key=lambda shift: shift.since)
    reach = max((abs(shift.by) + shift.length for shift in shifts), default=timedelta(0))

    def by_rule() -> Iterator[Occurrence[T]]:
        """Those that no change stands for."""
        for base in series.bases(begin - reach, end + reach):
            if (name := key(span, base.wall, base.start)) not in single_changes:
                occurrence = _shifted(series, base, name, shifts, source)
                if occurrence is not None and overlaps(occurrence, begin, end):
                    yield occurrence

    found, cut = _taken(by_rule(), most)
    changed = (_changed(change, floating) for change in single_changes.values() if not change.cancelled)
    found += [occurrence for occurrence in changed if overlaps(occurrence, begin, end)]
    return Expansion(tuple(sorted(found, key=lambda one: (one.start, one.key))), cut)


def _taken(occurrences: Iterator[Occurrence[T]], most: int) -> tuple[list[Occurrence[T]], str]:
    """The first `most`; and why there are no more, where that is not because they ended."""
    found: list[Occurrence[T]] = []
    try:
        for occurrence in occurrences:
            found.append(occurrence)
            if len(found) >= most:
                return found, EXPLODES.format(count=most)
    except Exhausted:
        return found, TOO_FAR
    return found, ""


def overlaps(occurrence: Occurrence[T], begin: datetime, end: datetime) -> bool:
    """Whether it is in the half-open stretch."""
    return occurrence.start < end and (occurrence.end > begin or occurrence.start >= begin)


def last_end(span: Span, recurrence: Recurrence, floating: tzinfo = UTC) -> datetime | None:
    """When the series surely is over; None where it is not known to end."""
    series = _Series(span, recurrence, floating)
    latest = [series.single.end]
    for rule in series.rules:
        if rule.until is not None:
            latest.append(min(rule.until.replace(tzinfo=UTC), LATEST))
            continue
        if rule.count is None:
            return None
        try:
            *_, wall = walk(rule, span.start, span.start, LATEST.replace(tzinfo=None), series.budget)
        except Exhausted:
            return None
        latest.append(wall.replace(tzinfo=UTC))
    longest = max((length for _, length in recurrence.added if length is not None), default=timedelta(0))
    latest += [moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment, _ in recurrence.added]
    try:
        return min(max(latest) + max(span.duration, longest) + timedelta(days=2), LATEST)
    except OverflowError:
        return LATEST


class _Series:
    """A series before any occurrence is changed."""

    def __init__(self, span: Span, recurrence: Recurrence, floating: tzinfo) -> None:
        self.span = span
        self.recurrence = recurrence
        self.where = zone_of(span, floating)
        self.rules = [rules.parse(text) for text in recurrence.rules]
        self.excluded = [rules.parse(text) for text in recurrence.excluded_rules]
        self.single = single(span, None, floating)
        self.budget = Budget()

    def bases(self, begin: datetime, end: datetime) -> Iterator[_Base]:
        """Every occurrence that may overlap, by start, each once."""
        own = max((length for _, length in self.recurrence.added if length is not None), default=timedelta(0))
        first = zones.wall(_moved(begin, -(max(self.span.duration, own) + MARGIN)), self.where)
        last = zones.wall(_moved(end, MARGIN), self.where)
        left_out = {start for rule in self.excluded for start in self._starts(rule, first, last)}
        seen: set[datetime] = set()
        for base in merge(*self._streams(first, last), key=lambda one: one.start):
            if base.start in seen or base.start in left_out or self._is_left_out(base):
                continue
            seen.add(base.start)
            yield base

    def _streams(self, first: datetime, last: datetime) -> Iterator[Iterator[_Base]]:
        for rule in self.rules:
            yield self._bases_of(rule, first, last)
        added = [_Base(*self._both(moment), length) for moment, length in self.recurrence.added]
        if not self.rules:
            added.append(_Base(self.span.start, self.single.start))
        yield iter(sorted((base for base in added if first <= base.wall <= last), key=lambda base: base.start))

    def _bases_of(self, rule: rules.Rule, first: datetime, last: datetime) -> Iterator[_Base]:
        for wall in walk(rule, self.span.start, first, last, self.budget):
            start = zones.instant(wall, self.where)
            if self._is_over(rule, wall, start):
                return
            yield _Base(wall, start)

    def _starts(self, rule: rules.Rule, first: datetime, last: datetime) -> Iterator[datetime]:
        return (base.start for base in self._bases_of(rule, first, last))

    def _is_over(self, rule: rules.Rule, wall: datetime, start: datetime) -> bool:
        if rule.until is None or wall == self.span.start:  # the start is always the first
            return False
        by_instant = rule.until_is_utc and not self.span.all_day and not self.span.floating
        return start.replace(tzinfo=None) > rule.until if by_instant else wall > rule.until

    def _both(self, moment: datetime) -> tuple[datetime, datetime]:
        """Wall time and instant of a time that was added."""
        if moment.tzinfo is None:
            return moment, zones.instant(moment, self.where)
        return zones.wall(moment, self.where), moment

    def _is_left_out(self, base: _Base) -> bool:
        gone = self.recurrence.left_out
        day = base.wall.replace(hour=0, minute=0, second=0, microsecond=0)
        return base.start in gone or base.wall in gone or day in self.recurrence.left_out_days


def _moved(moment: datetime, by: timedelta) -> datetime:
    """Within the years that have a number."""
    try:
        return moment + by
    except OverflowError:
        return EARLIEST if by < timedelta(0) else LATEST


# --- changed occurrences ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Shift(Generic[T]):
    """All occurrences from `since` on are later by `by` and are like `change`."""

    since: datetime
    by: timedelta
    length: timedelta
    change: Change[T]


def _shifts(series: _Series, changes: Sequence[Change[T]]) -> Iterator[_Shift[T]]:
    for change in changes:
        if change.following and (original := moment_of(change.key)) is not None:
            wall = zones.wall(original, series.where) if original.tzinfo else original
            since = original if original.tzinfo else zones.instant(original, series.where)
            yield _Shift(since, change.span.start - wall, change.span.duration, change)


def _shifted(series: _Series, base: _Base, name: str, shifts: Sequence[_Shift[T]], source: T) -> Occurrence[T] | None:
    """None where the series ended with a cancelled rest."""
    span, wall, start, origin = series.span, base.wall, base.start, source
    passed = [shift for shift in shifts if shift.since <= base.start]
    if passed:
        shift = passed[-1]
        if shift.change.cancelled:
            return None
        span = replace(shift.change.span, start=wall + shift.by)
        wall, origin = span.start, shift.change.source
        start = zones.instant(wall, series.where)
        return Occurrence(name, start, ends(span, wall, start, series.where), origin)
    return Occurrence(name, start, ends(span, wall, start, series.where, base.duration), origin)


def _changed(change: Change[T], floating: tzinfo) -> Occurrence[T]:
    return replace(single(change.span, change.source, floating), key=change.key)


def moment_of(key: str) -> datetime | None:
    """The original start a key names: an instant, or without a zone where it floats or is a day. None where it is no
    key."""
    for pattern, parse in _KEYS.items():
        if len(key) == pattern:
            try:
                return parse(key)
            except ValueError:
                return None
    return None


_KEYS: dict[int, Callable[[str], datetime]] = {
    8: lambda key: datetime.strptime(key, "%Y%m%d"),  # noqa: DTZ007 - a day
    15: lambda key: datetime.strptime(key, "%Y%m%dT%H%M%S"),  # noqa: DTZ007 - floating
    16: lambda key: datetime.strptime(key, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC),
}


def is_cancelled(status: str) -> bool:
    """Whether a changed occurrence is one that does not take place."""
    return status == CANCELLED
