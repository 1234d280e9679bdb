"""What the stand-in remembers of calendars: per account its calendars, per calendar its events and in which order they
changed. Every change goes through `put`, so that each has its number, its etag and its place in the next sync."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
ZONE = "Europe/Berlin"
ROLES = ("freeBusyReader", "reader", "writerWithoutPrivateAccess", "writer", "owner")
GUARANTEED = ("kind", "etag", "id", "status", "recurringEventId", "originalStartTime")
"""What Google promises of a cancelled event."""


@dataclass
class Item:
    """One event, as Google stores it: a single one, a series, or one changed or cancelled instance of a series."""

    body: Json
    number: int = 0
    """Of its last change."""

    @property
    def id(self) -> str:
        return str(self.body["id"])

    @property
    def cancelled(self) -> bool:
        return bool(self.body.get("status") == "cancelled")

    @property
    def parent(self) -> str:
        return str(self.body.get("recurringEventId", ""))

    @property
    def position(self) -> tuple[int, str]:
        """Where it stands in a listing: instances before their series, so that a client cannot rely on the order."""
        return (0 if self.parent else 1), self.id


@dataclass
class Calendar:
    """A calendar as one account sees it."""

    id: str
    summary: str
    time_zone: str = ZONE
    access_role: str = "owner"
    primary: bool = False
    selected: bool = True
    hidden: bool = False
    color: str = "#9fe1e7"
    items: dict[str, Item] = field(default_factory=dict)
    number: int = 0
    floor: int = 0
    """Sync tokens of before this number are too old."""

    def put(self, body: Json, now: float) -> Item:
        """Stores an event, with a new etag."""
        self.number += 1
        etag = f'"{3_500_000_000_000_000 + self.number * 2}"'
        item = Item(body | {"kind": "calendar#event", "etag": etag, "updated": stamp(now)}, self.number)
        self.items[item.id] = item
        return item

    def cancel(self, item: Item, now: float) -> Item:
        """What is left of a deleted event: what Google guarantees and nothing else."""
        body = {name: value for name, value in item.body.items() if name in GUARANTEED}
        cancelled = self.put(body | {"status": "cancelled"}, now)
        del cancelled.body["updated"]
        return cancelled

    def instances_of(self, master: str) -> list[Item]:
        """The changed and cancelled instances of a series."""
        return [item for item in self.items.values() if item.parent == master]

    def listed(self, after: tuple[int, str] | None) -> Iterator[Item]:
        """Everything from a position on."""
        found = sorted(self.items.values(), key=lambda item: item.position)
        return (item for item in found if after is None or item.position > after)

    def changed(self, since: int, until: int) -> Iterator[Item]:
        """What changed between two numbers, in order."""
        found = sorted(self.items.values(), key=lambda item: item.number)
        return (item for item in found if since < item.number <= until)

    def writable(self) -> bool:
        return ROLES.index(self.access_role) >= ROLES.index("writerWithoutPrivateAccess")

    def describe(self) -> Json:
        """Its entry in the calendar list."""
        entry: Json = {
            "kind": "calendar#calendarListEntry",
            "etag": f'"{self.number}"',
            "id": self.id,
            "summary": self.summary,
            "timeZone": self.time_zone,
            "accessRole": self.access_role,
            "backgroundColor": self.color,
            "foregroundColor": "#000000",
            "defaultReminders": [],
        }
        flags = {"primary": self.primary, "selected": self.selected, "hidden": self.hidden}
        return entry | {name: True for name, value in flags.items() if value}


@dataclass
class CalendarState:
    """Every account's calendars."""

    books: dict[str, dict[str, Calendar]] = field(default_factory=dict)
    list_numbers: dict[str, int] = field(default_factory=dict)
    """How often an account's list of calendars has changed."""
    made: int = 0

    def book(self, email: str) -> dict[str, Calendar]:
        """An account's calendars by id; everybody has a primary one, whose id is the address."""
        if email not in self.books:
            self.books[email] = {email: Calendar(email, email, primary=True)}
        return self.books[email]

    def list_number(self, email: str) -> int:
        return self.list_numbers.get(email, 0)

    def list_changed(self, email: str) -> None:
        """A calendar came, went, or is shown otherwise."""
        self.list_numbers[email] = self.list_number(email) + 1

    def new_id(self, seed: int, prefix: str = "") -> str:
        """26 characters of base32hex, as Google's."""
        self.made += 1
        text, number = "", seed * 1_000_003 + self.made * 7_919
        while number:
            number, digit = divmod(number, 32)
            text = "0123456789abcdefghijklmnopqrstuv"[digit] + text
        return prefix + text.rjust(26 - len(prefix), "0")


def stamp(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
