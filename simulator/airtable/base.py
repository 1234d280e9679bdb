"""What Airtable remembers here: bases with tables, fields and records, tokens, settings, what was asked lately."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field, fields
from typing import Any

ID_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SCOPES = ("data.records:read", "data.records:write", "schema.bases:read", "user.email:read")


def make_id(prefix: str, seed: str) -> str:
    """17 characters as Airtable's: `rec` and 14 letters or digits; the same seed gives the same."""
    digest = hashlib.sha256(seed.encode()).digest()
    return prefix + "".join(ID_ALPHABET[byte % len(ID_ALPHABET)] for byte in digest[:14])


@dataclass
class Column:
    """A field of a table; `choices` are those of a select."""

    id: str
    name: str
    type: str
    choices: list[str] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"id": self.id, "name": self.name, "type": self.type}
        if self.choices:
            shown["options"] = {"choices": [{"id": make_id("sel", name), "name": name} for name in self.choices]}
        return shown


@dataclass
class Record:
    id: str
    created_time: str
    cells: dict[str, Any]
    """By field id; empty ones are absent."""


@dataclass
class Table:
    id: str
    name: str
    columns: list[Column]
    records: dict[str, Record] = field(default_factory=dict)
    """In the order of the grid."""
    made: int = 0

    def column(self, name: str) -> Column | None:
        """By name or id."""
        return next((column for column in self.columns if name in (column.name, column.id)), None)

    def add(self, cells: dict[str, Any], when: str) -> Record:
        self.made += 1
        record = Record(make_id("rec", f"{self.id}/{self.made}"), when, cells)
        self.records[record.id] = record
        return record

    def show(self, record: Record, *, by_id: bool = False, only: list[str] | None = None) -> dict[str, Any]:
        """A record as answers have it: cells by name, empty ones absent."""
        cells = {
            column.id if by_id else column.name: record.cells[column.id]
            for column in self.columns
            if column.id in record.cells and (only is None or column.id in only or column.name in only)
        }
        return {"id": record.id, "createdTime": record.created_time, "fields": cells}

    def describe(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "primaryFieldId": self.columns[0].id,
            "fields": [column.describe() for column in self.columns],
            "views": [{"id": make_id("viw", self.id), "name": "Grid view", "type": "grid"}],
        }


@dataclass
class Base:
    id: str
    name: str
    tables: dict[str, Table] = field(default_factory=dict)

    def table(self, name: str) -> Table | None:
        """By id or name."""
        return self.tables.get(name) or next((table for table in self.tables.values() if table.name == name), None)


@dataclass
class Token:
    user: str
    email: str
    scopes: list[str]
    bases: list[str] | None
    """The bases it was given; None: every one of its owner."""


@dataclass
class Settings:
    base_requests_per_second: int = 5
    owner_requests_per_second: int = 50
    penalty_seconds: float = 30.0
    """How long every call of a base (or owner) is refused after a 429."""
    monthly_calls: int = 0
    """Data calls a workspace has; 0: no end. Metadata calls go on when they are spent."""
    offset_seconds: float = 300.0
    """How long the offset of a list can be continued."""

    def change(self, values: dict[str, Any]) -> None:
        """Raises ValueError for an unknown name."""
        unknown = set(values) - {item.name for item in fields(self)}
        if unknown:
            raise ValueError(f"no such setting: {', '.join(sorted(unknown))}")
        for name, value in values.items():
            setattr(self, name, value)


@dataclass
class Airtable:
    """The part of the world that is Airtable."""

    bases: dict[str, Base] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    calls: int = 0
    """Data calls of this month."""
    lately: dict[str, deque[float]] = field(default_factory=dict)
    """Base or owner → when it was asked within the last second."""
    blocked_until: dict[str, float] = field(default_factory=dict)
    offsets: dict[str, tuple[float, list[str], int]] = field(default_factory=dict)
    """Offset → when it was given, the record ids of the whole list, where to go on."""
