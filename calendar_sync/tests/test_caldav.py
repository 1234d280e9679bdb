"""The CalDAV provider and the engine against Radicale and xandikos, which differ in almost everything but the RFC."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from calendar_sync.ics import read_events
from calendar_sync.models import Calendar, CalendarEvent, Occurrence
from calendar_sync.providers.base import CalendarAccount
from calendar_sync.providers.caldav import CalDav
from calendar_sync.records import RemoteEvent
from calendar_sync.services import coverage
from calendar_sync.services.columns import remote_of
from calendar_sync.tests.conftest import Account
from calendar_sync.tests.series import Series, series
from calendar_sync.tests.servers import PASSWORD, USER, Server
from core.errors import CursorExpired
from integrations.models import SyncCursor, SyncState

pytestmark = pytest.mark.django_db


def lunch(title: str = "Lunch", uid: str = "1", start: datetime = datetime(2026, 1, 5, 9), rule: str = "") -> str:
    text = Series(start, 60, "Europe/Berlin", rule).ics()
    return text.replace("SUMMARY:Series", f"SUMMARY:{title}").replace("UID:series@test", f"UID:{uid}")


def provider(server: Server, url: str = "") -> CalDav:
    options = {"caldav": {"url": url or server.url, "username": USER}}
    return CalDav(CalendarAccount(USER, settings=options, secrets={"caldavPassword": PASSWORD}))


@pytest.mark.parametrize("address", ["server", "home", "principal", "calendar"])
def test_discovery_finds_the_calendars_from_any_address(server: Server, address: str) -> None:
    path = server.make_calendar("Work")
    places = {"server": "/", "home": server.home, "principal": server.home.split("calendars")[0], "calendar": path}
    found = provider(server, server.url.rstrip("/") + places[address]).calendars()
    assert [(one.name, one.read_only) for one in found if one.name == "Work"] == [("Work", False)]


def test_discovery_where_the_address_leads_nowhere_asks_the_server_itself(server: Server) -> None:
    server.make_calendar("Work")
    found = provider(server, f"{server.url}nothing/here/").calendars()
    assert [one.name for one in found if one.name == "Work"] == ["Work"]


def test_sync_brings_everything_and_then_what_changes(served: Account, server: Server) -> None:
    work = server.make_calendar("Work")
    first = server.put(work, lunch("First"))
    server.put(work, lunch("Daily", "2", rule="FREQ=DAILY;COUNT=3"))
    served.sync()
    assert sorted(served.titles()) == ["Work/Daily"] * 3 + ["Work/First"]
    assert served.told() == []  # it was there before
    ids = served.rows()
    server.put(work, lunch("Second"), first.rpartition("/")[2].removesuffix(".ics"))
    third = server.put(work, lunch("Third", "3"))
    served.sync()
    assert sorted(served.titles()) == ["Work/Daily"] * 3 + ["Work/Second", "Work/Third"]
    assert served.rows()["Second"] == ids["First"]
    assert sorted(served.told()) == ["calendar.event.created", "calendar.event.updated"]
    server.delete(third)
    served.sync()
    assert "Work/Third" not in served.titles()
    assert served.told()[-1] == "calendar.event.deleted"
    gone = CalendarEvent.objects.get(title="Third")
    assert (gone.removed_cause, gone.leaving_at) == ("deleted", None)


def test_sync_that_finds_nothing_new_asks_for_no_event(served: Account, server: Server) -> None:
    server.put(server.make_calendar(), lunch())
    served.sync()
    run = served.sync()
    assert (run.status, run.added, run.changed, run.removed) == ("done", 0, 0, 0)


@pytest.mark.parametrize("token", ["http://radicale.org/ns/sync/" + "0" * 64, "garbage", "", "0" * 40])
def test_sync_with_a_token_the_server_does_not_know_compares_and_returns_nothing_deleted(
    served: Account, server: Server, token: str
) -> None:
    work = server.make_calendar("Work")
    gone, kept = server.put(work, lunch("Gone")), server.put(work, lunch("Kept", "2"))
    served.sync()
    ids = served.rows()
    server.delete(gone)
    server.put(work, lunch("Changed", "2"), kept.rpartition("/")[2].removesuffix(".ics"))
    server.put(work, lunch("New", "3"))
    SyncCursor.objects.filter(type="calendar").update(cursor=f"sync:{token}" if token else "ctag:other")
    run = served.sync()
    assert run.status == "done"
    assert sorted(served.titles()) == ["Work/Changed", "Work/New"]
    assert served.rows()["Changed"] == ids["Kept"]
    assert CalendarEvent.objects.get(title="Gone").removed_at is not None
    assert not SyncCursor.objects.filter(reconcile=True).exists()


def test_sync_of_an_event_moved_to_another_calendar_keeps_its_id(served: Account, server: Server) -> None:
    work, home = server.make_calendar("Work"), server.make_calendar("Home")
    path = server.put(work, lunch("Moved", rule="FREQ=DAILY;COUNT=2"))
    served.sync()
    ids = served.rows()
    server.delete(path)
    server.put(home, lunch("Moved", rule="FREQ=DAILY;COUNT=2"))
    served.sync()
    assert served.rows() == ids
    assert served.titles() == ["Home/Moved"] * 2
    assert served.told() == ["calendar.event.updated"]


def test_sync_of_what_is_no_event_stores_nothing_to_show(served: Account, server: Server) -> None:
    work = server.make_calendar("Work")
    task = ["BEGIN:VTODO", "UID:t", "DTSTAMP:20260101T000000Z", "SUMMARY:Task", "END:VTODO"]
    server.put(work, "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:x", *task, "END:VCALENDAR", ""]))
    server.put(work, lunch())
    served.sync()
    assert served.titles() == ["Work/Lunch"]


def test_sync_of_a_broken_event_sets_it_aside_with_its_reason(served: Account, server: Server) -> None:
    work = server.make_calendar("Work")
    server.put(work, lunch("Broken").replace(":20260105T100000", ":29990105T100000"))
    server.put(work, lunch("Fine", "2"))
    run = served.sync()
    assert run.status == "done"
    assert served.titles() == ["Work/Fine"]
    assert "longer than ten years" in CalendarEvent.objects.exclude(problem="").get().problem
    assert coverage.incomplete(served.connection) == 1


def test_sync_of_a_calendar_that_is_gone_takes_its_events_along(served: Account, server: Server) -> None:
    work, home = server.make_calendar("Work"), server.make_calendar("Home")
    server.put(work, lunch("At work")), server.put(home, lunch("At home", "2"))
    served.sync()
    server.delete(work)
    served.sync()
    assert served.titles() == ["Home/At home"]
    assert Calendar.objects.get(name="Work").removed_at is not None


def test_changes_with_a_forged_token_never_answer_a_page_of_nothing(served: Account, server: Server) -> None:
    server.put(server.make_calendar(), lunch())
    opened = provider(server)
    [calendar] = [one for one in opened.calendars() if one.name == "Work"]
    with pytest.raises(CursorExpired):
        opened.changes(calendar, "sync:" + "f" * 40)


def canonical(event: RemoteEvent) -> RemoteEvent:
    """One server writes the parts of a rule in an order of its own."""
    rules = tuple(";".join(sorted(rule.split(";"))) for rule in event.recurrence.rules)
    return replace(event, recurrence=replace(event.recurrence, rules=rules))


def generated(count: int, seed: int) -> list[Series]:
    """So many different random series, always the same ones."""
    found: list[Series] = []

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(series(), min_size=1, max_size=1))
    def collect(some: list[Series]) -> None:
        found.extend(some)

    random.seed(seed)
    collect()
    return found[:count]


@pytest.mark.parametrize("count", [20, pytest.param(500, marks=pytest.mark.chaos)])
def test_random_events_come_and_go_out_unchanged(served: Account, server: Server, count: int) -> None:
    """Zones, nights when the clocks change, recurrences with changed and cancelled occurrences."""
    work = server.make_calendar("Work")
    sent: dict[str, Any] = {}
    for number, one in enumerate(generated(count, seed=6)):
        ics = one.ics().replace("UID:series@test", f"UID:{number}@test")
        sent[server.put(work, ics, str(number))] = read_events(ics)
    served.sync()
    assert CalendarEvent.objects.values("remote_id").distinct().count() == len(sent)
    assert not CalendarEvent.objects.exclude(problem="").exists()
    for path, events in sent.items():
        stored = CalendarEvent.objects.filter(remote_id=path).order_by("recurrence_key")
        assert [canonical(remote_of(row, row.attendees.all())) for row in stored] == list(map(canonical, events)), path
    before = set(Occurrence.objects.values_list("event_id", "key", "starts_at", "ends_at"))
    SyncCursor.objects.filter(type="calendar").update(reconcile=True)
    SyncState.objects.filter(type="calendar").update(next_check_at=None)
    run = served.sync()
    assert (run.added, run.changed, run.removed) == (0, 0, 0)
    assert set(Occurrence.objects.values_list("event_id", "key", "starts_at", "ends_at")) == before
    state = SyncState.objects.get(type="calendar")
    assert (state.coverage_remote, state.coverage_stored, state.coverage_missing) == (len(sent), len(sent), 0)
