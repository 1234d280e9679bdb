"""Moving and splitting series: what becomes of rules, of single times and of changed occurrences. Pure: no database.

A series that moves takes everything along by the clock of its own zone. What a rule says in words of its own ("every
Monday") is turned where that is plain, and asked for where it is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from calendar_sync import recurrence, rules, zones
from calendar_sync.records import Recurrence, RemoteEvent, Span
from calendar_sync.recurrence import moment_of
from calendar_sync.stepping import Budget, Exhausted, walk
from core.errors import Conflict, InvalidInput

SAY_RULE = "The rule names days or hours that the new start is not among: give `recurrence` too."


def moved_wall(wall: datetime, before: Span, after: Span) -> datetime:
    """Where an occurrence at this wall-clock time is once its series moved."""
    if before.all_day == after.all_day:
        return wall + (after.start - before.start)
    return datetime.combine(wall.date() + (after.start.date() - before.start.date()), after.start.time())


def wall_of(key: str, span: Span) -> datetime | None:
    """The original start a key names, by the clock of its series."""
    moment = moment_of(key)
    if moment is None or moment.tzinfo is None:
        return moment
    return zones.wall(moment, recurrence.zone_of(span))


def moved_key(key: str, before: Span, after: Span) -> str:
    """What the occurrence is called once its series moved."""
    wall = wall_of(key, before)
    if wall is None:
        return ""
    moved = moved_wall(wall, before, after)
    return recurrence.key(after, moved, zones.instant(moved, recurrence.zone_of(after)))


def moved_change(span: Span, key: str, before: Span, after: Span) -> Span:
    """A changed occurrence goes along by as much; where it lasted as long as its series, it still does."""
    wall = wall_of(key, before)
    if wall is None or before == after or span.all_day != before.all_day:
        return span
    if before.all_day != after.all_day:
        return replace(after, start=moved_wall(span.start, before, after))
    start = span.start + (moved_wall(wall, before, after) - wall)
    length = after.duration if span.duration == before.duration else span.duration
    if (span.zone, span.rules) == (before.zone, before.rules):
        return replace(span, start=start, duration=length, zone=after.zone, rules=after.rules)
    return replace(span, start=start, duration=length)


def moved_recurrence(recurrence: Recurrence, before: Span, after: Span) -> Recurrence:
    """The rules and single times of a series that moves. InvalidInput where its new rule has to be said."""
    if before == after or not recurrence:
        return recurrence
    return replace(
        recurrence,
        rules=tuple(_moved_rule(text, before, after) for text in recurrence.rules),
        excluded_rules=tuple(_moved_rule(text, before, after) for text in recurrence.excluded_rules),
        added=tuple((_moved_moment(moment, before, after), length) for moment, length in recurrence.added),
        left_out=frozenset(_moved_moment(moment, before, after) for moment in recurrence.left_out),
        left_out_days=frozenset(
            datetime.combine(day.date() + (after.start.date() - before.start.date()), day.time())
            for day in recurrence.left_out_days
        ),
    )


def _moved_moment(moment: datetime, before: Span, after: Span) -> datetime:
    """As the times of a series are kept: an instant, or without a zone where it has none."""
    wall = zones.wall(moment, recurrence.zone_of(before)) if moment.tzinfo else moment
    moved = moved_wall(wall, before, after)
    return moved if after.all_day or after.floating else zones.instant(moved, recurrence.zone_of(after))


def _moved_rule(text: str, before: Span, after: Span) -> str:
    rule = rules.parse(text)
    days = (after.start.date() - before.start.date()).days
    parts: dict[str, str | None] = {}
    if days and (rule.names_days or rule.by_month):
        parts |= _turned(rule, before, after, days)
    clock = rule.by_hour or rule.by_minute or rule.by_second
    if clock and after.start.time() != before.start.time():
        raise InvalidInput(fields={"recurrence": [SAY_RULE]})
    if rule.until is not None:
        parts["UNTIL"] = until_text(_moved_until(rule, rule.until, before, after), after)
    return with_parts(text, parts)


def _turned(rule: rules.Rule, before: Span, after: Span, days: int) -> dict[str, str | None]:
    others = rule.by_week or rule.by_year_day or rule.by_position or rule.by_month
    if rule.frequency == rules.WEEKLY and rule.by_day and not (others or rule.by_month_day):
        turned = sorted({(day + days) % 7 for _, day in rule.by_day})
        return {"BYDAY": ",".join(rules.WEEKDAYS[day] for day in turned)}
    only_day = rule.by_month_day == {before.start.day} and not rule.by_day and not others
    if rule.frequency == rules.MONTHLY and only_day:
        return {"BYMONTHDAY": str(after.start.day)}
    raise InvalidInput(fields={"recurrence": [SAY_RULE]})


def _moved_until(rule: rules.Rule, until: datetime, before: Span, after: Span) -> datetime:
    """The last moment, by the clock."""
    timed = rule.until_is_utc and not before.all_day and not before.floating
    wall = zones.wall(until.replace(tzinfo=UTC), recurrence.zone_of(before)) if timed else until
    if before.all_day != after.all_day:
        return datetime.combine(wall.date(), datetime.max.time().replace(microsecond=0)) + (
            timedelta(days=(after.start.date() - before.start.date()).days)
        )
    return wall + (after.start - before.start)


def until_text(wall: datetime, span: Span) -> str:
    """UNTIL in the form its series wants: a date, a floating time, or an instant in UTC (RFC 5545 3.3.10)."""
    if span.all_day:
        return f"{wall:%Y%m%d}"
    if span.floating:
        return f"{wall:%Y%m%dT%H%M%S}"
    return f"{zones.instant(wall, recurrence.zone_of(span)):%Y%m%dT%H%M%SZ}"


def fitted_rule(text: str, span: Span) -> str:
    """The rule with its UNTIL in the form that a series like this wants."""
    rule = rules.parse(text)
    clean = text.strip().removeprefix("RRULE:").upper()
    if rule.until is None:
        return clean
    timed = rule.until_is_utc and not span.all_day and not span.floating
    wall = zones.wall(rule.until.replace(tzinfo=UTC), recurrence.zone_of(span)) if timed else rule.until
    return with_parts(clean, {"UNTIL": until_text(wall, span)})


def with_parts(text: str, parts: dict[str, str | None]) -> str:
    """The rule with these parts instead of its own; None takes one away."""
    own = dict(part.split("=", 1) for part in text.upper().removeprefix("RRULE:").split(";") if "=" in part)
    return ";".join(f"{name}={value}" for name, value in {**own, **parts}.items() if value is not None)


# --- splitting ----------------------------------------------------------------------------------------------------


def split(series: RemoteEvent, key: str, cancelled: Iterable[str]) -> tuple[Recurrence, RemoteEvent]:
    """The rules of what is before the occurrence `key`, and the series from it on. `cancelled` are occurrences that do
    not take place: they stay out of it. Other changes of single occurrences from there on are given up."""
    span, own = series.span, series.recurrence
    wall = wall_of(key, span)
    if wall is None:
        raise InvalidInput(fields={"scope": ["The series has no such occurrence."]})
    head = tuple(with_parts(text, {"COUNT": None, "UNTIL": _before(wall, span)}) for text in own.rules)
    tail = tuple(_rest(text, span, wall) for text in own.rules)
    at = _as_kept(wall, span)
    gone = {moment for one in cancelled if (moment := _kept_of(one, span)) is not None and _later(moment, at)}
    rest = replace(
        own,
        rules=tail,
        added=tuple(one for one in own.added if _later(one[0], at)),
        left_out=frozenset({moment for moment in own.left_out if _later(moment, at)} | gone),
        left_out_days=frozenset(day for day in own.left_out_days if day > wall),
    )
    first = replace(
        own,
        rules=head,
        added=tuple(one for one in own.added if _later(at, one[0])),
        left_out=frozenset(moment for moment in own.left_out if _later(at, moment)),
        left_out_days=frozenset(day for day in own.left_out_days if day.date() < wall.date()),
    )
    return first, replace(series, span=replace(span, start=wall), recurrence=rest)


def is_first(series: RemoteEvent, key: str) -> bool:
    """Whether nothing of the series takes place before this occurrence."""
    wall = wall_of(key, series.span)
    if wall is None or wall <= series.span.start:
        return True
    where = recurrence.zone_of(series.span)
    begin, end = zones.instant(series.span.start, where), zones.instant(wall, where)
    found = recurrence.expand(series.span, series.recurrence, None, begin, end, most=1)
    return not found.cut and not found.occurrences


def _before(wall: datetime, span: Span) -> str:
    return until_text(wall - (timedelta(days=1) if span.all_day else timedelta(seconds=1)), span)


def _rest(text: str, span: Span, wall: datetime) -> str:
    """COUNT counts what was before, too."""
    rule = rules.parse(text)
    if rule.count is None:
        return text
    try:
        passed = sum(1 for _ in walk(rule, span.start, span.start, wall - timedelta(seconds=1), Budget()))
    except Exhausted:
        raise Conflict("The series could not be followed so far: its rule takes too long to work out.") from None
    return with_parts(text, {"COUNT": str(max(1, rule.count - passed))})


def _as_kept(wall: datetime, span: Span) -> datetime:
    return wall if span.all_day or span.floating else zones.instant(wall, recurrence.zone_of(span))


def _kept_of(key: str, span: Span) -> datetime | None:
    wall = wall_of(key, span)
    return None if wall is None else _as_kept(wall, span)


def _later(moment: datetime, than: datetime) -> bool:
    """Kept times of one series are of one kind; a provider's may not be."""
    return moment.replace(tzinfo=UTC) > than.replace(tzinfo=UTC)


def day_of(moment: date) -> datetime:
    """Midnight of a day, as spans keep it."""
    return datetime(moment.year, moment.month, moment.day)  # noqa: DTZ001 - a day
