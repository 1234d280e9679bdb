"""Events as iCalendar text (RFC 5545), by the `icalendar` library: escaping, folding, VTIMEZONE.

`read_events` of what `write_events` wrote gives the same records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from icalendar import Calendar, Event, Timezone, TimezoneStandard, vCalAddress, vDate, vDatetime, vDuration
from icalendar.prop import vInline

from calendar_sync import recurrence, zones
from calendar_sync.records import (
    CONFIRMED,
    NEEDS_ACTION,
    PUBLIC,
    Invited,
    Recurrence,
    RemoteEvent,
    Span,
    ZoneRules,
)

PRODUCT = "-//Patchbay//Calendar//EN"
_PARTSTAT = {NEEDS_ACTION: "NEEDS-ACTION"}
Time = vDate | vDatetime


def write_events(events: Sequence[RemoteEvent], *, stamp: datetime, method: str = "", description: str = "") -> str:
    """One VCALENDAR with these events and the zones they name. `stamp` is when it was made (DTSTAMP)."""
    calendar = Calendar()
    calendar.add("prodid", PRODUCT)
    calendar.add("version", "2.0")
    if method:
        calendar.add("method", method)
    if description:
        calendar.add("x-wr-caldesc", description)
    named = {(event.span.zone, event.span.rules) for event in events if event.span.zone not in ("", "UTC")}
    for name, rules in sorted(named):
        calendar.add_component(_defined(name, rules) if rules else _known(name))
    for event in events:
        calendar.add_component(_event(event, stamp))
    return str(calendar.to_ical().decode())


@lru_cache(maxsize=600)
def _known(name: str) -> Timezone:
    zone = zones.zone(name)
    return Timezone.from_tzinfo(zone, name) if name.startswith("UTC") else Timezone.from_tzid(name)


def _defined(name: str, rules: ZoneRules) -> Timezone:
    """Every change of the clocks as a part of its own."""
    definition = Timezone()
    definition.add("tzid", name)
    before = rules[0][1]
    for start, after in rules[1:] or rules:
        part = TimezoneStandard()
        part.add("dtstart", vDatetime(zones.EPOCH + timedelta(seconds=start + before)))
        part.add("tzoffsetfrom", timedelta(seconds=before))
        part.add("tzoffsetto", timedelta(seconds=after))
        definition.add_component(part)
        before = after
    return definition


def _event(event: RemoteEvent, stamp: datetime) -> Event:
    made, span = Event(), event.span
    made.add("uid", event.uid)
    made.add("dtstamp", stamp)
    made.add("dtstart", _time(span, span.start))
    if span.nominal:
        made.add("duration", vDuration(span.duration))
    else:
        made.add("dtend", _end(span))
    if event.recurrence_key:
        made.add("recurrence-id", _at(span, event.recurrence_key))
        if event.following:
            made["recurrence-id"].params["RANGE"] = "THISANDFUTURE"
    _add_recurrence(made, span, event.recurrence)
    _add_words(made, event)
    _add_people(made, event)
    return made


def _add_words(made: Event, event: RemoteEvent) -> None:
    for name, text in (("summary", event.title), ("description", event.description), ("location", event.location)):
        if text:
            made.add(name, text)
    if event.conference_url:
        made.add("conference", event.conference_url, parameters={"VALUE": "URI"})
    if event.status != CONFIRMED:
        made.add("status", event.status.upper())
    if event.visibility != PUBLIC:
        made.add("class", event.visibility.upper())
    if not event.busy:
        made.add("transp", "TRANSPARENT")
    if event.sequence:
        made.add("sequence", event.sequence)


def _add_people(made: Event, event: RemoteEvent) -> None:
    if event.organizer and event.organizer.email:
        organizer = vCalAddress(f"mailto:{event.organizer.email}")
        if event.organizer.name:
            organizer.params["CN"] = event.organizer.name
        made.add("organizer", organizer)
    for person in event.attendees:
        if person.email:
            made.add("attendee", _attendee(person))


def _attendee(person: Invited) -> vCalAddress:
    address = vCalAddress(f"mailto:{person.email}")
    address.params["PARTSTAT"] = _PARTSTAT.get(person.response, person.response.upper())
    if person.name:
        address.params["CN"] = person.name
    if person.optional:
        address.params["ROLE"] = "OPT-PARTICIPANT"
    if person.is_resource:
        address.params["CUTYPE"] = "RESOURCE"
    return address


# --- times --------------------------------------------------------------------------------------------------------


def _time(span: Span, wall: datetime) -> Time:
    """A wall-clock time of the event's zone."""
    if span.all_day:
        return _day(wall)
    if span.zone == "UTC":
        return vDatetime(wall.replace(tzinfo=UTC))
    made = vDatetime(wall)
    if span.zone:
        made.params["TZID"] = span.zone
    return made


def _day(wall: datetime) -> vDate:
    made = vDate(wall.date())
    made.params["VALUE"] = "DATE"
    return made


def _end(span: Span) -> Time:
    if span.all_day or span.floating:
        return _time(span, span.start + span.duration)
    where = recurrence.zone_of(span)
    return _of_instant(span, zones.instant(span.start, where) + span.duration)


def _of_instant(span: Span, moment: datetime) -> Time:
    """In the event's zone; in UTC where its clock shows that time twice and would mean the other one."""
    where = recurrence.zone_of(span)
    wall = zones.wall(moment, where)
    return _time(span, wall) if zones.instant(wall, where) == moment else vDatetime(moment.astimezone(UTC))


def _at(span: Span, key: str) -> Time:
    """The original start that a key names."""
    moment = recurrence.moment_of(key)
    if moment is None:
        raise ValueError(f"{key!r} names no occurrence")
    if len(key) == len("20260105"):
        return _day(moment)
    return vDatetime(moment) if moment.tzinfo is None or span.all_day else _of_instant(span, moment)


def _add_recurrence(made: Event, span: Span, recurrence: Recurrence) -> None:
    for rule in recurrence.rules:
        made.add("rrule", vInline(rule), encode=False)
    for rule in recurrence.excluded_rules:
        made.add("exrule", vInline(rule), encode=False)
    for moment, length in recurrence.added:
        if length is None:
            _add_time(made, "RDATE", span, moment)
        else:
            begin = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            made.add("rdate", [(begin, length)], parameters={"VALUE": "PERIOD"})
    _add_times(made, "EXDATE", span, sorted(recurrence.left_out))
    for day in sorted(recurrence.left_out_days):
        made.add("exdate", _day(day), encode=False)


def _add_times(made: Event, name: str, span: Span, moments: Iterable[datetime]) -> None:
    for moment in moments:
        _add_time(made, name, span, moment)


def _add_time(made: Event, name: str, span: Span, moment: datetime) -> None:
    value = _of_instant(span, moment) if moment.tzinfo else _time(span, moment)
    made.add(name, value, encode=False)
