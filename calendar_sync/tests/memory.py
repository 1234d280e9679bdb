"""A calendar provider in memory: what the engine is tested against where no server has to be real.

Listings come in pages with bodies, as those of the large vendors do, and it fails on demand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from calendar_sync.providers.base import CalendarProvider
from calendar_sync.records import ChangePage, ListingPage, RemoteCalendar, RemoteResource
from core.errors import CursorExpired, RemoteMissing

PAGE = 3


@dataclass
class Box:
    """One account: calendars by id, each with its resources; every change has a number."""

    calendars: dict[str, RemoteCalendar] = field(default_factory=dict)
    resources: dict[str, dict[str, RemoteResource]] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    """(calendar, remote id) of everything that changed, in order."""
    epoch: int = 0
    """Cursors of another epoch are lost."""
    asked: list[str] = field(default_factory=list)
    fail: Callable[[str], None] = lambda call: None

    def add_calendar(self, remote_id: str, name: str = "Work", **fields: object) -> None:
        self.calendars[remote_id] = RemoteCalendar(remote_id, name, **fields)  # type: ignore[arg-type]
        self.resources.setdefault(remote_id, {})

    def put(self, calendar: str, resource: RemoteResource) -> None:
        self.log.append((calendar, resource.remote_id))
        self.resources[calendar][resource.remote_id] = replace(resource, etag=str(len(self.log)))

    def delete(self, calendar: str, remote_id: str) -> None:
        self.log.append((calendar, remote_id))
        del self.resources[calendar][remote_id]


class Memory(CalendarProvider):
    """Bodies come with the listing (`bodies`) or have to be fetched."""

    key = "imap"
    boxes: ClassVar[dict[str, Box]] = {}
    bodies: ClassVar[bool] = True

    @property
    def box(self) -> Box:
        return self.boxes[self.account.email]

    def _ask(self, call: str, calendar: str = "") -> None:
        self.box.asked.append(f"{call} {calendar}".strip())
        self.box.fail(call)
        if calendar and calendar not in self.box.calendars:
            raise RemoteMissing("There is no such calendar.")

    def calendars(self) -> list[RemoteCalendar]:
        self._ask("calendars")
        return list(self.box.calendars.values())

    def start_cursor(self, calendar: RemoteCalendar) -> str:
        self._ask("start_cursor", calendar.remote_id)
        return f"{self.box.epoch}:{len(self.box.log)}"

    def listing(self, calendar: RemoteCalendar, token: str) -> ListingPage:
        self._ask("listing", calendar.remote_id)
        ids = sorted(self.box.resources[calendar.remote_id])
        rest = [remote_id for remote_id in ids if remote_id > token]
        found = [self.box.resources[calendar.remote_id][remote_id] for remote_id in rest[:PAGE]]
        following = rest[PAGE - 1] if len(rest) > PAGE else ""
        if self.bodies:
            return ListingPage(resources=tuple(found), next_token=following, total=len(ids))
        versions = tuple((one.remote_id, one.etag) for one in found)
        return ListingPage(versions=versions, next_token=following, total=len(ids))

    def changes(self, calendar: RemoteCalendar, cursor: str) -> ChangePage:
        self._ask("changes", calendar.remote_id)
        epoch, _, number = cursor.partition(":")
        if epoch != str(self.box.epoch):
            raise CursorExpired
        since = self.box.log[int(number) : int(number) + PAGE]
        changed = list(dict.fromkeys(remote_id for where, remote_id in since if where == calendar.remote_id))
        there = self.box.resources[calendar.remote_id]
        upto = int(number) + len(since)
        return ChangePage(
            cursor=f"{epoch}:{upto}",
            versions=tuple((remote_id, there[remote_id].etag) for remote_id in changed if remote_id in there),
            removed=tuple(remote_id for remote_id in changed if remote_id not in there),
            more=upto < len(self.box.log),
        )

    def fetch(self, calendar: RemoteCalendar, remote_ids: Sequence[str]) -> Iterator[RemoteResource]:
        self._ask("fetch", calendar.remote_id)
        there = self.box.resources[calendar.remote_id]
        yield from (there[remote_id] for remote_id in remote_ids if remote_id in there)
