"""Walking one RRULE: wall-clock starts in order, at a bounded cost.

A rule is walked period by period (a year, month, week, day, hour, minute or second times its interval) from the first
one that matters. Every day looked at and every time found is paid for from a `Budget`, so a rule that explodes, or one
that never comes true, ends with `Exhausted` and never with a hanging worker (reference reliability R15).
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta

from calendar_sync.rules import DAILY, HOURLY, MINUTELY, MONTHLY, WEEKLY, YEARLY, Rule

STEPS = 60_000
"""Days looked at and times found for one series at one asking: about a tenth of a second."""
UNITS = {HOURLY: timedelta(hours=1), MINUTELY: timedelta(minutes=1)}
SECOND = timedelta(seconds=1)


class Exhausted(Exception):
    """The budget is spent."""


class Budget:
    """What a series may still cost."""

    def __init__(self, steps: int = STEPS) -> None:
        self.left = steps

    def spend(self, steps: int = 1) -> None:
        """Exhausted where there is not that much left."""
        self.left -= steps
        if self.left < 0:
            raise Exhausted


def walk(rule: Rule, start: datetime, begin: datetime, end: datetime, budget: Budget) -> Iterator[datetime]:
    """The rule's starts from `begin` to `end` (both inclusive), in order, none before `start`. The start itself is the
    first, whether or not the rule names it, and COUNT counts it (RFC 5545 3.8.5.3). UNTIL is the caller's."""
    left = rule.count
    if left is not None:
        begin_at = start
        left -= 1
    else:
        begin_at = max(begin, start)
    if start >= begin:
        yield start
    if left == 0:
        return
    for moment in _moments(rule, start, begin_at, end, budget):
        if moment <= start:
            continue
        if moment > end:
            return
        budget.spend()
        if moment >= begin:
            yield moment
        if left is not None:
            left -= 1
            if left == 0:
                return


def _moments(rule: Rule, start: datetime, begin: datetime, end: datetime, budget: Budget) -> Iterator[datetime]:
    """In order; some may lie before `begin`."""
    if rule.frequency > DAILY:
        yield from _clock_moments(rule, start, begin, end, budget)
        return
    times = _times(rule, start)
    for days in _periods(rule, start, begin.date(), end.date(), budget):
        moments = [datetime.combine(day, clock) for day in days for clock in times]
        budget.spend(len(moments))
        yield from _positions(rule, moments)


def _positions(rule: Rule, moments: list[datetime]) -> Iterable[datetime]:
    """BYSETPOS: only these of a period's."""
    if not rule.by_position:
        return moments
    count = len(moments)
    wanted = {position - 1 if position > 0 else count + position for position in rule.by_position}
    return [moments[index] for index in sorted(wanted) if 0 <= index < count]


def _times(rule: Rule, start: datetime) -> list[time]:
    hours = sorted(rule.by_hour) or [start.hour]
    minutes = sorted(rule.by_minute) or [start.minute]
    seconds = sorted({min(59, second) for second in rule.by_second}) or [start.second]
    return [time(hour, minute, second) for hour in hours for minute in minutes for second in seconds]


# --- days ---------------------------------------------------------------------------------------------------------


def _periods(rule: Rule, start: datetime, begin: date, end: date, budget: Budget) -> Iterator[list[date]]:
    """The matching days of each period, from the one that holds `begin`, or the one before."""
    matches = _Days(rule, start)
    for days in _spans(rule, start.date(), begin, end):
        budget.spend(len(days))
        yield [day for day in days if matches(day)]


