"""What the tick starts and rings: due connections, silent runs, nothing else, and nothing twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now

from core.work import WorkStatus
from integrations import tasks
from integrations.models import Connection, SyncRun, SyncState
from integrations.services import schedule, sync_runs
from integrations.tests.factories import ConnectionFactory, SyncRunFactory, SyncStateFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids that would have gone to the broker."""
    ids: list[str] = []
    monkeypatch.setattr(tasks.execute_run, "delay", ids.append)
    return ids


def due(**columns: Any) -> SyncState:
    connection = ConnectionFactory(**columns)
    return SyncStateFactory(connection=connection, next_sync_at="2026-01-01T00:00Z")


def test_start_due_queues_one_run_and_sets_the_next_time() -> None:
    state = due()
    assert schedule.start_due() == 1
    assert schedule.start_due() == 0
    state.refresh_from_db()
    assert SyncRun.objects.get().connection_id == state.connection_id
    assert state.next_sync_at.year >= 2026
    assert SyncState.objects.filter(next_sync_at__gt=Now()).exists()


@pytest.mark.parametrize(
    "columns",
    [
        {"paused": True},
        {"needs_reauth": True},
        {"sync_email": False},
        {"disconnected_at": "2026-01-01T00:00Z", "credentials": None},
        {"provider": "caldav"},
    ],
    ids=lambda columns: next(iter(columns)),
)
def test_start_due_leaves_alone_what_must_not_sync(columns: dict[str, Any]) -> None:
    due(**columns)
    assert schedule.start_due() == 0
    assert not SyncRun.objects.exists()


def test_start_due_does_not_double_a_run_under_way() -> None:
    state = due()
    SyncRunFactory(connection=state.connection, status=WorkStatus.RUNNING, lease_until=Now() + timedelta(minutes=1))
    assert schedule.start_due() == 0


def test_silent_run_is_rung_once_until_time_has_passed() -> None:
    run = SyncRunFactory()
    assert schedule.take_unattended() == [run.pk]
    assert schedule.take_unattended() == []
    SyncRun.objects.update(rung_at=Now() - timedelta(seconds=schedule.RING_AGAIN_SECONDS + 1))
    assert schedule.take_unattended() == [run.pk]


def test_run_under_a_living_lease_is_not_rung_and_an_abandoned_one_is() -> None:
    alive = SyncRunFactory(status=WorkStatus.RUNNING, lease_until=Now() + timedelta(minutes=1))
    dead = SyncRunFactory(status=WorkStatus.RUNNING, lease_until=Now() - timedelta(seconds=1))
    assert schedule.take_unattended() == [dead.pk]
    assert alive.pk != dead.pk


def test_tick_after_a_flushed_broker_rings_everything_that_is_due(rung: list[str]) -> None:
    runs = [SyncRunFactory() for _ in range(3)]
    due()
    tasks.tick()
    assert len(rung) == 4
    assert {str(run.pk) for run in runs} <= set(rung)


def test_second_tick_of_the_same_slot_does_nothing(rung: list[str], settings: Any) -> None:
    settings.SYNC_TICK_SECONDS = 3600
    due()
    tasks.tick()
    due()
    tasks.tick()
    assert len(rung) == 1


def test_soon_brings_a_sync_forward_unless_it_fails() -> None:
    well, failing = due(), due()
    SyncState.objects.update(next_sync_at=Now() + timedelta(hours=1))
    SyncState.objects.filter(pk=failing.pk).update(failures=2)
    for state in (well, failing):
        schedule.soon(connection=state.connection, type="email")
    assert schedule.start_due() == 1
    assert SyncRun.objects.get().connection_id == well.connection_id


# --- what providers tell ------------------------------------------------------------------------------------------


def told(*connections: Connection) -> list[SyncRun]:
    return schedule.heard(connection_ids=[connection.pk for connection in connections], type="email")


def waiting(**columns: Any) -> SyncState:
    """Synced, and not due for a long time."""
    return SyncStateFactory(connection=ConnectionFactory(**columns), next_sync_at="2099-01-01T00:00Z")


def test_heard_begins_one_run_however_often_it_is_told() -> None:
    state = waiting()
    begun = told(state.connection)
    for _ in range(50):
        assert told(state.connection) == []
    assert [run.pk for run in begun] == [SyncRun.objects.get().pk]
    assert SyncRun.objects.get().trigger == "push"


def test_heard_while_a_run_is_under_way_is_looked_at_once_more_after_it() -> None:
    """The run may have looked before the change: however it ends, the account stays due."""
    state = waiting()
    run = sync_runs.start(connection=state.connection, type="email", trigger="user")
    SyncRun.objects.claim(run.pk, lease_seconds=60)
    assert told(state.connection) == []
    run.refresh_from_db()
    sync_runs._after_slice(run, state.connection, more=False)
    assert SyncRun.objects.active().count() == 0
    assert schedule.start_due() == 1


def test_heard_two_hundred_times_while_a_run_works_is_one_more_run() -> None:
    state = waiting()
    [run] = told(state.connection)
    SyncRun.objects.claim(run.pk, lease_seconds=60)
    SyncRun.objects.update(created_at=Now() - timedelta(minutes=1))
    for number in range(200):
        assert told(state.connection) == []
        assert number % 20 or schedule.start_due() == 0
    run.refresh_from_db()
    sync_runs._after_slice(run, state.connection, more=False)
    [further] = told(state.connection)
    for _ in range(10):
        assert (told(state.connection), schedule.start_due()) == ([], 0)
    claimed = SyncRun.objects.claim(further.pk, lease_seconds=60)
    assert claimed is not None
    sync_runs._after_slice(claimed, state.connection, more=False)
    assert schedule.start_due() == 0
    assert SyncRun.objects.count() == 2


