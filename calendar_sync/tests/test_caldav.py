"""The CalDAV provider and the engine against Radicale and xandikos, which differ in almost everything but the RFC."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from calendar_sync.models import Calendar, CalendarEvent
from calendar_sync.providers.base import CalendarAccount
from calendar_sync.providers.caldav import CalDav
from calendar_sync.services import coverage
from calendar_sync.tests.conftest import Account
from calendar_sync.tests.factories import connect
from calendar_sync.tests.series import Series
from calendar_sync.tests.servers import PASSWORD, SERVERS, USER, Radicale, Server
from core.errors import CursorExpired
from integrations.models import SyncCursor
from workspaces.tests.fixtures import Actor

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


@pytest.mark.parametrize("name", list(SERVERS))
@pytest.mark.parametrize("restarts", [False, True])
def test_sync_of_a_calendar_that_was_deleted_and_made_again_returns_nothing_deleted(
    name: str, restarts: bool, member: Actor, tmp_path: Path, settings: Any
) -> None:
    """As from a backup, at the same address: what tokens the server gave before mean nothing."""
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    with SERVERS[name](tmp_path / "server") as server:
        options = {"caldav": {"url": server.url, "username": USER}}
        account = Account(connect(member, USER, options=options, credentials={"caldavPassword": PASSWORD}))
        work = server.make_calendar("Work")
        server.put(work, lunch("Kept", "1", rule="FREQ=DAILY;COUNT=3"), "1")
        server.put(work, lunch("Gone", "2"), "2")
        account.sync()
        ids = account.rows()
        server.delete(work)
        if restarts:
            server.stop()
            server.start()
        server.make_calendar("Work", work)
        server.put(work, lunch("Kept", "1", rule="FREQ=DAILY;COUNT=3"), "1")
        server.put(work, lunch("New", "3"), "3")
        for _ in range(2):
            assert account.sync().status == "done"
            assert sorted(account.titles()) == ["Work/Kept"] * 3 + ["Work/New"]
        assert account.rows()["Kept"] == ids["Kept"]
        assert sorted(account.told()) == ["calendar.event.created", "calendar.event.deleted"]


@pytest.mark.parametrize("kept", ["cache", "nothing"])
def test_sync_after_radicale_forgot_its_tokens_compares_and_returns_nothing_deleted(
    kept: str, member: Actor, tmp_path: Path, settings: Any
) -> None:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    with Radicale(tmp_path / "server") as server:
        options = {"caldav": {"url": server.url, "username": USER}}
        account = Account(connect(member, USER, options=options, credentials={"caldavPassword": PASSWORD}))
        work = server.make_calendar("Work")
        gone, _ = server.put(work, lunch("Gone")), server.put(work, lunch("Kept", "2"))
        account.sync()
        server.delete(gone)
        server.put(work, lunch("New", "3"))
        server.stop()
        for folder in (server.folder / "data").rglob(".Radicale.cache"):
            shutil.rmtree(folder / "sync-token" if kept == "cache" else folder, ignore_errors=True)
        server.start()
        assert account.sync().status == "done"
        assert sorted(account.titles()) == ["Work/Kept", "Work/New"]
        assert sorted(account.told()) == ["calendar.event.created", "calendar.event.deleted"]


def test_changes_with_a_forged_token_never_answer_a_page_of_nothing(served: Account, server: Server) -> None:
    server.put(server.make_calendar(), lunch())
    opened = provider(server)
    [calendar] = [one for one in opened.calendars() if one.name == "Work"]
    with pytest.raises(CursorExpired):
        opened.changes(calendar, "sync:" + "f" * 40)
