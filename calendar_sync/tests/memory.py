"""A calendar provider in memory: what the engine is tested against where no server has to be real.

Listings come in pages with bodies, as those of the large vendors do, and it fails on demand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from calendar_sync.providers.base import CalendarProvider
from calendar_sync.records import (
    CANCELLED,
    ChangePage,
    EventDraft,
    ListingPage,
    Recurrence,
    RemoteCalendar,
    RemoteEvent,
    RemoteResource,
    Target,
)
from core.errors import CursorExpired, RemoteChanged, RemoteMissing

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

    # --- writing: as providers that store a series with its changed occurrences ---------------------------------

    def create(self, calendar: RemoteCalendar, draft: EventDraft, *, key: str, notify: str) -> RemoteResource:
        self._ask("create", calendar.remote_id)
        remote_id = f"{calendar.remote_id}{key}"
        if remote_id not in self.box.resources[calendar.remote_id]:
            self.box.put(calendar.remote_id, RemoteResource(remote_id, "", events=(_event(f"{key}@memory", draft),)))
        self.box.fail("created")
        return self.box.resources[calendar.remote_id][remote_id]

    def update(
        self, calendar: RemoteCalendar, target: Target, draft: EventDraft, changed: frozenset[str], *, notify: str
    ) -> tuple[RemoteResource, ...]:
        self._ask("update", calendar.remote_id)
        stored = self._seen(calendar, target)
        others = tuple(one for one in stored.events if one.recurrence_key != target.recurrence_key)
        event = replace(_event(stored.events[0].uid, draft), recurrence_key=target.recurrence_key)
        events = tuple(sorted((event, *others), key=lambda one: one.recurrence_key))
        self.box.put(calendar.remote_id, replace(stored, events=events))
        self.box.fail("updated")
        return (self.box.resources[calendar.remote_id][target.remote_id],)

    def delete(self, calendar: RemoteCalendar, target: Target, *, notify: str) -> tuple[RemoteResource, ...]:
        self._ask("delete", calendar.remote_id)
        stored = self._seen(calendar, target)
        if not target.recurrence_key:
            self.box.delete(calendar.remote_id, target.remote_id)
            return ()
        others = tuple(one for one in stored.events if one.recurrence_key != target.recurrence_key)
        gone = replace(
            stored.events[0], recurrence=Recurrence(), recurrence_key=target.recurrence_key, status=CANCELLED
        )
        self.box.put(calendar.remote_id, replace(stored, events=(*others, gone)))
        return (self.box.resources[calendar.remote_id][target.remote_id],)

    def respond(
        self, calendar: RemoteCalendar, target: Target, response: str, *, notify: str, comment: str = ""
    ) -> tuple[RemoteResource, ...]:
        self._ask("respond", calendar.remote_id)
        stored = self._seen(calendar, target)
        own = self.account.email
        events = tuple(
            replace(event, attendees=tuple(
                replace(one, response=response) if one.email == own else one for one in event.attendees
            ))
            for event in stored.events
        )  # fmt: skip
        self.box.put(calendar.remote_id, replace(stored, events=events))
        return (self.box.resources[calendar.remote_id][target.remote_id],)

    def _seen(self, calendar: RemoteCalendar, target: Target) -> RemoteResource:
        stored = self.box.resources[calendar.remote_id].get(target.remote_id)
        if stored is None:
            raise RemoteMissing
        if stored.etag != target.etag:
            raise RemoteChanged
        return stored


def _event(uid: str, draft: EventDraft) -> RemoteEvent:
    return RemoteEvent(
        uid, draft.span, draft.title, draft.description, draft.location, visibility=draft.visibility, busy=draft.busy,
        attendees=draft.attendees, recurrence=draft.recurrence,
    )  # fmt: skip
