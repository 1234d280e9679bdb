"""The provider in memory passes the calendar contract: what the engine's tests stand on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calendar_sync.providers.base import CalendarAccount
from calendar_sync.records import RemoteEvent
from calendar_sync.tests.contract import CalendarHarness, CalendarReadingContract
from calendar_sync.tests.factories import resource
from calendar_sync.tests.memory import Box, Memory
from core.ids import uuid7


class MemoryHarness(CalendarHarness):
    """A box, in which a series is one resource."""

    def __init__(self) -> None:
        super().__init__()
        self.email, self.box = f"{uuid7().hex}@contract.test", Box()
        Memory.boxes[self.email] = self.box

    def provider(self) -> Memory:
        return Memory(CalendarAccount(self.email))

    def make_calendar(self, name: str) -> str:
        made = f"/{uuid7().hex}/"
        self.box.add_calendar(made, name)
        return made

    def write(self, calendar: str, events: tuple[RemoteEvent, ...]) -> None:
        self.box.put(calendar, resource(*events, remote_id=events[0].uid))

    def erase(self, calendar: str, uid: str) -> None:
        self.box.delete(calendar, uid)

    def carry(self, source: str, target: str, uid: str) -> None:
        moved = self.box.resources[source][uid]
        self.box.delete(source, uid)
        self.box.put(target, moved)

    def put_broken(self, calendar: str) -> None:
        self.box.put(calendar, replace(resource(remote_id="broken"), problem="It is broken."))

    def lost(self, cursor: str) -> str:
        self.box.epoch += 1
        return cursor


class TestMemoryContract(CalendarReadingContract):
    @pytest.fixture(params=[True, False], ids=["bodies-listed", "bodies-fetched"])
    def harness(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MemoryHarness:
        monkeypatch.setattr(Memory, "boxes", {})
        monkeypatch.setattr(Memory, "bodies", request.param)
        return MemoryHarness()
