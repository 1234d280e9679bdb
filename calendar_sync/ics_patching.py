"""Changing a stored iCalendar resource in places: its series, one occurrence of it, an answer to an invitation.

Only the properties that a change is about are written anew, by `ics_writing`; alarms, categories, attachments and what
vendors add stay. Whoever moves a whole series takes its changed occurrences along; those that the new rule no longer
makes go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from calendar_sync import recurrence, zones
from calendar_sync.content import BadCalendar
from calendar_sync.ics import events_in_order
from calendar_sync.ics_nodes import Node, parse, split, text_of, with_parameter
from calendar_sync.ics_writing import write_events
from calendar_sync.moving import moved_change, moved_key, wall_of
from calendar_sync.records import EventDraft, Person, Recurrence, RemoteEvent, Span
from calendar_sync.recurrence import moment_of
from core.addresses import exact
from core.errors import RemoteMissing

TIMES = ("DTSTART", "DTEND", "DURATION")
RULES = ("RRULE", "EXRULE", "RDATE", "EXDATE")
PROPERTIES = {
    "title": ("SUMMARY",),
    "description": ("DESCRIPTION", "X-ALT-DESC"),
    "location": ("LOCATION", "X-APPLE-STRUCTURED-LOCATION"),
    "span": TIMES,
    "recurrence": RULES,
    "visibility": ("CLASS",),
    "busy": ("TRANSP", "X-MICROSOFT-CDO-BUSYSTATUS"),
}
"""What a field of a draft is written as; a vendor's other words for it would contradict it."""
MANY = 100_000


class Resource:
    """One stored resource while it is changed. BadCalendar where its text cannot be read."""

    def __init__(self, raw: str, *, time_zone: str, stamp: datetime) -> None:
        self.roots = parse(raw)
        nodes = [event for root in self.roots for event in root.children("VEVENT")]
        events = events_in_order(raw, time_zone=time_zone)
        if len(nodes) != len(events):
            raise BadCalendar("The calendar data cannot be taken apart.")
        self.parts: list[tuple[Node, RemoteEvent]] = list(zip(nodes, events, strict=True))
        self.stamp = stamp

    def text(self) -> str:
        """As it is now."""
        return text_of(self.roots)

    @property
    def is_empty(self) -> bool:
        """No event is left in it."""
        return not self.parts

    def _master(self) -> tuple[Node, RemoteEvent] | None:
        return next((part for part in self.parts if not part[1].recurrence_key), None)

    def _part(self, key: str) -> tuple[Node, RemoteEvent] | None:
        return next((part for part in self.parts if part[1].recurrence_key == key), None)

    # --- changes --------------------------------------------------------------------------------------------------

    def change(self, key: str, draft: EventDraft, changed: frozenset[str], organizer: Person) -> None:
        """Write what `changed` names: of the whole, or of the occurrence `key`."""
        node, event = self._found(key)
        if key:
            changed -= {"recurrence"}
        wanted = _wanted(event, draft, changed, organizer)
        lines = self._rendered(wanted)
        for name in changed & PROPERTIES.keys():
            node.replace(PROPERTIES[name], lines.lines(*PROPERTIES[name]))
        if "attendees" in changed:
            _put_attendees(node, lines)
        self._stamped(node, wanted.sequence)
        self._set(node, wanted)
        if not key and changed & {"span", "recurrence"}:
            self._carry_along(event, wanted)

    def cancel(self, key: str) -> None:
        """Take the occurrence out."""
        if (part := self._part(key)) is not None:
            self._drop([part[0]])
        master = self._master()
        if master is None:
            return
        node, event = master
        moment = moment_of(key)
        if moment is None:
            raise RemoteMissing("The series has no such occurrence.")
        alone = replace(event, recurrence=Recurrence(("FREQ=DAILY",), left_out=frozenset({moment})))
        node.replace((), self._rendered(alone).lines("EXDATE"))
        self._stamped(node, event.sequence + 1)

    def respond(self, key: str, email: str, response: str) -> bool:
        """Write the answer of this address; False where it is not invited."""
        parts = [self._found(key)] if key else self.parts
        invited = False
        for node, _ in parts:
            lines = node.lines("ATTENDEE")
            answered = [_answered(line, response) if _address(line) == exact(email) else line for line in lines]
            if any(_address(line) == exact(email) for line in lines):
                invited = True
                node.replace(("ATTENDEE",), answered)
                self._stamped(node, None)
        return invited

    # --- parts ----------------------------------------------------------------------------------------------------

    def _found(self, key: str) -> tuple[Node, RemoteEvent]:
        """The whole, or the changed occurrence, made where there is none yet."""
        if (part := self._part(key)) is not None:
            return part
        master = self._master()
        if master is None or not key:
            raise RemoteMissing("The server no longer has this event.")
        return self._made(key, master)

    def _made(self, key: str, master: tuple[Node, RemoteEvent]) -> tuple[Node, RemoteEvent]:
        """An occurrence as it was, apart from its series."""
        node, event = master
        where = recurrence.zone_of(event.span, UTC)
        moment = moment_of(key)
        if moment is None:
            raise RemoteMissing("The series has no such occurrence.")
        wall = zones.wall(moment, where) if moment.tzinfo else moment
        since = [part for part in self.parts if part[1].following and part[1].recurrence_key <= key]
        if since:  # RANGE=THISANDFUTURE: it is like that one
            node, changed = max(since, key=lambda part: part[1].recurrence_key)
            before = wall_of(changed.recurrence_key, master[1].span) or changed.span.start
            event, wall = replace(changed, following=False), wall + (changed.span.start - before)
        span = replace(event.span, start=wall)
        made = replace(event, span=span, recurrence=Recurrence(), recurrence_key=key)
        lines = self._rendered(made)
        copy = node.copy()
        copy.replace((*RULES, "RECURRENCE-ID"), self._recurrence_id(key, master[1].span, made))
        copy.replace(TIMES, lines.lines(*TIMES))
        root = next(root for root in self.roots if any(child is master[0] for child in root.items))
        root.items.append(copy)
        self.parts.append((copy, made))
        return copy, made

    def _recurrence_id(self, key: str, span: Span, event: RemoteEvent) -> list[str]:
        """In the form of its series' start (RFC 5545 3.8.4.4)."""
        bare = replace(event, span=span, recurrence=Recurrence(), recurrence_key=key)
        return self._rendered(bare).lines("RECURRENCE-ID")

    def _rendered(self, event: RemoteEvent) -> Node:
        """The event as lines; the zones they name are defined in the resource."""
        [calendar] = parse(write_events([event], stamp=self.stamp))
        home = self.roots[0]
        defined = {line for zone in home.children("VTIMEZONE") for line in zone.lines("TZID")}
        new = [zone for zone in calendar.children("VTIMEZONE") if not defined & set(zone.lines("TZID"))]
        if new:
            inner = (place for place, item in enumerate(home.items) if isinstance(item, Node))
            at = next(inner, len(home.items))
            home.items[at:at] = new
        return calendar.children("VEVENT")[0]

    def _stamped(self, node: Node, sequence: int | None) -> None:
        moment = f"{self.stamp.astimezone(UTC):%Y%m%dT%H%M%SZ}"
        node.replace(("DTSTAMP",), [f"DTSTAMP:{moment}"])
        node.replace(("LAST-MODIFIED",), [f"LAST-MODIFIED:{moment}"])
        if sequence is not None:
            node.replace(("SEQUENCE",), [f"SEQUENCE:{sequence}"])

    def _set(self, node: Node, event: RemoteEvent) -> None:
        self.parts = [(one, event if one is node else other) for one, other in self.parts]

    def _drop(self, nodes: Sequence[Node]) -> None:
        for root in self.roots:
            root.items = [item for item in root.items if not any(item is node for node in nodes)]
        self.parts = [part for part in self.parts if not any(part[0] is node for node in nodes)]

    # --- the changed occurrences of a series that moves -----------------------------------------------------------

    def _carry_along(self, before: RemoteEvent, after: RemoteEvent) -> None:
        changes = [part for part in self.parts if part[1].recurrence_key]
        keys = {id(node): moved_key(event.recurrence_key, before.span, after.span) for node, event in changes}
        fitting = _generated(after, [key for key in keys.values() if key])
        self._drop([node for node, _ in changes if keys[id(node)] not in fitting])
        for node, event in [part for part in self.parts if part[1].recurrence_key]:
            key = keys[id(node)]
            span = moved_change(event.span, event.recurrence_key, before.span, after.span)
            if (key, span) == (event.recurrence_key, event.span) and before.span == after.span:
                continue
            made = replace(event, span=span, recurrence_key=key, sequence=event.sequence + 1)
            [line] = self._recurrence_id(key, after.span, made)
            node.replace(
                ("RECURRENCE-ID",), [with_parameter(line, "RANGE", "THISANDFUTURE" if event.following else "")]
            )
            node.replace(TIMES, self._rendered(made).lines(*TIMES))
            self._stamped(node, made.sequence)
            self._set(node, made)


