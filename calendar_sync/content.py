"""iCalendar text as a tree of components, at a bounded cost, and the values of its properties (RFC 5545 3.1–3.3).

Lines are unfolded and taken apart by the `icalendar` library; its component tree is not used, because that builds a
time zone of whatever a stranger's VTIMEZONE says. Promised: whatever the text is, only `BadCalendar` is raised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from icalendar.parser import Contentline, Contentlines

MAX_CHARACTERS = 1_000_000
MAX_LINES = 20_000
MAX_COMPONENTS = 3_000
MAX_DEPTH = 6
_MOMENT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:T(\d{2})(\d{2})(\d{2})(Z?))?", re.ASCII)
_DURATION = re.compile(
    r"([+-])?P(?:(\d{1,4})W)?(?:(\d{1,6})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,8})S)?)?", re.ASCII
)
_UNFIT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class BadCalendar(ValueError):
    """What could not be read; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class Property:
    """One line: parameters by name in capitals."""

    value: str
    parameters: Mapping[str, str]

    def parameter(self, name: str) -> str:
        """ "" where it is missing."""
        return self.parameters.get(name, "")


@dataclass(slots=True)
class Component:
    """VCALENDAR, VEVENT, VTIMEZONE …"""

    name: str
    properties: dict[str, list[Property]] = field(default_factory=dict)
    children: list[Component] = field(default_factory=list)

    def first(self, *names: str) -> Property | None:
        """The first property of the first of these names there is."""
        return next((self.properties[name][0] for name in names if name in self.properties), None)

    def all(self, name: str) -> list[Property]:
        """Every property of this name, in order."""
        return self.properties.get(name, [])

    def text(self, name: str, longest: int) -> str:
        """The property's text, cleaned and cut; "" where it is missing."""
        found = self.first(name)
        return clean(found.value, longest) if found else ""

    def named(self, name: str) -> Iterator[Component]:
        """The children of this name."""
        return (child for child in self.children if child.name == name)


def clean(text: str, longest: int) -> str:
    """Without what the database refuses and nobody sees."""
    return _UNFIT.sub("", text.replace("\r\n", "\n")).strip()[:longest]


def read(text: str) -> list[Component]:
    """The calendars of a text: usually one."""
    if len(text) > MAX_CHARACTERS:
        raise BadCalendar(f"The calendar data is longer than {MAX_CHARACTERS} characters.")
    root = Component("")
    path, count = [root], 0
    for name, parameters, value in _lines(text):
        if name == "BEGIN":
            count += 1
            if count > MAX_COMPONENTS or len(path) > MAX_DEPTH:
                raise BadCalendar("The calendar data has too many parts.")
            child = Component(value.strip().upper())
            path[-1].children.append(child)
            path.append(child)
        elif name == "END":
            if len(path) == 1 or path.pop().name != value.strip().upper():
                raise BadCalendar("The calendar data does not end where it begins.")
        else:
            path[-1].properties.setdefault(name, []).append(Property(value, parameters))
    if len(path) > 1:
        raise BadCalendar("The calendar data is cut off.")
    return [child for child in root.children if child.name == "VCALENDAR"]


def read_lines(lines: Iterable[str]) -> Component:
    """Properties without a component around them."""
    component = Component("")
    for name, parameters, value in _lines("\r\n".join(" ".join(line.split()) for line in lines)):
        component.properties.setdefault(name, []).append(Property(value, parameters))
    return component


def _lines(text: str) -> Iterator[tuple[str, Mapping[str, str], str]]:
    """Lines that are none are passed over: somebody's broken X-property says nothing about the event."""
    lines = Contentlines.from_ical(text)
    if len(lines) > MAX_LINES:
        raise BadCalendar(f"The calendar data has more than {MAX_LINES} lines.")
    for line in lines:
        if not line:
            continue
        try:
            name, parameters, value = Contentline(line).parts()
        except (ValueError, IndexError, KeyError):
            continue
        # A parameter with several values comes as a list: nothing here asks for more than one.
        single = {
            key.upper(): str(some[0] if isinstance(some, list) and some else some) for key, some in parameters.items()
        }
        yield str(name).upper(), single, str(value)


# --- values -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moment:
    """A date or a time as it is written. `zone` is "UTC", the name of a zone as given, or "" where there is none."""

    wall: datetime
    is_date: bool
    zone: str = ""


def moment(text: str, zone: str = "") -> Moment:
    """A DATE or DATE-TIME."""
    found = _MOMENT.fullmatch(text.strip())
    try:
        if not found:
            raise ValueError
        day = date(int(found[1]), int(found[2]), int(found[3]))
        if not found[4]:
            return Moment(datetime.combine(day, time()), is_date=True)
        clock = time(int(found[4]), int(found[5]), min(59, int(found[6])))
    except ValueError:
        raise BadCalendar(f"{text.strip()[:40]!r} is no date or time.") from None
    return Moment(datetime.combine(day, clock), is_date=False, zone="UTC" if found[7] else zone.strip())


def duration(text: str) -> timedelta:
    """A DURATION."""
    found = _DURATION.fullmatch(text.strip())
    if not found or not any(found.groups()[1:]):
        raise BadCalendar(f"{text.strip()[:40]!r} is no duration.")
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in found.groups()[1:])
    length = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    return -length if found[1] == "-" else length


def offset(text: str) -> int:
    """A UTC-OFFSET in seconds."""
    found = re.fullmatch(r"([+-])(\d{2})(\d{2})(\d{2})?", text.strip(), re.ASCII)
    if not found:
        raise BadCalendar(f"{text.strip()[:40]!r} is no offset from UTC.")
    seconds = int(found[2]) * 3600 + int(found[3]) * 60 + int(found[4] or 0)
    if seconds >= 86_400:
        raise BadCalendar("An offset from UTC is a day or more.")
    return -seconds if found[1] == "-" else seconds


def in_utc(wall: datetime) -> datetime:
    """A wall-clock time of UTC as an instant."""
    return wall.replace(tzinfo=UTC)
