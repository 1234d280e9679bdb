"""One bad account never slows another: whose turn it is when workers are few."""

from __future__ import annotations

import threading
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from django.db import connection as database
from django.db.models.functions import Now

from core import holder
from core.errors import ProviderUnavailable
from core.work import WorkStatus
from integrations.models import Connection, SyncRun, SyncState
from integrations.services import admission, schedule, sync_runs
from integrations.tests.engines import EmailEngine
from integrations.tests.factories import ConnectionFactory, SyncRunFactory

HANGS, HEALTHY_TAKES = 0.6, 0.03


@pytest.fixture(autouse=True)
def four_workers(settings: Any) -> None:
    settings.WORKER_CONCURRENCY = 4


def account(*, failures: int = 0, **columns: Any) -> Connection:
    """One on a server of its own."""
    connection = ConnectionFactory(**columns)
    if "options" not in columns:
        connection.options = {"imap": {"host": f"{connection.pk}.mail.example"}}
        connection.save()
    SyncState.objects.create(connection=connection, type="email", failures=failures)
    return connection


def at_work(connection: Connection, *, silent: float = 0.0, attempts: int = 1) -> SyncRun:
    """A run that another worker has, which heard nothing for so many seconds."""
    run = SyncRunFactory(connection=connection, status=WorkStatus.RUNNING, attempts=attempts, fence=1)
    SyncRun.objects.filter(pk=run.pk).update(lease_until=Now() + timedelta(seconds=sync_runs.LEASE_SECONDS - silent))
    return run


def taken(connection: Connection) -> bool:
    run = SyncRunFactory(connection=connection)
    return admission.take(run.pk, lease_seconds=sync_runs.LEASE_SECONDS) is not None


@pytest.mark.django_db
def test_accounts_that_failed_get_half_of_the_workers() -> None:
    for _ in range(2):
        at_work(account(failures=1))
    assert not taken(account(failures=3))
    assert taken(account())


@pytest.mark.django_db
def test_account_that_failed_and_gets_on_leaves_its_place_to_the_next() -> None:
    for _ in range(2):
        at_work(account(failures=1), attempts=0)
    assert taken(account(failures=1))


@pytest.mark.django_db
def test_run_that_must_wait_comes_again_within_seconds() -> None:
    for _ in range(2):
        at_work(account(failures=1))
    waiting = account(failures=1)
    assert not taken(waiting)
    run = SyncRun.objects.annotate(now=Now()).get(connection=waiting)
    assert (run.status, run.rung_at, run.attempts) == (WorkStatus.QUEUED, None, 0)
    assert timedelta(0) < run.next_attempt_at - run.now < timedelta(seconds=7)


@pytest.mark.django_db
def test_server_that_says_nothing_holds_half_of_the_workers() -> None:
    dead = {"imap": {"host": "mail.dead.example"}}
    for _ in range(2):
        at_work(account(options=dead), silent=8)
    assert not taken(account(options=dead))
    assert taken(account())


@pytest.mark.django_db
def test_server_that_answers_holds_as_many_workers_as_there_are() -> None:
    alive = {"imap": {"host": "mail.alive.example"}}
    for _ in range(3):
        at_work(account(options=alive), silent=1)
    assert taken(account(options=alive))


@pytest.mark.django_db
def test_workspace_leaves_a_worker_to_another_that_waits() -> None:
    busy = account()
    mine = {"user": busy.user, "workspace": busy.workspace}
    for _ in range(3):
        at_work(account(**mine), attempts=0)
    assert taken(account(**mine))
    SyncRun.objects.filter(status=WorkStatus.RUNNING, attempts=1).delete()
    other = SyncRunFactory(connection=account())
    assert not taken(account(**mine))
    assert admission.take(other.pk, lease_seconds=60) is not None


@pytest.mark.django_db
def test_slice_is_short_where_others_wait() -> None:
    run = SyncRunFactory(connection=account())
    assert not admission.others_wait(run)
    SyncRunFactory(connection=account())
    assert admission.others_wait(run)


@pytest.mark.django_db(transaction=True)
def test_healthy_accounts_are_read_in_time_beside_as_many_that_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four workers, 50 accounts that hang and 50 that do not; a hanging attempt takes twenty times a healthy one."""
    monkeypatch.setattr(sync_runs, "backoff_seconds", lambda *_, **__: 3600.0)
    hanging = {account(failures=1).pk for _ in range(50)}
    healthy = [account() for _ in range(50)]
    done: set[Any] = set()
    under_way: set[Any] = set()
    at_once: list[int] = []

    class Engine(EmailEngine):
        def run(self, run: SyncRun, *, deadline: float) -> bool:
            if run.connection_id in hanging:
                under_way.add(run.connection_id)
                at_once.append(len(under_way))
                threading.Event().wait(HANGS)
                under_way.discard(run.connection_id)
                raise ProviderUnavailable("The server did not answer in time.")
            threading.Event().wait(HEALTHY_TAKES)
            done.add(run.connection_id)
            return False

    monkeypatch.setitem(sync_runs.engines()._loaded, "email", Engine)
    wake_ups: SimpleQueue[Any] = SimpleQueue()
    for bad, good in zip(hanging, healthy, strict=True):
        for connection_id in (bad, good.pk):
            wake_ups.put(SyncRunFactory(connection_id=connection_id, connection=None).pk)
    work(4, wake_ups)
    assert len(done) == 50
    assert max(at_once) == 2  # so two workers were the healthy ones' all the time
    assert SyncRun.objects.filter(connection__in=hanging, attempts__gt=0).count() < 25


def work(workers: int, wake_ups: SimpleQueue[Any]) -> None:
    """What Celery does: each worker takes the next wake-up."""

    def worker() -> None:
        try:
            while not wake_ups.empty():
                sync_runs.execute(wake_ups.get(timeout=1))
        except Empty:
            return
        finally:
            database.close()

    threads = [threading.Thread(target=worker) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)


# --- workers that died --------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_run_of_a_process_that_is_gone_is_taken_at_once() -> None:
    run = at_work(account())
    SyncRun.objects.update(holder=f"{holder.me()}0")
    taken_over = admission.take(run.pk, lease_seconds=60)
    assert taken_over is not None
    assert (taken_over.fence, taken_over.holder) == (2, holder.me())


@pytest.mark.django_db
def test_run_of_a_process_that_lives_keeps_its_lease() -> None:
    run = at_work(account())
    for name in (holder.me(), "elsewhere/1/2@3", ""):
        SyncRun.objects.update(holder=name)
        assert admission.forget_dead() == 0
        assert admission.take(run.pk, lease_seconds=60) is None


@pytest.mark.django_db
def test_tick_rings_the_run_of_a_process_that_is_gone() -> None:
    run = at_work(account())
    SyncRun.objects.update(holder=f"{holder.me()}0", rung_at=Now())
    assert schedule.take_unattended() == []
    assert admission.forget_dead() == 1
    assert schedule.take_unattended() == [run.pk]
