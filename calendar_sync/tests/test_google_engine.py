"""Google Calendar under the engine, from the simulator to the database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from calendar_sync.models import Calendar, CalendarEvent
from calendar_sync.services import coverage
from calendar_sync.tests.conftest import Account
from calendar_sync.tests.contract import CalendarReadingContract
from calendar_sync.tests.factories import connect, remote
from calendar_sync.tests.google_simulator import GoogleHarness
from simulator.process import Simulator, running
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db
ADA = "ada@contract.test"


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def harness(process: Simulator, settings: Any) -> GoogleHarness:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    settings.CALENDAR_PROVIDER_SETTINGS = {"google": {"calendarApiUrl": process.base_url, "quotaUnits": 0}}
    process.reset(seed=6)
    return GoogleHarness(process, ADA)


@pytest.fixture
def account(harness: GoogleHarness, member: Actor) -> Account:
    """The member's connected Google account."""
    connection = connect(member, ADA, options={})
    connection.provider, connection.credentials = "google", {"access_token": harness.token}
    connection.save()
    return Account(connection)


def test_sync_of_google_stores_series_with_changed_and_cancelled_occurrences_and_follows(
    account: Account, harness: GoogleHarness
) -> None:
    work = harness.calendar("Work")
    harness.put(work, *CalendarReadingContract.series())
    harness.put(work, remote("Goes", uid="goes"))
    harness.put_broken(work)
    assert account.sync().status == "done"
    assert account.titles().count("Work/Daily") == 3
    assert account.titles().count("Work/Later") == 1
    assert coverage.incomplete(account.connection) == 1
    assert account.told() == []
    harness.remove(work, "goes")
    account.sync()
    assert account.told() == ["calendar.event.deleted"]
    assert CalendarEvent.objects.get(title="Goes").removed_cause == "deleted"
    harness.remove(work, "series")
    account.sync()
    assert account.titles() == []


def test_sync_of_google_with_a_token_too_old_returns_nothing_deleted(account: Account, harness: GoogleHarness) -> None:
    work = harness.calendar("Work")
    for name in ("stays", "goes"):
        harness.put(work, remote(name, uid=name))
    account.sync()
    ids = account.rows()
    harness.remove(work, "goes")
    harness.lost("")
    assert account.sync().status == "done"
    assert account.titles() == ["Work/stays"]
    assert account.rows() == {"stays": ids["stays"]}


def test_sync_of_google_keeps_an_event_that_moved_and_reads_only_what_is_ticked(
    account: Account, harness: GoogleHarness
) -> None:
    work, home = harness.calendar("Work"), harness.calendar("Home")
    harness.truth_of.add_calendar("holidays@group.v.calendar.google.com", selected=False, access_role="reader")
    harness.put(work, remote("Moves", uid="moves", rule="FREQ=DAILY;COUNT=2"))
    account.sync()
    ids = account.rows()
    harness.move(work, home, "moves")
    account.sync()
    assert account.rows() == ids
    assert account.titles() == ["Home/Moves"] * 2
    holidays = Calendar.objects.get(remote_id="holidays@group.v.calendar.google.com")
    assert (holidays.selected, holidays.read_only) == (False, True)
    assert Calendar.objects.get(is_primary=True).remote_id == ADA


def test_events_written_to_google_are_as_a_sync_finds_them(
    account: Account, harness: GoogleHarness, member: Actor
) -> None:
    account.sync()
    base = "/api/v1/integrations/calendar/events"

    def shown() -> list[str]:
        rows = member.client.get(base, {"start": "2026-06-01", "end": "2026-07-01"}).json()["data"]
        return [f"{row['start'][8:13]} {row['title']}" for row in rows]

    body = {
        "title": "Daily", "start": "2026-06-01T09:00:00", "end": "2026-06-01T09:30:00", "timeZone": "Europe/Berlin",
        "recurrence": "FREQ=DAILY;COUNT=5", "conference": True, "attendees": ["ben@contract.test"],
    }  # fmt: skip
    made = member.client.post(base, body, format="json", headers={"Idempotency-Key": "one"})
    assert made.status_code == 201, made.content
    assert made.json()["conferenceUrl"].startswith("https://meet.google.com/")
    series = made.json()["id"]
    one = member.client.patch(f"{base}/{series}_20260602T070000Z", {"title": "Once"}, format="json")
    assert one.status_code == 200, one.content
    again = member.client.patch(f"{base}/{series}_20260602T070000Z", {"location": "Room"}, format="json")
    assert again.status_code == 200, again.content
    assert member.client.delete(f"{base}/{series}_20260603T070000Z").status_code == 204
    rest = {"title": "Rest", "scope": "following"}
    split = member.client.patch(f"{base}/{series}_20260604T070000Z", rest, format="json")
    assert split.status_code == 200, split.content
    expected = ["01T07 Daily", "02T07 Once", "04T07 Rest", "05T07 Rest"]
    assert shown() == expected
    account.sync()
    assert shown() == expected
    assert account.sync().changed == 0
    theirs = CalendarEvent.objects.get(pk=series).remote_id
    harness.truth_of.change(ADA, theirs, summary="Theirs")
    refused = member.client.patch(f"{base}/{series}", {"title": "Mine"}, format="json")
    assert (refused.status_code, refused.json()["error"]["current"]["title"]) == (409, "Theirs")
