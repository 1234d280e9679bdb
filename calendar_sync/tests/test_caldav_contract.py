"""CalDAV passes the calendar contract, against Radicale and against xandikos."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from calendar_sync.ics_writing import write_events
from calendar_sync.providers.base import CalendarAccount
from calendar_sync.providers.caldav import CalDav
from calendar_sync.records import RemoteEvent
from calendar_sync.tests.contract import CalendarHarness, CalendarReadingContract
from calendar_sync.tests.factories import remote
from calendar_sync.tests.servers import PASSWORD, USER, Server

STAMP = datetime(2026, 1, 1, tzinfo=UTC)


class CalDavHarness(CalendarHarness):
    """One user's home at a real server."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server

    def provider(self) -> CalDav:
        options = {"caldav": {"url": self.server.url, "username": USER}}
        return CalDav(CalendarAccount(USER, settings=options, secrets={"caldavPassword": PASSWORD}))

    def make_calendar(self, name: str) -> str:
        return self.server.make_calendar(name)

    def write(self, calendar: str, events: tuple[RemoteEvent, ...]) -> None:
        self.server.put(calendar, write_events(events, stamp=STAMP), _name(events[0].uid))

    def erase(self, calendar: str, uid: str) -> None:
        self.server.delete(f"{calendar}{_name(uid)}.ics")

    def carry(self, source: str, target: str, uid: str) -> None:
        self.erase(source, uid)
        self.write(target, self.stored[source][uid])

    def put_broken(self, calendar: str) -> None:
        text = write_events([remote("Broken", uid="broken")], stamp=STAMP)
        self.server.put(calendar, text.replace(":20260105T100000", ":29990105T100000"), "broken")

    def lost(self, cursor: str) -> str:
        return "sync:http://radicale.org/ns/sync/" + "0" * 64


def _name(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:20]


class TestCalDavContract(CalendarReadingContract):
    pages_are_small = False

    @pytest.fixture
    def harness(self, server: Server) -> CalDavHarness:
        return CalDavHarness(server)
