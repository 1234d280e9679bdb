"""Fixtures of the calendar tests: an account in memory, and real CalDAV servers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db.models.functions import Now

from calendar_sync.models import CalendarEvent, Occurrence
from calendar_sync.providers import CALENDAR_PROVIDERS
from calendar_sync.services.engine import CalendarEngine
from calendar_sync.tests.factories import connect
from calendar_sync.tests.memory import Box, Memory
from calendar_sync.tests.servers import PASSWORD, SERVERS, USER, Server
from integrations.models import Connection, Event, SyncRun
from integrations.services import sync_runs
from workspaces.tests.fixtures import Actor


@dataclass
class Account:
    """A member's account and its connection."""

    connection: Connection
    box: Box = field(default_factory=Box)

    def sync(self, trigger: str = "user") -> SyncRun:
        """One whole run, as a worker would do it. What it had to wait for is over."""
        run = sync_runs.start(connection=self.connection, type="calendar", trigger=trigger)
        SyncRun.objects.filter(pk=run.pk).update(next_attempt_at=Now())
        while sync_runs.execute(run.pk):
            pass
        run.refresh_from_db()
        self.connection.refresh_from_db()
        return run

    def slice(self, seconds: float = 30.0) -> bool:
        """One slice of the engine itself, errors included."""
        run = sync_runs.start(connection=self.connection, type="calendar", trigger="user")
        held = SyncRun.objects.claim(run.pk, lease_seconds=60)
        assert held is not None
        try:
            return CalendarEngine().run(held, deadline=time.monotonic() + seconds)
        finally:
            held.finish()

    def titles(self) -> list[str]:
        """Of what is shown, by calendar and start."""
        rows = Occurrence.objects.filter(event__connection=self.connection).order_by("starts_at", "source__title")
        found = rows.values_list("source__title", "calendar__name")
        return [f"{calendar}/{title}" for title, calendar in found]

    def rows(self) -> dict[str, Any]:
        """Title → id of what is there."""
        return dict(CalendarEvent.objects.present().filter(connection=self.connection).values_list("title", "pk"))

    def told(self) -> list[str]:
        """Types of events that were told."""
        events = Event.objects.filter(connection=self.connection, type__startswith="calendar.")
        return list(events.order_by("transaction", "id").values_list("type", flat=True))


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calendars of password accounts are in memory."""
    monkeypatch.setitem(CALENDAR_PROVIDERS._loaded, Memory.key, Memory)
    monkeypatch.setattr(Memory, "boxes", {})


@pytest.fixture(params=[True, False], ids=["bodies-listed", "bodies-fetched"])
def account(request: pytest.FixtureRequest, memory: None, member: Actor, monkeypatch: pytest.MonkeyPatch) -> Account:
    """The member's connected account with one empty calendar."""
    monkeypatch.setattr(Memory, "bodies", request.param)
    made = Account(connect(member, "ada@contract.test"))
    made.box.add_calendar("/work/")
    Memory.boxes[made.connection.account_email] = made.box
    return made


@pytest.fixture(scope="session", params=list(SERVERS))
def any_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One after the other, each once for all tests."""
    with SERVERS[request.param](tmp_path_factory.mktemp(request.param) / "server") as server:
        yield server


@pytest.fixture
def server(any_server: Server, settings: Any) -> Server:
    """A running server, with no calendars."""
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    while any_server.made:
        any_server.ask("DELETE", any_server.made.pop())
    return any_server


@pytest.fixture
def served(server: Server, member: Actor) -> Account:
    """The member's account at the server."""
    options = {"caldav": {"url": server.url, "username": USER}}
    return Account(connect(member, USER, options=options, credentials={"caldavPassword": PASSWORD}))