def _wanted(event: RemoteEvent, draft: EventDraft, changed: frozenset[str], organizer: Person) -> RemoteEvent:
    given = {name: getattr(draft, name) for name in changed & {*PROPERTIES, "attendees"}}
    wanted = replace(event, sequence=event.sequence + 1, **given)
    if wanted.attendees and wanted.organizer is None:
        return replace(wanted, organizer=organizer)
    return wanted


# --- people -------------------------------------------------------------------------------------------------------


def _address(line: str) -> str:
    """Of an ATTENDEE line, to be compared."""
    value = split(line)[1].strip()
    return exact(value[7:] if value[:7].lower() == "mailto:" else value)


def _put_attendees(node: Node, wanted: Node) -> None:
    """Who stays keeps their line, with what servers noted there."""
    known = {_address(line): line for line in node.lines("ATTENDEE")}
    lines = []
    for line in wanted.lines("ATTENDEE"):
        role = next((part for part in split(line)[0] if part.upper().startswith("ROLE=")), "")
        kept = known.get(_address(line))
        if kept is None:
            lines.append(with_parameter(line, "RSVP", "TRUE"))
        elif role:
            lines.append(with_parameter(kept, "ROLE", role.partition("=")[2]))
        else:
            optional = "OPT-PARTICIPANT" in kept.upper()
            lines.append(with_parameter(kept, "ROLE", "") if optional else kept)
    node.replace(("ATTENDEE",), lines)
    if lines and not node.lines("ORGANIZER"):
        node.replace(("ORGANIZER",), wanted.lines("ORGANIZER"))


def _answered(line: str, response: str) -> str:
    return with_parameter(with_parameter(line, "PARTSTAT", response.upper()), "RSVP", "")


# --- times --------------------------------------------------------------------------------------------------------


def _generated(series: RemoteEvent, keys: Iterable[str]) -> set[str]:
    """Those of these keys that the series makes. What cannot be worked out counts as made: nothing goes on a guess."""
    wanted = set(keys)
    moments = [moment for key in wanted if (moment := moment_of(key)) is not None]
    if not moments or not series.recurrence:
        return set()
    times = [moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in moments]
    margin = timedelta(days=2)
    found = recurrence.expand(series.span, series.recurrence, None, min(times) - margin, max(times) + margin, most=MANY)
    return wanted if found.cut else wanted & {one.key for one in found.occurrences}
