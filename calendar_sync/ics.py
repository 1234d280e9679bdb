"""Events of iCalendar text (RFC 5545): what a CalDAV server stores, an invitation carries, a file holds.

Promised: whatever the text is, `read_events` answers records or raises `BadCalendar` with words for people; its cost is
bounded by the text's size, which is capped. Writing is `ics_writing`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from calendar_sync import content, recurrence, zones
from calendar_sync.content import BadCalendar, Component, Moment, Property, clean
from calendar_sync.definitions import Definitions
from calendar_sync.records import (
    CANCELLED,
    CONFIDENTIAL,
    CONFIRMED,
    NEEDS_ACTION,
    PRIVATE,
    PUBLIC,
    TENTATIVE,
    Invited,
    Person,
    Recurrence,
    RemoteEvent,
    Span,
    ZoneRules,
    key_of,
)
from calendar_sync.rules import BadRule
from calendar_sync.stepping import Budget

MAX_TITLE, MAX_TEXT, MAX_PLACE, MAX_ADDRESS, MAX_NAME, MAX_UID, MAX_URL = 1000, 100_000, 2000, 320, 255, 1000, 2000
MAX_ATTENDEES = 1000
MAX_TIMES = 5000
"""Of RDATE and of EXDATE in one event."""
MAX_RULES = 100
"""Of RRULE and of EXRULE: there should be one (RFC 5545 3.8.5.3)."""
MAX_DURATION = timedelta(days=3660)

_STATUS = {"TENTATIVE": TENTATIVE, "CANCELLED": CANCELLED}
_CLASS = {"PRIVATE": PRIVATE, "CONFIDENTIAL": CONFIDENTIAL}
_RESPONSE = {"ACCEPTED": "accepted", "DECLINED": "declined", "TENTATIVE": TENTATIVE}
_CONFERENCE = ("X-GOOGLE-CONFERENCE", "X-MICROSOFT-SKYPETEAMSMEETINGURL", "X-MICROSOFT-ONLINEMEETINGCONFLINK")
_MEETING = re.compile(
    r"https://(?:[a-z0-9-]+\.)*(?:zoom\.us/j/|meet\.google\.com/|teams\.microsoft\.com/l/meetup-join/|"
    r"teams\.live\.com/meet/|whereby\.com/|meet\.jit\.si/|webex\.com/)[^\s<>\"')\]]{1,1000}",
    re.IGNORECASE,
)


def read_events(text: str, *, time_zone: str = "") -> tuple[RemoteEvent, ...]:
    """The events of a text, a series' master before its changed occurrences. `time_zone` is the calendar's, for zones
    that nobody knows; "" is UTC. BadCalendar where one of them cannot be understood, or there is none."""
    return tuple(sorted(events_in_order(text, time_zone=time_zone), key=lambda event: event.recurrence_key))


def events_in_order(text: str, *, time_zone: str = "") -> list[RemoteEvent]:
    """As `read_events`, in the order the text has them."""
    events: list[RemoteEvent] = []
    budget = Budget()  # for all definitions of the text: a stranger's may hold thousands
    for calendar in content.read(text):
        named = {zone.text("TZID", zones.MAX_NAME): zone for zone in calendar.named("VTIMEZONE")}
        defined = Definitions(named, budget)
        events += [_Reader(event, defined, time_zone).event() for event in calendar.named("VEVENT")]
    if not events:
        raise BadCalendar("There is no event in the calendar data.")
    return events


def read_recurrence(lines: Sequence[str], span: Span, *, time_zone: str = "") -> Recurrence:
    """RRULE, EXRULE, RDATE and EXDATE of an event whose other parts are elsewhere. BadCalendar as `read_events`."""
    return _Reader(content.read_lines(lines), Definitions({}, Budget()), time_zone).recurrence(span)


def meeting_link(*texts: str) -> str:
    """The first link of a known service for meetings; "" where there is none."""
    found = next(filter(None, map(_MEETING.search, texts)), None)
    return found[0] if found else ""


class _Reader:
    """One VEVENT."""

    def __init__(self, component: Component, defined: Definitions, time_zone: str) -> None:
        self.component = component
        self.defined = defined
        self.time_zone = time_zone

    def event(self) -> RemoteEvent:
        text = self.component.text
        span = self._span()
        key, following = self._recurrence_id(span)
        rules = Recurrence() if key else self.recurrence(span)
        status = text("STATUS", 40).upper()
        return RemoteEvent(
            uid=text("UID", MAX_UID),
            span=span,
            title=" ".join(text("SUMMARY", MAX_TITLE).split()),
            description=text("DESCRIPTION", MAX_TEXT),
            location=text("LOCATION", MAX_PLACE),
            conference_url=self._conference(),
            status=_STATUS.get(status, CONFIRMED),
            visibility=_CLASS.get(text("CLASS", 40).upper(), PUBLIC),
            busy=text("TRANSP", 40).upper() != "TRANSPARENT",
            organizer=self._organizer(),
            attendees=tuple(self._attendees()),
            recurrence=rules,
            recurrence_key=key,
            following=following,
            sequence=self._sequence(),
        )

    # --- times ----------------------------------------------------------------------------------------------------

    def _span(self) -> Span:
        given = self.component.first("DTSTART")
        if given is None:
            raise BadCalendar("An event has no start.")
        start = self._moment(given)
        zone, rules = self._zone(start)
        length, nominal = self._length(start, zone, rules)
        if length > MAX_DURATION:
            raise BadCalendar("An event lasts longer than ten years.")
        return Span(start.wall, max(timedelta(0), length), zone, rules, start.is_date, nominal)

    def _length(self, start: Moment, zone: str, rules: ZoneRules) -> tuple[timedelta, bool]:
        """How long, and whether by the clock. An end before the start is no length at all."""
        if given := self.component.first("DTEND"):
            end = self._moment(given)
            if start.is_date or end.is_date:
                return end.wall - start.wall, False
            here, there = zones.zone(zone, rules), zones.zone(*self._zone(end))
            return zones.instant(end.wall, there) - zones.instant(start.wall, here), False
        if given := self.component.first("DURATION"):
            length = content.duration(given.value)
            return (timedelta(days=max(1, length.days)), False) if start.is_date else (length, True)
        return (timedelta(days=1) if start.is_date else timedelta(0)), False

    def _moment(self, given: Property) -> Moment:
        return content.moment(given.value, given.parameter("TZID"))

    def _zone(self, moment: Moment) -> tuple[str, ZoneRules]:
        """By its name, by the definition that came along, or the calendar's."""
        if moment.is_date or not moment.zone:
            return "", ()
        if name := zones.named(moment.zone):
            return name, ()
        if definition := self.defined.rules(clean(moment.zone, zones.MAX_NAME)):
            return clean(moment.zone, zones.MAX_NAME), definition
        return zones.offset_named(moment.zone) or zones.named(self.time_zone) or "UTC", ()

    def _instant(self, moment: Moment, span: Span) -> datetime:
        """An instant, or a wall-clock time where the series has no zone."""
        if span.all_day or (span.floating and not moment.zone):
            return moment.wall
        if span.floating:
            return moment.wall
        zone, rules = self._zone(moment) if moment.zone else (span.zone, span.rules)
        return zones.instant(moment.wall, zones.zone(zone, rules))

    def _recurrence_id(self, span: Span) -> tuple[str, bool]:
        given = self.component.first("RECURRENCE-ID")
        if given is None:
            return "", False
        moment = self._moment(given)
        following = given.parameter("RANGE").upper() == "THISANDFUTURE"
        if moment.is_date:
            return key_of(moment.wall, all_day=True), following
        if not moment.zone:
            return key_of(moment.wall), following
        return key_of(zones.instant(moment.wall, zones.zone(*self._zone(moment)))), following

    # --- recurrence -----------------------------------------------------------------------------------------------

    def recurrence(self, span: Span) -> Recurrence:
        """Its rules, checked."""
        times, days = self._left_out(span)
        rules = Recurrence(
            rules=self._rules("RRULE"),
            excluded_rules=self._rules("EXRULE"),
            added=tuple(self._added(span)),
            left_out=frozenset(times),
            left_out_days=frozenset(days),
        )
        try:
            recurrence.check(rules)
        except BadRule as error:
            raise BadCalendar(f"Its recurrence cannot be followed. {error}") from error
        return rules

    def _rules(self, name: str) -> tuple[str, ...]:
        found = self.component.all(name)
        if len(found) > MAX_RULES:
            raise BadCalendar(f"An event has more than {MAX_RULES} of {name}.")
        return tuple(given.value.strip() for given in found)

    def _listed(self, name: str) -> Iterator[tuple[Property, str]]:
        count = 0
        for given in self.component.all(name):
            for item in filter(None, given.value.split(",")):
                count += 1
                if count > MAX_TIMES:
                    raise BadCalendar(f"An event has more than {MAX_TIMES} times in {name}.")
                yield given, item.strip()

    def _added(self, span: Span) -> Iterator[tuple[datetime, timedelta | None]]:
        for given, item in self._listed("RDATE"):
            first, _, rest = item.partition("/")
            start = content.moment(first, given.parameter("TZID"))
            begin = self._instant(start, span)
            length = None
            if rest and "P" in rest:
                length = content.duration(rest)
            elif rest:
                length = self._instant(content.moment(rest, given.parameter("TZID")), span) - begin
            yield begin, length

    def _left_out(self, span: Span) -> tuple[list[datetime], list[datetime]]:
        """Single times, and whole days."""
        times, days = [], []
        for given, item in self._listed("EXDATE"):
            moment = content.moment(item, given.parameter("TZID"))
            if moment.is_date and not span.all_day:
                days.append(moment.wall)
            elif span.all_day:
                times.append(moment.wall.replace(hour=0, minute=0, second=0))
            else:
                times.append(self._instant(moment, span))
        return times, days

    # --- people and places ----------------------------------------------------------------------------------------

    def _organizer(self) -> Person | None:
        given = self.component.first("ORGANIZER")
        return Person(_address(given), clean(given.parameter("CN"), MAX_NAME)) if given else None

    def _attendees(self) -> Iterator[Invited]:
        for given in self.component.all("ATTENDEE")[:MAX_ATTENDEES]:
            yield Invited(
                email=_address(given),
                name=clean(given.parameter("CN"), MAX_NAME),
                response=_RESPONSE.get(given.parameter("PARTSTAT").upper(), NEEDS_ACTION),
                optional=given.parameter("ROLE").upper() in ("OPT-PARTICIPANT", "NON-PARTICIPANT"),
                is_resource=given.parameter("CUTYPE").upper() in ("ROOM", "RESOURCE"),
            )

    def _conference(self) -> str:
        """Where to join: a property that says so, else a link of a known service in the place or the text."""
        for name in ("CONFERENCE", *_CONFERENCE):
            given = self.component.first(name)
            if given and given.value.strip().lower().startswith("https://"):
                return clean(given.value, MAX_URL)
        return meeting_link(*(self.component.text(name, MAX_TEXT) for name in ("URL", "LOCATION", "DESCRIPTION")))

    def _sequence(self) -> int:
        text = self.component.text("SEQUENCE", 12)
        return int(text) if re.fullmatch(r"\d{1,9}", text) else 0


def _address(given: Property) -> str:
    """mailto: or, where that is something else, the EMAIL parameter (RFC 7986)."""
    scheme, _, rest = given.value.strip().partition(":")
    text = rest if scheme.lower() == "mailto" else given.parameter("EMAIL").removeprefix("mailto:")
    if not text and "@" in given.value and "/" not in given.value:
        text = given.value
    address = clean(text, MAX_ADDRESS + 1)
    return address if "@" in address and len(address) <= MAX_ADDRESS else ""