def test_heard_before_and_while_a_run_works_is_not_lost() -> None:
    """The mark left while it was queued must not hide the one that comes while it works."""
    state = waiting()
    run = sync_runs.start(connection=state.connection, type="email", trigger="user")
    told(state.connection)
    SyncRun.objects.claim(run.pk, lease_seconds=60)
    told(state.connection)
    run.refresh_from_db()
    sync_runs._after_slice(run, state.connection, more=False)
    assert schedule.start_due() == 1


def test_heard_only_before_a_run_begins_is_settled_by_it() -> None:
    state = waiting()
    run = sync_runs.start(connection=state.connection, type="email", trigger="user")
    told(state.connection)
    SyncRun.objects.claim(run.pk, lease_seconds=60)
    run.refresh_from_db()
    sync_runs._after_slice(run, state.connection, more=False)
    assert schedule.start_due() == 0


def test_heard_right_after_a_run_waits_for_the_tick() -> None:
    state = waiting()
    [run] = told(state.connection)
    SyncRun.objects.filter(pk=run.pk).update(status=WorkStatus.DONE)
    assert told(state.connection) == []
    assert schedule.start_due() == 1


def test_heard_of_an_account_that_fails_keeps_its_wait() -> None:
    state = waiting()
    SyncState.objects.update(failures=3)
    assert told(state.connection) == []
    assert schedule.start_due() == 0


@pytest.mark.parametrize(
    "columns",
    [{"paused": True}, {"needs_reauth": True}, {"sync_email": False}, {"disconnected_at": "2026-01-01T00:00Z"}],
    ids=lambda columns: next(iter(columns)),
)
def test_heard_of_an_account_that_does_not_sync_does_nothing(columns: dict[str, Any]) -> None:
    gone = {"credentials": None} if "disconnected_at" in columns else {}
    assert told(waiting(**columns, **gone).connection) == []
    assert SyncRun.objects.count() == 0


def test_heard_storm_costs_the_same_few_queries(django_assert_max_num_queries: Any) -> None:
    state = waiting()
    told(state.connection)
    with django_assert_max_num_queries(5):  # two of them a savepoint
        told(state.connection)


def looked_at(state: SyncState, *ages: float) -> None:
    """Runs that began and ended so many seconds ago."""
    for age in ages:
        run = SyncRun.objects.create(connection=state.connection, type="email", trigger="push", status=WorkStatus.DONE)
        SyncRun.objects.filter(pk=run.pk).update(created_at=Now() - timedelta(seconds=age))


@pytest.mark.parametrize(
    ("ages", "spacing"),
    [
        ((), 0),
        ((400,) * 12, 0),
        ((50,), 0),
        ((0,), 2),
        (tuple(range(0, 10, 2)), 2),
        (tuple(range(0, 12, 2)), 5),
        (tuple(range(0, 30, 5)), 5),
        (tuple(range(0, 40, 5)), 15),
        (tuple(range(0, 120, 15)), 15),
        (tuple(range(0, 150, 15)), 30),
        (tuple(range(0, 300, 30)), 30),
        (tuple(range(0, 300, 45)), 2),
    ],
    ids=str,
)
def test_heard_again_and_again_is_answered_later_and_later(ages: tuple[float, ...], spacing: float) -> None:
    for past, answered in ((spacing - 0.7, False), (spacing + 0.3, True)):
        if past < 0 and not answered:
            continue
        SyncRun.objects.all().delete()
        state = SyncState.objects.first() or waiting()
        SyncState.objects.update(next_sync_at=Now() + timedelta(seconds=300))
        looked_at(state, *(age + past for age in ages))
        begun = told(state.connection)
        assert bool(begun) == answered, past
        assert SyncState.objects.filter(next_sync_at__lte=Now()).exists() != answered


def test_heard_in_a_storm_is_not_lost_when_it_ends() -> None:
    state = waiting()
    looked_at(state, *range(1, 13, 2))
    assert told(state.connection) == []
    assert schedule.start_due() == 0
    SyncRun.objects.update(created_at=F("created_at") - timedelta(seconds=30))
    assert schedule.start_due() == 1


def test_one_account_storming_delays_no_other() -> None:
    stormy, quiet = waiting(), waiting()
    looked_at(stormy, *range(1, 13, 2))
    assert [run.connection_id for run in told(stormy.connection, quiet.connection)] == [quiet.connection_id]


def test_short_interval_is_kept_whatever_the_notifications(settings: Any) -> None:
    settings.SYNC_INTERVAL_SECONDS = 10
    state = waiting()
    looked_at(state, *range(9, 120, 10))
    SyncState.objects.update(next_sync_at=Now())
    assert schedule.start_due() == 1


def test_syncs_asked_for_by_hand_are_no_storm() -> None:
    state = waiting()
    looked_at(state, *range(3, 20, 2))
    SyncRun.objects.update(trigger="user")
    assert len(told(state.connection)) == 1
