"""The engine over an account in memory: the first sync, changes, lost cursors, brakes, kills, moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from calendar_sync.models import Calendar, CalendarEvent, Occurrence
from calendar_sync.records import CANCELLED, RemoteResource
from calendar_sync.services import engine
from calendar_sync.tests.conftest import Account
from calendar_sync.tests.factories import NINE, remote, resource
from core.errors import ProviderUnavailable
from integrations.models import SyncCursor, SyncState
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db
WORK, HOME = "/work/", "/home/"


def put(account: Account, title: str, calendar: str = WORK, number: int = 0, **fields: object) -> None:
    """An event whose remote id, UID and title are the same word."""
    made = remote(title, NINE + timedelta(days=number), uid=f"{title}@test", **fields)
    account.box.put(calendar, resource(made, remote_id=f"{calendar}{title}"))


def facts() -> list[tuple[object, ...]]:
    """Everything that is stored, without ids and times of writing."""
    events = CalendarEvent.objects.order_by("remote_id", "recurrence_key")
    times = Occurrence.objects.order_by("event__remote_id", "key")
    return [
        *events.values_list("remote_id", "recurrence_key", "title", "etag", "starts_at", "removed_cause", "leaving_at"),
        *times.values_list("event__remote_id", "source__title", "key", "starts_at", "ends_at"),
        *SyncCursor.objects.values_list("cursor", "backfill_token", "reconcile", "listed", "backfill_done"),
    ]


def test_first_sync_brings_every_page_and_tells_nothing(account: Account) -> None:
    for number in range(8):
        put(account, f"Event {number}", number=number)
    run = account.sync()
    assert account.titles() == [f"Work/Event {number}" for number in range(8)]
    assert (run.status, run.added, run.done, run.total) == ("done", 8, 8, 8)
    assert account.told() == []


def test_first_sync_takes_the_cursor_before_it_lists(account: Account) -> None:
    """What changes while it lists is seen afterwards, whichever page it would have been on."""
    for number in range(8):
        put(account, f"Event {number}", number=number)
    late = iter(range(1))

    def change(call: str) -> None:
        if call == "listing" and account.box.asked.count(f"listing {WORK}") == 3 and next(late, None) is not None:
            put(account, "Aaa first of all", number=20)
            account.box.delete(WORK, f"{WORK}Event 0")

    account.box.fail = change
    account.sync()
    assert account.titles() == [*(f"Work/Event {number}" for number in range(1, 8)), "Work/Aaa first of all"]


def test_changes_update_in_place_and_are_told(account: Account) -> None:
    put(account, "Kept")
    put(account, "Gone")
    account.sync()
    ids = account.rows()
    account.box.put(WORK, resource(remote("Renamed", uid="Kept@test"), remote_id=f"{WORK}Kept"))
    account.box.delete(WORK, f"{WORK}Gone")
    put(account, "New", number=3)
    run = account.sync()
    assert account.titles() == ["Work/Renamed", "Work/New"]
    assert account.rows()["Renamed"] == ids["Kept"]
    assert account.told() == ["calendar.event.created", "calendar.event.updated", "calendar.event.deleted"]
    assert (run.added, run.changed, run.removed) == (1, 1, 1)


def test_new_run_that_waits_shows_no_progress_of_the_one_before(account: Account, member: Actor) -> None:
    status = f"/api/v1/integrations/connections/{account.connection.pk}/status"
    put(account, "A")
    put(account, "B")
    account.sync()
    assert member.client.get(status).json()["calendar"]["progress"] == {"done": 2, "total": 2, "etaSeconds": None}
    member.client.post("/api/v1/integrations/calendar/sync")
    waiting = member.client.get(status).json()["calendar"]
    assert waiting["status"] == "queued"
    assert waiting["progress"] == {"done": 0, "total": None, "etaSeconds": None}


def test_lost_cursor_compares_and_brings_nothing_deleted_back(account: Account) -> None:
    for title in ("A", "B", "C", "D", "E"):
        put(account, title)
    account.sync()
    ids = account.rows()
    account.box.delete(WORK, f"{WORK}B")
    put(account, "F")
    account.box.epoch += 1
    asked = len(account.box.asked)
    account.sync()
    assert sorted(account.rows()) == ["A", "C", "D", "E", "F"]
    assert {title: pk for title, pk in account.rows().items() if title in ids} == {t: ids[t] for t in "ACDE"}
    assert CalendarEvent.objects.get(title="B").removed_cause == "absent"
    fetched = [call for call in account.box.asked[asked:] if call.startswith("fetch")]
    assert len(fetched) <= 1  # what is stored as it is there is not fetched again


@pytest.mark.parametrize("calls", range(1, 9))
def test_kill_at_any_call_repeats_a_page_and_loses_nothing(account: Account, calls: int) -> None:
    """The worker dies at its n-th request; the next one ends with what an undisturbed run ends with."""
    account.box.add_calendar(HOME, "Home")
    for number in range(5):
        put(account, f"Event {number}", number=number)
        put(account, f"Home {number}", HOME, number)
    left = iter(range(calls))

    def die(call: str) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    account.box.fail = die
    with pytest.raises(KeyboardInterrupt):
        account.slice()
    account.box.fail = lambda call: None
    account.slice()
    disturbed = facts()
    CalendarEvent.objects.all().delete()
    Calendar.objects.all().delete()
    SyncCursor.objects.all().delete()
    account.slice()
    assert sorted(map(str, disturbed)) == sorted(map(str, facts()))


def test_slice_without_time_goes_on_where_it_ended(account: Account) -> None:
    for number in range(8):
        put(account, f"Event {number}", number=number)
    slices = 1
    while account.slice(seconds=0):
        slices += 1
        assert slices < 20
    assert slices > 2
    assert len(account.titles()) == 8


def test_move_between_calendars_keeps_the_event(account: Account) -> None:
    account.box.add_calendar(HOME, "Home")
    put(account, "Moved", rule="FREQ=DAILY;COUNT=3")
    account.sync()
    ids = account.rows()
    for source, target in ((WORK, HOME), (HOME, WORK)):  # the addition is seen before the removal, and after
        account.box.delete(source, f"{source}Moved")
        put(account, "Moved", target, rule="FREQ=DAILY;COUNT=3")
        account.sync()
        assert account.rows() == ids
        assert account.titles() == [f"{account.box.calendars[target].name}/Moved"] * 3
    assert set(account.told()) == {"calendar.event.updated"}


def test_copy_that_was_there_longer_is_no_move(account: Account) -> None:
    account.box.add_calendar(HOME, "Home")
    put(account, "Both")
    put(account, "Both", HOME)
    account.sync()
    CalendarEvent.objects.update(created_at=datetime.fromisoformat("2026-01-01T00:00:00Z"))
    account.box.delete(WORK, f"{WORK}Both")
    account.sync()
    assert account.titles() == ["Home/Both"]
    assert account.told() == ["calendar.event.deleted"]


def test_mass_removal_is_held_until_its_user_agrees(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "REMOVAL_FLOOR", 3)
    for number in range(9):
        put(account, f"Event {number}", number=number)
    account.sync()
    for number in range(6):
        account.box.delete(WORK, f"{WORK}Event {number}")
    account.box.epoch += 1
    account.sync()
    assert len(account.titles()) == 9
    assert "6 of 9 events" in SyncCursor.objects.get().held_reason
    account.sync(trigger="accept")
    assert len(account.titles()) == 3
    assert SyncCursor.objects.get().held_reason == ""


def test_account_that_lists_no_calendars_any_more_is_not_believed(account: Account) -> None:
    put(account, "Kept")
    account.sync()
    account.box.calendars.clear()
    with pytest.raises(ProviderUnavailable):
        account.slice()
    assert account.titles() == ["Work/Kept"]


def test_calendar_that_comes_back_has_its_events_with_their_ids(account: Account) -> None:
    account.box.add_calendar(HOME, "Home")
    put(account, "Kept", HOME)
    account.sync()
    ids = account.rows()
    gone = account.box.calendars.pop(HOME)
    account.sync()
    assert account.titles() == []
    assert CalendarEvent.objects.get().removed_cause == "calendar"
    account.box.calendars[HOME] = gone
    account.sync()
    assert account.rows() == ids


def test_calendar_that_is_not_selected_is_not_asked_for(account: Account) -> None:
    account.sync()
    Calendar.objects.update(selected=False)
    account.box.asked.clear()
    run = account.sync()
    assert account.box.asked == ["calendars"]
    assert run.status == "done"


def test_calendar_that_refuses_keeps_no_other_from_syncing(account: Account) -> None:
    account.box.add_calendar(HOME, "Home")
    put(account, "At home", HOME)
    account.sync()
    listed = dict(account.box.calendars)
    account.box.fail = lambda call: account.box.calendars.pop(WORK, None) if call == "changes" else None  # type: ignore[func-returns-value]
    put(account, "Too", HOME, 1)
    run = account.sync()
    account.box.calendars = listed
    assert run.status == "done"
    assert account.titles() == ["Home/At home", "Home/Too"]
    assert SyncCursor.objects.get(name="Work").last_error


def test_unreadable_event_is_kept_with_its_reason_and_not_fetched_again(account: Account) -> None:
    account.box.put(WORK, RemoteResource(f"{WORK}bad", "", raw="x", problem="It has no start."))
    put(account, "Fine")
    account.sync()
    assert account.titles() == ["Work/Fine"]
    account.box.epoch += 1
    asked = len(account.box.asked)
    account.sync()
    assert [call for call in account.box.asked[asked:] if call.startswith("fetch")] == []


def test_cancelled_occurrence_of_a_series_is_left_out(account: Account) -> None:
    series = remote("Daily", uid="1", rule="FREQ=DAILY;COUNT=3")
    off = replace(remote("Off", NINE + timedelta(days=1), uid="1", status=CANCELLED), recurrence_key="20260106T080000Z")
    account.box.put(WORK, resource(series, off, remote_id=f"{WORK}1"))
    account.sync()
    assert account.titles() == ["Work/Daily"] * 2


def test_daily_comparison_finds_what_the_provider_never_told(account: Account) -> None:
    put(account, "Told")
    account.sync()
    put(account, "Silent", number=1)
    account.box.log.clear()  # the server has it and its changes say nothing
    account.box.log += [("", "")] * 20
    SyncCursor.objects.update(cursor="0:20")
    account.sync()
    assert account.titles() == ["Work/Told"]
    SyncState.objects.update(next_check_at=None)
    account.sync()
    assert account.titles() == ["Work/Told", "Work/Silent"]
    state = SyncState.objects.get()
    assert (state.coverage_remote, state.coverage_stored, state.coverage_missing) == (2, 2, 0)
