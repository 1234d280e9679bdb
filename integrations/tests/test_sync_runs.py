"""A run from its start to its end: one at a time, under a lease, and what an engine's error means."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db.models.functions import Now

from core.errors import (
    Conflict,
    EgressRefused,
    HubError,
    NeedsReauth,
    ProviderAuthError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    UnsupportedOperation,
)
from core.work import WorkStatus
from integrations.models import Connection, SyncRun, SyncState
from integrations.services import sync_runs
from integrations.tests.engines import EmailEngine
from integrations.tests.factories import ConnectionFactory, SyncRunFactory
from workspaces.models import ClockTimestamp


@pytest.fixture
def behave(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[SyncRun], bool]], None]:
    """Give the email engine a behaviour for one test."""

    def set_behaviour(act: Callable[[SyncRun], bool]) -> None:
        class Engine(EmailEngine):
            def run(self, run: SyncRun, *, deadline: float) -> bool:
                return act(run)

        monkeypatch.setitem(sync_runs.engines()._loaded, "email", Engine)

    return set_behaviour


def start(connection: Connection, trigger: str = "user") -> SyncRun:
    return sync_runs.start(connection=connection, type="email", trigger=trigger)


def failing(error: Exception) -> Callable[[SyncRun], bool]:
    def act(run: SyncRun) -> bool:
        raise error

    return act


@pytest.mark.django_db
def test_start_gives_back_the_run_under_way_and_brings_it_forward() -> None:
    connection = ConnectionFactory()
    first = start(connection)
    SyncRun.objects.update(next_attempt_at=Now() + timedelta(hours=1))
    again = start(connection)
    assert again.pk == first.pk
    assert SyncRun.objects.due().count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"paused": True}, Conflict),
        ({"needs_reauth": True}, NeedsReauth),
        ({"provider": "caldav"}, UnsupportedOperation),
    ],
)
def test_start_of_what_cannot_sync_says_why(columns: dict[str, Any], error: type[HubError]) -> None:
    connection = ConnectionFactory(**columns)
    with pytest.raises(error):
        start(connection)
    assert not SyncRun.objects.exists()


@pytest.mark.django_db
def test_slice_with_more_to_do_goes_back_to_the_queue_and_comes_again(behave: Any) -> None:
    run = start(ConnectionFactory())
    slices = iter([True, True, False])
    behave(lambda _: next(slices))
    assert [sync_runs.execute(run.pk) for _ in range(4)] == [True, True, False, False]
    run.refresh_from_db()
    assert (run.status, run.fence) == (WorkStatus.DONE, 3)


@pytest.mark.django_db
def test_finished_run_clears_the_error_and_sets_the_next_time(behave: Any) -> None:
    connection = ConnectionFactory(last_error_code="x", last_error_message="y", last_error_at="2026-01-01T00:00Z")
    behave(lambda _: False)
    sync_runs.execute(start(connection).pk)
    connection.refresh_from_db()
    assert (connection.status, connection.last_error_message) == ("active", "")
    assert connection.last_synced_at is not None
    assert SyncState.objects.get().next_sync_at > connection.last_synced_at


@pytest.mark.django_db
def test_look_asked_for_during_a_run_stays_due_after_it(behave: Any) -> None:
    connection = ConnectionFactory()
    run = start(connection)

    def asked(_: SyncRun) -> bool:
        SyncState.objects.update(next_sync_at=ClockTimestamp())
        return False

    behave(asked)
    sync_runs.execute(run.pk)
    assert SyncState.objects.filter(next_sync_at__lte=ClockTimestamp()).exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (ProviderRateLimited("slow", retry_after=120), WorkStatus.QUEUED, "active"),
        (ProviderUnavailable("away"), WorkStatus.QUEUED, "active"),
        (OSError("cable"), WorkStatus.QUEUED, "active"),
        (KeyError("bug"), WorkStatus.QUEUED, "active"),
        (ProviderRejected("no such mailbox"), WorkStatus.FAILED, "error"),
        (EgressRefused("inside"), WorkStatus.FAILED, "error"),
        (ProviderAuthError("revoked"), WorkStatus.FAILED, "needs_reauth"),
        (NeedsReauth("revoked"), WorkStatus.FAILED, "needs_reauth"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_error_of_an_engine_decides_what_follows(behave: Any, error: Exception, status: str, shown: str) -> None:
    connection = ConnectionFactory()
    run = start(connection)
    behave(failing(error))
    assert sync_runs.execute(run.pk) is False
    run.refresh_from_db()
    connection.refresh_from_db()
    assert run.status == status
    assert connection.status == shown
    assert run.error_message
    assert "bug" not in run.error_message


@pytest.mark.django_db
def test_run_that_keeps_breaking_is_failed_and_the_schedule_waits_longer(behave: Any) -> None:
    connection = ConnectionFactory()
    behave(failing(KeyError("bug")))
    run = start(connection)
    for _ in range(sync_runs.MAX_ATTEMPTS):
        SyncRun.objects.update(next_attempt_at=Now())
        sync_runs.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error_code) == (WorkStatus.FAILED, "internal_error")
    assert SyncState.objects.get().failures == 1


@pytest.mark.django_db
def test_run_of_a_disconnected_account_is_stopped(behave: Any) -> None:
    behave(lambda _: pytest.fail("the engine must not be asked"))
    run = SyncRunFactory(connection__disconnected_at="2026-01-01T00:00Z", connection__credentials=None)
    sync_runs.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error_code) == (WorkStatus.FAILED, "stopped")


@pytest.mark.django_db
def test_stop_takes_the_lease_from_a_working_slice(behave: Any) -> None:
    connection = ConnectionFactory()
    run = start(connection)

    def stopped_meanwhile(held: SyncRun) -> bool:
        sync_runs.stop(connection=connection, reason="paused")
        held.hold(lease_seconds=60)
        return pytest.fail("a stopped slice must not write")

    behave(stopped_meanwhile)
    assert sync_runs.execute(run.pk) is False
    run.refresh_from_db()
    assert (run.status, run.error_message) == (WorkStatus.FAILED, "paused")


@pytest.mark.django_db
def test_run_whose_worker_died_is_taken_over_when_its_lease_ran_out(behave: Any) -> None:
    run = start(ConnectionFactory())
    assert SyncRun.objects.claim(run.pk, lease_seconds=60) is not None
    assert SyncRun.objects.claim(run.pk, lease_seconds=60) is None
    SyncRun.objects.update(lease_until=Now() - timedelta(seconds=1))
    behave(lambda held: held.fence != 2)
    sync_runs.execute(run.pk)
    run.refresh_from_db()
    assert run.status == WorkStatus.DONE


@pytest.mark.django_db(transaction=True)
def test_fifty_workers_start_and_claim_one_run(behave: Any) -> None:
    connection = ConnectionFactory()
    entered: list[tuple[object, int]] = []
    behave(lambda run: bool(entered.append((run.pk, run.fence))))
    gate = threading.Barrier(50)

    def worker() -> None:
        gate.wait()
        try:
            run = start(connection)
            while sync_runs.execute(run.pk):  # somebody else was given it meanwhile
                pass
        finally:
            database.close()

    threads = [threading.Thread(target=worker) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(entered)) == len(entered)
    assert sum(SyncRun.objects.values_list("fence", flat=True)) == len(entered), "a claim that nobody worked on"
    assert not SyncRun.objects.exclude(status=WorkStatus.DONE).exists()
