"""Runs under stress: workers that die, users who reconnect, pause or agree while a slice is working, odd errors."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from core.errors import NeedsReauth, ProviderAuthError, ProviderRateLimited, ProviderRejected
from core.work import WorkQuerySet, WorkStatus, backoff_seconds
from integrations.models import Connection, SyncCursor, SyncRun, SyncState
from integrations.services import connections, disconnecting, sync_runs
from integrations.tests.engines import EmailEngine
from integrations.tests.factories import ConnectionFactory


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


@pytest.mark.django_db
def test_run_that_kills_its_workers_is_failed_after_so_many(behave: Any) -> None:
    behave(lambda _: pytest.fail("a run that killed so many workers must not kill another"))
    connection = ConnectionFactory()
    run = start(connection)
    for _ in range(sync_runs.MAX_ATTEMPTS):
        assert SyncRun.objects.claim(run.pk, lease_seconds=-1) is not None
    assert sync_runs.execute(run.pk) is False
    run.refresh_from_db()
    connection.refresh_from_db()
    assert (run.status, run.error_code) == (WorkStatus.FAILED, "crashed")
    assert connection.last_error_code == "crashed"
    assert SyncState.objects.get().failures == 1


@pytest.mark.django_db
@pytest.mark.parametrize("trigger", ["user", "change", "connect"])
def test_start_does_not_cut_short_the_wait_a_provider_asked_for(behave: Any, trigger: str) -> None:
    def throttled(run: SyncRun) -> bool:
        raise ProviderRateLimited("Slow down", retry_after=300)

    connection = ConnectionFactory()
    run = start(connection)
    behave(throttled)
    sync_runs.execute(run.pk)
    assert start(connection, trigger).pk == run.pk
    assert not SyncRun.objects.due().exists()


@pytest.mark.django_db
@pytest.mark.parametrize("retry_after", [0, -5, math.nan, math.inf])
def test_throttled_run_waits_whatever_the_provider_said(behave: Any, retry_after: float) -> None:
    def throttled(run: SyncRun) -> bool:
        raise ProviderRateLimited("Slow down", retry_after=retry_after)

    run = start(ConnectionFactory())
    behave(throttled)
    sync_runs.execute(run.pk)
    run.refresh_from_db()
    assert run.status == WorkStatus.QUEUED
    assert not SyncRun.objects.due().exists()


@pytest.mark.django_db
@pytest.mark.parametrize("error", [ProviderAuthError("Wrong password"), NeedsReauth("Dead")])
def test_credential_refused_while_its_user_reconnects_is_tried_again_with_the_new_one(
    behave: Any, error: Exception
) -> None:
    connection = ConnectionFactory()
    run = start(connection)

    def reconnected_meanwhile(held: SyncRun) -> bool:
        again = Connection.objects.get(pk=connection.pk)
        again.credentials = {"imapPassword": "new", "smtpPassword": "new"}
        connections.save_connected(again, by=connection.user, created=False)
        raise error

    behave(reconnected_meanwhile)
    sync_runs.execute(run.pk)
    connection.refresh_from_db()
    run.refresh_from_db()
    assert not connection.needs_reauth
    assert run.status == WorkStatus.QUEUED


@pytest.mark.django_db
@pytest.mark.parametrize("error", [ProviderAuthError("Wrong password"), ProviderRejected("No")])
def test_worker_that_lost_its_lease_says_nothing_about_the_connection(behave: Any, error: Exception) -> None:
    connection = ConnectionFactory()
    run = start(connection)

    def stale(held: SyncRun) -> bool:
        sync_runs.stop(connection=connection, reason="disconnected")
        raise error

    behave(stale)
    sync_runs.execute(run.pk)
    connection.refresh_from_db()
    assert (connection.needs_reauth, connection.last_error_code) == (False, "")


@pytest.mark.django_db
def test_words_that_the_database_cannot_keep_do_not_leave_a_run_under_way(behave: Any) -> None:
    def odd(held: SyncRun) -> bool:
        raise ProviderRejected("NO \x00 way \ud800", code="c" * 100)

    run = start(ConnectionFactory())
    behave(odd)
    sync_runs.execute(run.pk)
    run.refresh_from_db()
    assert run.status == WorkStatus.FAILED
    assert "way" in run.error_message


def test_backoff_stays_at_its_cap_however_often_it_failed() -> None:
    assert 1800 <= backoff_seconds(100_000) <= 3600


@pytest.mark.django_db
def test_agreement_given_while_a_slice_works_is_not_lost(behave: Any) -> None:
    connection = ConnectionFactory()
    run = start(connection)
    triggers: list[str] = []

    def agreed_meanwhile(held: SyncRun) -> bool:
        triggers.append(held.trigger)
        if len(triggers) == 1:
            start(connection, sync_runs.ACCEPT_REMOVALS)
        return False

    behave(agreed_meanwhile)
    while sync_runs.execute(run.pk):
        pass
    assert triggers == ["user", sync_runs.ACCEPT_REMOVALS]
    run.refresh_from_db()
    assert run.status == WorkStatus.DONE


@pytest.mark.django_db
@pytest.mark.parametrize("trigger", ["user", "scope", "change"])
def test_run_given_to_somebody_while_it_works_looks_once_more(behave: Any, trigger: str) -> None:
    """What changed before they asked may be in a folder that the slice has passed already."""
    connection = ConnectionFactory()
    run = start(connection)
    looks: list[SyncRun] = []

    def asked_meanwhile(held: SyncRun) -> bool:
        looks.append(held)
        if len(looks) == 1:
            assert start(connection, trigger) == run
        return False

    behave(asked_meanwhile)
    assert sync_runs.execute(run.pk)
    run.refresh_from_db()
    assert run.status == WorkStatus.QUEUED
    assert not sync_runs.execute(run.pk)
    run.refresh_from_db()
    assert (len(looks), run.status) == (2, WorkStatus.DONE)


@pytest.mark.django_db(transaction=True)
def test_who_asks_while_a_run_ends_is_given_a_run_that_has_not_looked(
    behave: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = ConnectionFactory()
    run = start(connection)
    given: list[SyncRun] = []

    def ask() -> None:
        try:
            given.append(start(connection))
        finally:
            database.close()

    asking = threading.Thread(target=ask)
    finish = SyncRun.finish

    def slow_finish(held: SyncRun, **columns: object) -> None:
        asking.start()
        _wait_until_somebody_waits()
        finish(held, **columns)

    behave(lambda held: False)
    monkeypatch.setattr(SyncRun, "finish", slow_finish)
    assert not sync_runs.execute(run.pk)
    asking.join(20)
    [new] = given
    assert new.pk != run.pk
    assert new.status == WorkStatus.QUEUED


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("end", ["pause", "disconnect"])
def test_connection_can_be_ended_while_a_page_is_written(end: str) -> None:
    """A page holds its run and checks that its connection is there when it commits; the user holds the connection and
    stops the run. Neither may wait for the other."""
    connection = ConnectionFactory()
    run = SyncRun.objects.claim(start(connection).pk, lease_seconds=60)
    assert run is not None
    errors: list[BaseException] = []

    def finish() -> None:
        try:
            if end == "pause":
                connections.update(connection, changes={"paused": True}, by=connection.user)
            else:
                disconnecting.disconnect(connection, purge=False, by=connection.user)
        except BaseException as error:  # noqa: BLE001 - told to the test
            errors.append(error)
        finally:
            database.close()

    user = threading.Thread(target=finish)
    with transaction.atomic():
        run.hold(lease_seconds=60)
        SyncCursor.objects.create(connection=connection, type="email", stream="inbox")
        user.start()
        _wait_until_somebody_waits()
    user.join(20)
    assert errors == []
    run.refresh_from_db()
    assert run.error_code == "stopped"


@pytest.mark.django_db(transaction=True)
def test_connection_can_be_paused_while_a_run_ends_in_an_error(behave: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = ConnectionFactory()
    run = start(connection)
    errors: list[BaseException] = []

    def pause() -> None:
        try:
            connections.update(connection, changes={"paused": True}, by=connection.user)
        except BaseException as error:  # noqa: BLE001 - told to the test
            errors.append(error)
        finally:
            database.close()

    user = threading.Thread(target=pause)
    note_error = Connection.note_error

    def note_while_pausing(self: Connection, **given: Any) -> None:
        user.start()
        _wait_until_somebody_waits()
        note_error(self, **given)

    def refused(held: SyncRun) -> bool:
        raise ProviderRejected("No")

    behave(refused)
    monkeypatch.setattr(Connection, "note_error", note_while_pausing)
    assert sync_runs.execute(run.pk) is False
    user.join(20)
    assert errors == []
    connection.refresh_from_db()
    assert (connection.paused, connection.last_error_message) == (True, "No")


def _wait_until_somebody_waits() -> None:
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:
        with database.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
    pytest.fail("nobody waits for the page")


@pytest.mark.django_db
def test_lease_is_extended_by_a_page_and_not_by_a_stranger() -> None:
    run = start(ConnectionFactory())
    held = SyncRun.objects.claim(run.pk, lease_seconds=1)
    assert held is not None
    held.hold(lease_seconds=600)
    held.refresh_from_db()
    assert SyncRun.objects.filter(pk=run.pk, lease_until__gt=Now() + timedelta(seconds=500)).exists()
    assert SyncRun.objects.claim(run.pk, lease_seconds=1) is None


@pytest.mark.django_db(transaction=True)
def test_nobody_can_take_a_run_between_a_claim_and_the_reading_of_its_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was stopped there for longer than its lease would read another one's fence as its own."""
    run = start(ConnectionFactory())
    free: list[bool] = []

    def look() -> None:
        try:
            with transaction.atomic():
                free.append(bool(SyncRun.objects.select_for_update(skip_locked=True).filter(pk=run.pk)))
        finally:
            database.close()

    def slow_get(rows: WorkQuerySet, *arguments: Any, **named: Any) -> Any:
        other = threading.Thread(target=look)
        other.start()
        other.join(20)
        return QuerySet.get(rows, *arguments, **named)

    monkeypatch.setattr(WorkQuerySet, "get", slow_get)
    held = SyncRun.objects.claim(run.pk, lease_seconds=60)
    assert held is not None
    assert (free, held.fence) == ([False], 1)
