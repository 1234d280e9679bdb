"""From what a caller says of an event to how it shall be: times in its zone, rules, people. Pure: no database.

`given` holds the fields that were said, by their names here; what was not said stays. Whatever makes no sense is an
InvalidInput that names the field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from calendar_sync import recurrence, rules, zones
from calendar_sync.content import BadCalendar
from calendar_sync.ics import read_events
from calendar_sync.ics_nodes import name_of, parse, text_of
from calendar_sync.ics_writing import write_events
from calendar_sync.moving import day_of, fitted_rule, moved_recurrence
from calendar_sync.records import EventDraft, Invited, Recurrence, RemoteEvent, Span, ZoneRules
from calendar_sync.rules import BadRule
from core.addresses import exact
from core.errors import InvalidInput

Given = Mapping[str, Any]
LONGEST = timedelta(days=366)
FIRST, LAST = datetime(1970, 1, 2, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
MAX_LINES = 1000
PLAIN = ("title", "description", "location", "visibility", "busy")
TIMES = frozenset({"start", "end", "all_day", "time_zone"})
STAMP = datetime(2026, 1, 1, tzinfo=UTC)


def new_draft(given: Given, zone: str) -> EventDraft:
    """A new event; `zone` is the calendar's, for times that name none."""
    missing = {name: ["This field is required."] for name in ("start", "end") if given.get(name) is None}
    if missing:
        raise InvalidInput(fields=missing)
    span = _span(given["start"], given["end"], given.get("all_day"), (given.get("time_zone") or zone, ()))
    rules = given_recurrence(given["recurrence"], span) if given.get("recurrence") else Recurrence()
    plain = {name: given[name] for name in PLAIN if given.get(name) is not None}
    people = tuple(given.get("attendees") or ())
    return EventDraft(span, attendees=people, recurrence=rules, conference=bool(given.get("conference")), **plain)


def changed_draft(current: RemoteEvent, given: Given, zone: str) -> EventDraft:
    """The event as it shall be after a change of these fields. A series that is moved takes its single times along."""
    span = changed_span(current.span, given, zone)
    if given.get("recurrence") is not None:
        rules = given_recurrence(given["recurrence"], span) if given["recurrence"] else Recurrence()
    elif "recurrence" in given:
        rules = Recurrence()
    else:
        rules = moved_recurrence(current.recurrence, current.span, span)
    plain = {name: given[name] if given.get(name) is not None else getattr(current, name) for name in PLAIN}
    people = current.attendees
    if given.get("attendees") is not None:
        people = _people(current.attendees, given["attendees"])
    return EventDraft(span, attendees=people, recurrence=rules, conference=bool(given.get("conference")), **plain)


def changes(current: RemoteEvent, draft: EventDraft) -> frozenset[str]:
    """The fields of the draft in which it differs."""
    names = {"span", "attendees", "recurrence", *PLAIN}
    differing = {name for name in names if getattr(current, name) != getattr(draft, name)}
    wants_link = draft.conference and not current.conference_url
    return frozenset(differing | ({"conference"} if wants_link else set()))


def _people(current: Sequence[Invited], wanted: Sequence[Invited]) -> tuple[Invited, ...]:
    """Who was invited before keeps their answer."""
    known = {exact(person.email): person for person in current}
    return tuple(
        replace(known[exact(one.email)], optional=one.optional) if exact(one.email) in known else one for one in wanted
    )


# --- times --------------------------------------------------------------------------------------------------------


def changed_span(current: Span, given: Given, zone: str) -> Span:
    """When it is after a change. The same moments said in other words are no change."""
    said = {name: given[name] for name in TIMES if given.get(name) is not None}
    if not said:
        return current
    before = recurrence.single(current, None, zones.zone(zone))
    own: tuple[str, ZoneRules] = (current.zone or zone, current.rules)
    if "time_zone" in said and said["time_zone"] != current.zone:
        own = (said["time_zone"], ())
    start = said.get("start", before.start.date() if current.all_day else before.start)
    is_days = not isinstance(start, datetime)
    all_day = said.get("all_day", is_days)
    if all_day != is_days and "start" not in said:
        raise InvalidInput(fields={"start": ["Say `start` and `end` too when `allDay` changes."]})
    if "end" in said:
        end = said["end"]
    elif is_days != current.all_day:
        raise InvalidInput(fields={"end": ["Say `end` too when `allDay` changes."]})
    else:
        end = start + (before.end - before.start)
    made = _span(start, end, all_day, own)
    after = recurrence.single(made, None)
    same_zone = current.all_day or own == (current.zone or zone, current.rules)
    same = (after.start, after.end, made.all_day) == (before.start, before.end, current.all_day) and same_zone
    return current if same else made


