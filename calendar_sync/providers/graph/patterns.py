"""Recurrence as Graph says it (patternedRecurrence) and as iCalendar does (RRULE), both ways.

https://learn.microsoft.com/en-us/graph/api/resources/patternedrecurrence: a pattern and a range, no added times,
nothing within a day. A day that a month does not have is its last one there ([MS-OXOCAL] 2.2.1.44.1.4.2) and none in
iCalendar, so the 29th to 31st are "the last there is of the 28th to that day".
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from calendar_sync import rules, zones
from calendar_sync.content import BadCalendar
from calendar_sync.records import Span
from calendar_sync.rules import DAILY, MONTHLY, WEEKDAYS, WEEKLY, YEARLY, BadRule, Rule
from core.errors import ProviderRejected
from integrations.providers.graph.answers import Json, child, number, text, texts

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
INDEXES = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1}
_NAMES = {value: name for name, value in INDEXES.items()}
FREQUENCY = {
    "daily": "DAILY",
    "weekly": "WEEKLY",
    "absolutemonthly": "MONTHLY",
    "relativemonthly": "MONTHLY",
    "absoluteyearly": "YEARLY",
    "relativeyearly": "YEARLY",
}
ALWAYS_THERE = 28
"""The last day that every month has."""


def rule_of(recurrence: Json, span: Span) -> str:
    """The RRULE of a series. BadCalendar where it is none that anybody can follow."""
    pattern, range_ = child(recurrence, "pattern"), child(recurrence, "range")
    kind = text(pattern, "type").lower()
    if kind not in FREQUENCY:
        raise BadCalendar(f"Its recurrence is of a kind that is not known: {text(pattern, 'type')[:40]!r}.")
    parts = [f"FREQ={FREQUENCY[kind]}"]
    if (interval := number(pattern, "interval") or 1) > 1:
        parts.append(f"INTERVAL={interval}")
    if kind.endswith("yearly"):
        parts.append(f"BYMONTH={_within(pattern, 'month', 12)}")
    if kind.startswith("absolute"):
        parts += _day_of_month(_within(pattern, "dayOfMonth", 31))
    elif kind.startswith("relative"):
        parts += _nth(pattern)
    elif kind == "weekly":
        parts.append(f"BYDAY={','.join(_days(pattern))}")
        parts.append(f"WKST={WEEKDAYS[_weekday(text(pattern, 'firstDayOfWeek') or 'sunday')]}")
    rule = ";".join(parts + _range(range_, span))
    try:
        rules.parse(rule)
    except BadRule as error:
        raise BadCalendar(f"Its recurrence cannot be followed. {error}") from error
    return rule


def _within(pattern: Json, name: str, most: int) -> int:
    value = number(pattern, name) or 0
    if not 1 <= value <= most:
        raise BadCalendar(f"Its recurrence has no usable {name}.")
    return value


def _weekday(name: str) -> int:
    if name.lower() not in DAYS:
        raise BadCalendar(f"Its recurrence names a day that is none: {name[:40]!r}.")
    return DAYS.index(name.lower())


def _days(pattern: Json) -> list[str]:
    days = sorted({_weekday(name) for name in texts(pattern, "daysOfWeek")})
    if not days:
        raise BadCalendar("Its recurrence names no day of the week.")
    return [WEEKDAYS[day] for day in days]


def _day_of_month(day: int) -> list[str]:
    if day == 31:
        return ["BYMONTHDAY=-1"]
    if day > ALWAYS_THERE:
        return ["BYMONTHDAY=" + ",".join(str(one) for one in range(ALWAYS_THERE, day + 1)), "BYSETPOS=-1"]
    return [f"BYMONTHDAY={day}"]


def _nth(pattern: Json) -> list[str]:
    """The third Tuesday; of several days ("weekday") the third of any."""
    days, index = _days(pattern), INDEXES.get(text(pattern, "index").lower() or "first")
    if index is None:
        raise BadCalendar("Its recurrence does not say which day of the month.")
    return [f"BYDAY={index}{days[0]}"] if len(days) == 1 else [f"BYDAY={','.join(days)}", f"BYSETPOS={index}"]


def _range(range_: Json, span: Span) -> list[str]:
    kind = text(range_, "type").lower()
    if kind == "numbered":
        return [f"COUNT={max(1, number(range_, 'numberOfOccurrences') or 1)}"]
    if kind != "enddate":
        return []
    try:
        last = date.fromisoformat(text(range_, "endDate")[:10])
    except ValueError:
        raise BadCalendar("Its recurrence ends on a day that is none.") from None
    if span.all_day:
        return [f"UNTIL={last:%Y%m%d}"]
    end = zones.instant(datetime.combine(last, time(23, 59, 59)), zones.zone(span.zone, span.rules))
    return [f"UNTIL={end:%Y%m%dT%H%M%SZ}"]


# --- the other way ------------------------------------------------------------------------------------------------


def pattern_of(text_: str, span: Span) -> dict[str, object]:
    """The patternedRecurrence of an RRULE. ProviderRejected, in words, for what Graph cannot say."""
    try:
        rule = rules.parse(text_)
    except BadRule as error:
        raise ProviderRejected(str(error), code="unsupported_recurrence") from error
    pattern = _pattern(rule, span.start.date()) | {"interval": rule.interval}
    return {"pattern": pattern, "range": _range_of(rule, span)}


def refused(why: str) -> ProviderRejected:
    """What Microsoft cannot store."""
    return ProviderRejected(f"Microsoft cannot store this recurrence: {why}", code="unsupported_recurrence")


def _pattern(rule: Rule, start: date) -> dict[str, object]:
    if rule.by_week or rule.by_year_day or rule.by_hour or rule.by_minute or rule.by_second:
        raise refused("it knows no BYWEEKNO, BYYEARDAY, BYHOUR, BYMINUTE or BYSECOND.")
    if rule.frequency == DAILY:
        return _daily(rule)
    if rule.frequency == WEEKLY:
        return _weekly(rule, start)
    if rule.frequency in (MONTHLY, YEARLY):
        return _monthly(rule, start)
    raise refused("a series recurs by days, weeks, months or years.")


def _daily(rule: Rule) -> dict[str, object]:
    if rule.names_days or rule.by_month or rule.by_position:
        raise refused("a daily rule takes no other part than INTERVAL. A weekly one may name the days.")
    return {"type": "daily"}


def _weekly(rule: Rule, start: date) -> dict[str, object]:
    if rule.by_month or rule.by_month_day or rule.by_position or any(nth for nth, _ in rule.by_day):
        raise refused("a weekly rule takes only BYDAY and INTERVAL.")
    days = sorted(day for _, day in rule.by_day) or [start.weekday()]
    return {
        "type": "weekly",
        "daysOfWeek": [DAYS[day] for day in days],
        "firstDayOfWeek": DAYS[rule.week_start],
    }


def _monthly(rule: Rule, start: date) -> dict[str, object]:
    """Of months and of years, which are the same but for the month."""
    yearly = rule.frequency == YEARLY
    months = sorted(rule.by_month)
    if (months and not yearly) or len(months) > 1:
        raise refused("a rule names at most one month, and only a yearly one does.")
    if yearly and not months and rule.names_days:
        raise refused("a yearly rule with BYDAY or BYMONTHDAY has to name the month (BYMONTH).")
    kind = "Yearly" if yearly else "Monthly"
    month: dict[str, object] = {"month": months[0] if months else start.month} if yearly else {}
    if rule.by_day:
        return {"type": f"relative{kind}", **_relative(rule), **month}
    return {"type": f"absolute{kind}", "dayOfMonth": _absolute(rule, start), **month}


def _relative(rule: Rule) -> dict[str, object]:
    if rule.by_month_day:
        raise refused("BYDAY and BYMONTHDAY do not go together.")
    numbers = {nth for nth, _ in rule.by_day}
    days = sorted({day for _, day in rule.by_day})
    position = next(iter(rule.by_position)) if len(rule.by_position) == 1 else None
    if numbers == {0} and position is not None:
        which = position
    elif len(rule.by_day) == 1 and not rule.by_position:
        which = next(iter(numbers))
    else:
        raise refused("it takes one place in the month (first to fourth, or last) for one or more days.")
    if which not in _NAMES:
        raise refused("of the days of a month it knows the first to fourth and the last.")
    return {"daysOfWeek": [DAYS[day] for day in days], "index": _NAMES[which]}


def _absolute(rule: Rule, start: date) -> int:
    days = sorted(rule.by_month_day)
    if not days and not rule.by_position:
        if start.day > ALWAYS_THERE:
            raise refused("a day after the 28th would move to the end of shorter months. Use BYMONTHDAY=-1.")
        return start.day
    if days == [-1] and not rule.by_position:
        return 31
    if len(days) > 1 and rule.by_position == {-1} and days == list(range(ALWAYS_THERE, days[-1] + 1)):
        return days[-1]
    if len(days) == 1 and 1 <= days[0] <= ALWAYS_THERE and not rule.by_position:
        return days[0]
    raise refused("a month has one day from the 1st to the 28th, or the last (BYMONTHDAY=-1).")


def _range_of(rule: Rule, span: Span) -> dict[str, object]:
    first = span.start.date()
    range_: dict[str, object] = {"type": "noEnd", "startDate": first.isoformat()}
    if span.zone and not span.all_day:
        range_["recurrenceTimeZone"] = span.zone
    if rule.count is not None:
        return range_ | {"type": "numbered", "numberOfOccurrences": rule.count}
    if rule.until is not None:
        return range_ | {"type": "endDate", "endDate": max(first, _last_day(rule, rule.until, span)).isoformat()}
    return range_


def _last_day(rule: Rule, until: datetime, span: Span) -> date:
    """UNTIL as a day on the series' own wall: one before the clock time of the series ends it the day before."""
    if rule.until_is_utc and not span.all_day:
        until = zones.wall(until.replace(tzinfo=UTC), zones.zone(span.zone, span.rules))
    too_early = not span.all_day and until.time() < span.start.time()
    return until.date() - timedelta(days=1) if too_early else until.date()
