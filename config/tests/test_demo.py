"""`manage.py demo`: it makes its data anew, but never under a demo that runs, and what it seeds can be read."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from calendar_sync.providers.base import CalendarProvider
from calendar_sync.providers.google import GoogleCalendar
from calendar_sync.records import PRIVATE, RemoteEvent
from calendar_sync.tests.google_simulator import GoogleTruth, account_at
from calendar_sync.tests.graph_simulator import Mailbox
from config.management import demo_calendars
from config.management.commands.demo import MAILBOXES
from simulator.process import Simulator, running
from workspaces.runtime import product


@pytest.mark.parametrize(("given", "folder"), [("", ".demo"), ("own", "own/demo")])
def test_demo_leaves_the_data_of_a_running_demo_alone(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, given: str, folder: str
) -> None:
    """It lies in a folder of its own, below DATA_DIR where one is given: what is there is made anew each time."""
    settings.BASE_DIR, settings.DATA_DIR = tmp_path, tmp_path / (given or ".data")
    monkeypatch.setenv("DATA_DIR", given)
    with product.alone(tmp_path / folder):
        (tmp_path / folder / "data").touch()
        with pytest.raises(CommandError, match="already runs"):
            call_command("demo")
    assert (tmp_path / folder / "data").exists()


def read(provider: CalendarProvider) -> list[RemoteEvent]:
    """Every event of every calendar; nothing of it is a problem."""
    found = []
    for calendar in provider.calendars():
        page = provider.listing(calendar, "")
        whole = [*page.resources, *provider.fetch(calendar, [remote_id for remote_id, _ in page.versions])]
        assert [one.problem for one in whole if one.problem] == []
        found += [event for one in whole for event in one.events]
    return found


def opened(simulator: Simulator, email: str, vendor: str) -> CalendarProvider:
    if vendor == "google":
        return GoogleCalendar(account_at(simulator, email, GoogleTruth(simulator, email).token()))
    return Mailbox(simulator, email).provider()


def test_demo_seeds_a_week_that_every_provider_reads(settings: Any) -> None:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    with running() as simulator:
        vendors = {email: vendor for email, (vendor, _) in MAILBOXES.items()}
        for email, vendor in vendors.items():
            if vendor == "google":
                simulator.create_account(vendor, email)
        connected = {email: opened(simulator, email, vendor) for email, vendor in vendors.items()}
        demo_calendars.seed(simulator, vendors, date(2026, 11, 22))
        weeks = {email: read(provider) for email, provider in connected.items()}
    for email, events in weeks.items():
        assert any(event.recurrence.rules for event in events)
        assert any(event.span.all_day for event in events)
        assert any(event.visibility == PRIVATE for event in events)
        hosts = {event.organizer.email for event in events if event.organizer} - {email}
        assert any(host.startswith("person") for host in hosts)
    titles = [event.title for events in weeks.values() for event in events]
    assert sorted(titles) == sorted(one.title for week in demo_calendars.WEEKS for one in week)
    [standup] = [event for event in weeks["ada@demo.example"] if event.title == "Standup"]
    assert f"{standup.span.start:%Y-%m-%d %H:%M}" == "2026-11-16 09:15"
