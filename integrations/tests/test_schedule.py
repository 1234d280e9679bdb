"""What the tick starts and rings: due connections, silent runs, nothing else, and nothing twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from core.work import WorkStatus
from integrations import tasks
from integrations.models import Connection, SyncRun, SyncState
from integrations.services import schedule
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
        {"provider": "microsoft"},
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


def test_old_runs_go_and_the_last_of_each_connection_stays() -> None:
    connection: Connection = ConnectionFactory()
    for days in (90, 60, 40):
        run = SyncRunFactory(connection=connection, status=WorkStatus.DONE)
        moment = Now() - timedelta(days=days)
        SyncRun.objects.filter(pk=run.pk).update(finished_at=moment, created_at=moment)
    schedule.forget_old_runs()
    assert SyncRun.objects.count() == 1
    assert schedule.lag_seconds() == 0.0


def test_soon_brings_a_sync_forward_unless_it_fails() -> None:
    well, failing = due(), due()
    SyncState.objects.update(next_sync_at=Now() + timedelta(hours=1))
    SyncState.objects.filter(pk=failing.pk).update(failures=2)
    for state in (well, failing):
        schedule.soon(connection=state.connection, type="email")
    assert schedule.start_due() == 1
    assert SyncRun.objects.get().connection_id == well.connection_id
