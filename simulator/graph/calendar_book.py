"""What a mailbox holds of calendars: calendars, events, and of a series what differs from it. Kept in the world's part
`Books`; changed by `calendar_events` for API callers and by `calendar_control` behind the hub's back.

As in Exchange, a changed or cancelled occurrence is kept inside its series, whose change key and time of change move
with it.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from simulator.graph import calendar_times
from simulator.state import Account, World

JsonObject = dict[str, Any]
GLOBAL_ID = "040000008200E00074C5B7101A82E008"


@dataclass
class BookCalendar:
    id: str
    name: str
    can_edit: bool = True
    hex_color: str = ""
    is_default: bool = False
    owner: str = ""


@dataclass(frozen=True)
class BookChange:
    """Something that happened to an event. `id` is the mutable id it had then."""

    seq: int
    kind: str
    """added, changed or removed."""
    id: str
    immutable_id: str


@dataclass
class BookEvent:
    """`fields` are Graph's own, as they were given; times as dateTimeTimeZone."""

    id: str
    immutable_id: str
    calendar_id: str
    ical_uid: str
    fields: JsonObject
    created: float
    modified: float
    version: int = 1
    is_organizer: bool = True
    response: str = "organizer"
    transaction_id: str = ""
    changed: dict[date, JsonObject] = field(default_factory=dict)
    """Of a series: day → fields that are other on it."""
    cancelled: set[date] = field(default_factory=set)

    @property
    def recurrence(self) -> JsonObject | None:
        return self.fields.get("recurrence")

    @property
    def start(self) -> datetime:
        return calendar_times.instant(self.fields["start"])

    @property
    def length(self) -> timedelta:
        return calendar_times.instant(self.fields["end"]) - self.start

    @property
    def etag(self) -> str:
        return f'W/"{self.change_key}"'

    @property
    def change_key(self) -> str:
        return base64.b64encode(f"{self.immutable_id[-12:]}{self.version:08}".encode()).decode()

    def day_starts(self, until: datetime) -> Iterator[tuple[date, datetime]]:
        """Of a series: each day that is not cancelled, and when its occurrence began before it was changed."""
        if self.recurrence is None:
            return
        for day in calendar_times.days(self.recurrence, until.date() + timedelta(days=1)):
            if day not in self.cancelled:
                yield day, self.day_start(day)

    def day_start(self, day: date) -> datetime:
        """When the occurrence of this day began before it was changed."""
        clock = calendar_times.wall(self.fields["start"]).time()
        where = calendar_times.zone(str(self.fields["start"].get("timeZone") or "UTC"))
        return datetime.combine(day, clock, where).astimezone(UTC)

    def has(self, day: date) -> bool:
        """Whether the series has this occurrence, still."""
        near = datetime.combine(day, datetime.min.time(), UTC) + timedelta(days=1)
        return any(one == day for one, _ in self.day_starts(near))


class Book:
    """One mailbox's calendars."""

    def __init__(self, account: Account, seed: int) -> None:
        self.random = random.Random(f"{seed}/calendars/{account.email}")
        self.email = account.email
        self.calendars: dict[str, BookCalendar] = {}
        self.changes: list[BookChange] = []
        self.events: dict[str, BookEvent] = {}
        """By immutable id."""
        self.add_calendar("Calendar", is_default=True)

    @property
    def default(self) -> BookCalendar:
        return next(calendar for calendar in self.calendars.values() if calendar.is_default)

    def add_calendar(self, name: str, **facts: Any) -> BookCalendar:
        calendar = BookCalendar(self._new_id("AQMkAD", 60), name, owner=self.email, **facts)
        self.calendars[calendar.id] = calendar
        return calendar

    def add(self, calendar_id: str, fields: JsonObject, now: float, **facts: Any) -> BookEvent:
        uid = facts.pop("ical_uid", "") or GLOBAL_ID + "0" * 8 + "".join(self.random.choices("0123456789ABCDEF", k=72))
        event = BookEvent(
            self._new_id("AAMkAD", 80), self._new_id("AAkALg", 80), calendar_id, uid, fields, now, now, **facts
        )
        self.events[event.immutable_id] = event
        self._note("added", event, event.id)
        return event

    def find(self, identity: str) -> tuple[BookEvent, date | None] | None:
        """An event by either kind of id, or an occurrence: the id of its series and its day."""
        head, _, tail = identity.partition(".OC")
        for event in self.events.values():
            if head in (event.id, event.immutable_id):
                return event, date.fromisoformat(tail) if tail else None
        return None

    def by_calendar(self, calendar_id: str) -> list[BookEvent]:
        return [event for event in self.events.values() if event.calendar_id == calendar_id]

    def touch(self, event: BookEvent, now: float) -> None:
        """Something of it changed."""
        event.version += 1
        event.modified = now
        self._note("changed", event, event.id)

    def remove(self, event: BookEvent) -> None:
        """For good."""
        del self.events[event.immutable_id]
        self._note("removed", event, event.id)

    def move(self, event: BookEvent, calendar_id: str) -> None:
        """Its mutable id changes; the time of its last change does not."""
        before, event.calendar_id, event.id = event.id, calendar_id, self._new_id("AAMkAD", 80)
        self._note("removed", event, before)
        self._note("added", event, event.id)

    @property
    def seq(self) -> int:
        """Of the last change."""
        return len(self.changes)

    def _note(self, kind: str, event: BookEvent, identity: str) -> None:
        self.changes.append(BookChange(self.seq + 1, kind, identity, event.immutable_id))

    def _new_id(self, prefix: str, length: int) -> str:
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        return prefix + "".join(self.random.choices(letters, k=length)) + "="


@dataclass
class Books:
    """The world's part."""

    by_address: dict[str, Book] = field(default_factory=dict)


def book_of(world: World, account: Account) -> Book:
    """Made when it is first asked for."""
    books = world.part(Books).by_address
    if account.email not in books:
        books[account.email] = Book(account, world.seed)
    return books[account.email]