def _span(start: date, end: date, all_day: bool | None, zone: tuple[str, ZoneRules]) -> Span:
    days = [not isinstance(moment, datetime) for moment in (start, end)]
    if days[0] != days[1]:
        raise InvalidInput(fields={"end": ["`start` and `end` are both days, or both times."]})
    if all_day is not None and all_day != days[0]:
        words = "An all-day event has days such as 2026-03-31." if all_day else "Give a time, or say `allDay`."
        raise InvalidInput(fields={"start": [words]})
    if days[0]:
        return _days(start, end)
    where = zones.zone(*zone)
    begin, until = _instant(start, where, "start"), _instant(end, where, "end")
    _check_length(begin, until, at_least=timedelta(0))
    wall = zones.wall(begin, where)
    if zones.instant(wall, where) != begin:  # the second of two hours when clocks go back: only UTC can say that
        zone, wall = ("UTC", ()), begin.replace(tzinfo=None)
    return Span(wall, until - begin, *zone)


def _days(start: date, end: date) -> Span:
    first, last = day_of(start), day_of(end)
    if last == first:
        raise InvalidInput(fields={"end": ["The end of an all-day event is the day after its last."]})
    _check_length(first.replace(tzinfo=UTC), last.replace(tzinfo=UTC), at_least=timedelta(days=1))
    return Span(first, last - first, all_day=True)


def _instant(moment: date, where: tzinfo, name: str) -> datetime:
    if not isinstance(moment, datetime):
        raise InvalidInput(fields={name: ["Give a time."]})
    if not FIRST.year <= moment.year <= LAST.year:  # at the ends of the calendar there is no other zone to go to
        raise InvalidInput(fields={name: ["This time is out of range."]})
    given = zones.instant(moment, where) if moment.tzinfo is None else moment.astimezone(UTC)
    if not FIRST <= given < LAST:
        raise InvalidInput(fields={name: ["This time is out of range."]})
    return given.replace(microsecond=0)


def _check_length(start: datetime, end: datetime, *, at_least: timedelta) -> None:
    if not FIRST <= start < LAST:
        raise InvalidInput(fields={"start": ["This time is out of range."]})
    if end - start < at_least:
        raise InvalidInput(fields={"end": ["This must not be before `start`."]})
    if end - start > LONGEST:
        raise InvalidInput(fields={"end": [f"An event lasts at most {LONGEST.days} days."]})


# --- rules --------------------------------------------------------------------------------------------------------


def given_recurrence(lines: Sequence[str], span: Span) -> Recurrence:
    """The rules of these lines of iCalendar, RRULE with or without its name."""
    try:
        return _recurrence([_line(line, span) for line in lines], span)
    except (BadRule, BadCalendar) as error:
        raise InvalidInput(fields={"recurrence": [str(error)]}) from error


def _line(line: str, span: Span) -> str:
    text = line.strip()
    if not text.isprintable():
        raise BadRule("A line of `recurrence` holds no control characters.")
    if text.upper().startswith("FREQ="):
        text = f"RRULE:{text}"
    name, _, value = text.partition(":")
    if name_of(name) not in ("RRULE", "RDATE", "EXDATE", "EXRULE"):
        raise BadRule("`recurrence` holds RRULE, RDATE and EXDATE, such as RRULE:FREQ=WEEKLY;COUNT=5.")
    if name.upper() not in ("RRULE", "EXRULE"):
        return text
    rule = rules.parse(value)
    if rule.count is not None and rule.until is not None:
        raise BadRule("A rule has COUNT or UNTIL, not both.")
    return f"{name.upper()}:{fitted_rule(value, span)}"


def _recurrence(lines: Sequence[str], span: Span) -> Recurrence:
    if len(lines) > MAX_LINES:
        raise BadRule(f"`recurrence` has at most {MAX_LINES} lines.")
    if sum(line.startswith("RRULE") for line in lines) > 1:
        raise BadRule("An event has one RRULE.")
    [calendar] = parse(write_events([RemoteEvent("new", span)], stamp=STAMP))
    calendar.children("VEVENT")[0].replace((), lines)
    [event] = read_events(text_of([calendar]))
    if lines and not event.recurrence:
        raise BadRule("`recurrence` needs an RRULE or an RDATE.")
    return event.recurrence


def lines_of(rules: Recurrence, *, all_day: bool) -> list[str]:
    """A recurrence as lines of iCalendar; times in UTC, or without a zone where the series has none."""
    lines = [f"RRULE:{rule}" for rule in rules.rules] + [f"EXRULE:{rule}" for rule in rules.excluded_rules]
    lines += _times("RDATE", (moment for moment, _ in rules.added), all_day=all_day)
    lines += _times("EXDATE", sorted(rules.left_out), all_day=all_day)
    return lines + _times("EXDATE", sorted(rules.left_out_days), all_day=True)


def _times(name: str, moments: Iterable[datetime], *, all_day: bool) -> list[str]:
    if all_day:
        return [f"{name};VALUE=DATE:{moment:%Y%m%d}" for moment in moments]
    return [f"{name}:{moment:%Y%m%dT%H%M%S}{'Z' if moment.tzinfo else ''}" for moment in moments]
