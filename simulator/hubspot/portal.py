"""What HubSpot remembers here: one portal with its tokens, objects, settings and what was asked lately."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

SCOPES = (
    "crm.objects.contacts.read",
    "crm.objects.contacts.write",
    "crm.objects.companies.read",
    "crm.objects.companies.write",
)
MODIFIED = {"contacts": "lastmodifieddate", "companies": "hs_lastmodifieddate", "emails": "hs_lastmodifieddate"}
"""When a record was changed has another name at contacts (singer-io/tap-hubspot; amp-labs/connectors PR 39)."""
LISTED = {
    "contacts": ("email", "firstname", "lastname"),
    "companies": ("name", "domain"),
    "emails": (),
}
"""Properties that answers have without being asked for."""


def iso(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


@dataclass
class CrmObject:
    kind: str
    id: str
    properties: dict[str, str]
    created: float
    updated: float
    archived_at: float | None = None
    associations: list[dict[str, Any]] = field(default_factory=list)
    indexed: dict[str, str] = field(default_factory=dict)
    """The properties as search still sees them while it lags."""
    indexed_at: float = 0.0

    def value(self, name: str) -> str | None:
        """A property, those of the system too."""
        system = {
            "hs_object_id": self.id,
            "createdate": iso(self.created),
            "hs_createdate": iso(self.created),
            MODIFIED[self.kind]: iso(self.updated),
        }
        return system.get(name) or self.properties.get(name)

    def addresses(self) -> set[str]:
        """A contact's, the primary one and the others."""
        names = [self.properties.get("email", ""), *self.properties.get("hs_additional_emails", "").split(";")]
        return {name.strip().lower() for name in names if name.strip()}

    def show(self, wanted: list[str]) -> dict[str, Any]:
        """As answers have it: what was asked for, null where it has none, and what always comes."""
        created = "hs_createdate" if self.kind == "emails" else "createdate"
        names = dict.fromkeys([*(wanted or LISTED[self.kind]), created, "hs_object_id", MODIFIED[self.kind]])
        shown: dict[str, Any] = {
            "id": self.id,
            "properties": {name: self.value(name) for name in names},
            "createdAt": iso(self.created),
            "updatedAt": iso(self.updated),
            "archived": self.archived_at is not None,
        }
        return shown | ({"archivedAt": iso(self.archived_at)} if self.archived_at is not None else {})


@dataclass
class Settings:
    requests_per_ten_seconds: int = 100
    """Per app; 0: no limit."""
    requests_per_day: int = 250_000
    search_per_second: int = 5
    """Per account; 0: no limit."""
    search_cap: int = 10_000
    """How far a search can be paged."""
    search_lag_seconds: float = 0.0
    """How long a change stays unseen by search."""
    upsert_follows_additional: bool = True
    """An upsert by a second address of a contact changes that contact; else it is refused as a conflict."""

    def change(self, values: dict[str, Any]) -> None:
        """Raises ValueError for an unknown name."""
        unknown = set(values) - {item.name for item in fields(self)}
        if unknown:
            raise ValueError(f"no such setting: {', '.join(sorted(unknown))}")
        for name, value in values.items():
            setattr(self, name, value)


@dataclass
class HubSpot:
    """The part of the world that is HubSpot."""

    portal_id: int = 48_151_623
    time_zone: str = "US/Eastern"
    tokens: dict[str, list[str]] = field(default_factory=dict)
    """Token → scopes."""
    expired: set[str] = field(default_factory=set)
    objects: dict[str, dict[str, CrmObject]] = field(default_factory=lambda: {kind: {} for kind in MODIFIED})
    """Kind → id → object, archived ones too, in the order of their ids."""
    by_address: dict[str, str] = field(default_factory=dict)
    """Address → id of the living contact that has it."""
    custom: dict[str, list[str]] = field(default_factory=dict)
    """Kind → properties the portal defined itself."""
    settings: Settings = field(default_factory=Settings)
    last_id: int = 100
    lately: deque[float] = field(default_factory=deque)
    searches: deque[float] = field(default_factory=deque)
    today: int = 0

    def add(self, kind: str, properties: dict[str, str], when: float) -> CrmObject:
        self.last_id += 1
        made = CrmObject(kind, str(self.last_id), dict(properties), when, when)
        self.objects[kind][made.id] = made
        self._index(made)
        return made

    def change(self, found: CrmObject, properties: dict[str, str], when: float) -> None:
        """Empty values clear; what search sees follows later."""
        if when - found.updated >= self.settings.search_lag_seconds:
            found.indexed, found.indexed_at = dict(found.properties), found.updated
        self._forget(found)
        merged = found.properties | properties
        found.properties = {name: value for name, value in merged.items() if value != ""}
        found.updated = when
        self._index(found)

    def archive(self, found: CrmObject, when: float) -> None:
        self._forget(found)
        found.archived_at = when

    def erase(self, found: CrmObject) -> None:
        """Without a trace, as a merge or a deletion for privacy leaves it."""
        self._forget(found)
        del self.objects[found.kind][found.id]

    def living(self, kind: str, *, archived: bool = False) -> list[CrmObject]:
        return [item for item in self.objects[kind].values() if (item.archived_at is not None) == archived]

    def _index(self, item: CrmObject) -> None:
        if item.kind == "contacts":
            self.by_address |= dict.fromkeys(item.addresses(), item.id)

    def _forget(self, item: CrmObject) -> None:
        if item.kind == "contacts":
            for address in item.addresses():
                self.by_address.pop(address, None)