def _spans(rule: Rule, start: date, begin: date, end: date) -> Iterator[list[date]]:
    step = rule.interval
    if rule.frequency == YEARLY:
        first = start.year + max(0, (begin.year - 1 - start.year) // step) * step
        for year in range(first, min(end.year, date.max.year) + 1, step):
            yield [day for month in range(1, 13) if not rule.by_month or month in rule.by_month
                   for day in _month(year, month)]  # fmt: skip
    elif rule.frequency == MONTHLY:
        origin, last = start.year * 12 + start.month - 1, end.year * 12 + end.month - 1
        first = origin + max(0, (begin.year * 12 + begin.month - 2 - origin) // step) * step
        for number in range(first, last + 1, step):
            yield _month(number // 12, number % 12 + 1)
    else:
        length = 7 if rule.frequency == WEEKLY else 1
        origin = start.toordinal()
        if rule.frequency == WEEKLY:
            origin -= (start.weekday() - rule.week_start) % 7
        first = origin + max(0, (begin.toordinal() - length - origin) // (step * length)) * step * length
        for number in range(max(first, 1), end.toordinal() + 1, step * length):
            yield [date.fromordinal(day) for day in range(number, min(number + length, date.max.toordinal() + 1))]


def _month(year: int, month: int) -> list[date]:
    return [date(year, month, day) for day in range(1, calendar.monthrange(year, month)[1] + 1)]


class _Days:
    """Whether a day is one of the rule's. What the rule leaves open follows from the start."""

    def __init__(self, rule: Rule, start: datetime) -> None:
        self.rule = rule
        self.months = rule.by_month
        self.month_days = rule.by_month_day
        self.weekdays = frozenset(day for which, day in rule.by_day if which == 0 or rule.frequency > MONTHLY)
        self.counted = frozenset(day for day in rule.by_day if day[0] and rule.frequency <= MONTHLY)
        if rule.names_days:
            if rule.by_week and not (rule.by_day or rule.by_month_day or rule.by_year_day):
                self.weekdays = frozenset({start.weekday()})
        elif rule.frequency == WEEKLY:
            self.weekdays = frozenset({start.weekday()})
        elif rule.frequency in (MONTHLY, YEARLY):
            self.month_days = frozenset({start.day})
            if rule.frequency == YEARLY and not self.months:
                self.months = frozenset({start.month})

    def __call__(self, day: date) -> bool:
        return (
            (not self.months or day.month in self.months)
            and (not self.month_days or self._in_month(day))
            and (not (self.weekdays or self.counted) or day.weekday() in self.weekdays or self._counts(day))
            and (not self.rule.by_year_day or self._in_year(day))
            and (not self.rule.by_week or self._in_week(day))
        )

    def _in_month(self, day: date) -> bool:
        length = calendar.monthrange(day.year, day.month)[1]
        return day.day in self.month_days or day.day - length - 1 in self.month_days

    def _in_year(self, day: date) -> bool:
        number, length = day.timetuple().tm_yday, 366 if calendar.isleap(day.year) else 365
        return number in self.rule.by_year_day or number - length - 1 in self.rule.by_year_day

    def _counts(self, day: date) -> bool:
        """The first Monday, the last Friday: of the month, or of the year where no month is named."""
        if not self.counted:
            return False
        if self.rule.frequency == MONTHLY or self.months:
            number, length = day.day, calendar.monthrange(day.year, day.month)[1]
        else:
            number, length = day.timetuple().tm_yday, 366 if calendar.isleap(day.year) else 365
        from_start, from_end = (number - 1) // 7 + 1, -((length - number) // 7 + 1)
        weekday = day.weekday()
        return (from_start, weekday) in self.counted or (from_end, weekday) in self.counted

    def _in_week(self, day: date) -> bool:
        """Of the year most of the week lies in (ISO 8601, for any first day of the week)."""
        start = day - timedelta(days=(day.weekday() - self.rule.week_start) % 7)
        year = (start + timedelta(days=3)).year
        number = (start - _first_week(year, self.rule.week_start)).days // 7 + 1
        count = (_first_week(year + 1, self.rule.week_start) - _first_week(year, self.rule.week_start)).days // 7
        return number in self.rule.by_week or number - count - 1 in self.rule.by_week


def _first_week(year: int, week_start: int) -> date:
    fourth = date(year, 1, 4)
    return fourth - timedelta(days=(fourth.weekday() - week_start) % 7)


# --- hours, minutes, seconds --------------------------------------------------------------------------------------


def _clock_moments(rule: Rule, start: datetime, begin: datetime, end: datetime, budget: Budget) -> Iterator[datetime]:
    """Rules of hours and less. What the rule rules out is jumped over: a whole day, hour or minute at a step."""
    unit = UNITS.get(rule.frequency, SECOND)
    step = unit * rule.interval
    first = start - timedelta(minutes=start.minute, seconds=start.second) % unit
    if begin > first:
        first += max(0, (begin - first) // step - 1) * step
    matches, moment = _Days(rule, start), first
    while moment <= end:
        budget.spend()
        jump = _jump(rule, matches, moment)
        if jump is None:
            found = _positions(rule, _within(rule, start, moment))
            yield from found
            jump = step
        try:
            moment += max(step, -(-jump // step) * step)
        except OverflowError:
            return


def _jump(rule: Rule, matches: _Days, moment: datetime) -> timedelta | None:
    """How far it is to where the rule may hold again; None where it may hold now."""
    if not matches(moment.date()):
        return timedelta(days=1) - timedelta(hours=moment.hour, minutes=moment.minute, seconds=moment.second)
    if rule.by_hour and moment.hour not in rule.by_hour:
        return timedelta(hours=1) - timedelta(minutes=moment.minute, seconds=moment.second)
    if rule.frequency > HOURLY and rule.by_minute and moment.minute not in rule.by_minute:
        return timedelta(minutes=1) - timedelta(seconds=moment.second)
    if rule.frequency > MINUTELY and rule.by_second and moment.second not in rule.by_second:
        return SECOND
    return None


def _within(rule: Rule, start: datetime, moment: datetime) -> list[datetime]:
    """The times of this hour, minute or second."""
    minutes = [moment.minute]
    if rule.frequency == HOURLY:
        minutes = sorted(rule.by_minute) or [start.minute]
    seconds = [moment.second]
    if rule.frequency <= MINUTELY:
        seconds = sorted({min(59, second) for second in rule.by_second}) or [start.second]
    return [moment.replace(minute=minute, second=second) for minute in minutes for second in seconds]
