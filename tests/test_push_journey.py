"""From a change at the provider to its row here without waiting for the interval: Gmail and Graph by the simulator.

The simulator calls a web server of ours over HTTP; what it rings is worked as a worker would. Nothing is due for an
hour, so whatever arrives was told, except where a notification is lost on purpose.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from email_sync.models import Message, PushChannel
from email_sync.providers import MAIL_PROVIDERS
from email_sync.providers.doorbells import pubsub
from email_sync.services import doorbells
from email_sync.tests.contract import mail
from email_sync.tests.doorbells import ADA, CLEO, configure, google_mailbox, microsoft_mailbox
from integrations import tasks
from integrations.models import Connection, SyncRun, SyncState
from integrations.services import schedule, sync_runs
from simulator.process import Simulator, running
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db(transaction=True)

VENDORS = {"google": ADA, "microsoft": CLEO}
PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def simulator(process: Simulator, live_server: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    process.reset()
    configure(settings, process, live_server.url)
    process.settings(gmail_push_interval_seconds=0.0)
    settings.SYNC_INTERVAL_SECONDS = 3600
    monkeypatch.setitem(MAIL_PROVIDERS.paths, "microsoft", "email_sync.providers.graph.Graph")
    monkeypatch.setattr(pubsub, "_sets", {})
    monkeypatch.setattr(tasks.execute_run, "delay", lambda run_id: None)
    return process


@pytest.fixture(params=VENDORS)
def connection(request: pytest.FixtureRequest, simulator: Simulator, member: Actor) -> Connection:
    """Connected, synced once, its doorbell set up and what that rang worked."""
    make = {"google": google_mailbox, "microsoft": microsoft_mailbox}[request.param]
    made = make(simulator, member)
    work(sync_runs.start(connection=made, type="email", trigger="connect"))
    for run in doorbells.ensure(made.pk):
        work(run)
    assert PushChannel.objects.get().status == "active"
    SyncRun.objects.update(created_at="2026-01-01T00:00Z")  # long ago
    return made


def work(run: SyncRun) -> None:
    while sync_runs.execute(run.pk):
        pass


def work_until(happened: Callable[[], bool]) -> float:
    """What is queued is worked as it comes; the tick does not run. How long it took."""
    began = time.monotonic()
    while not happened():
        assert time.monotonic() - began < PATIENCE_SECONDS, list(SyncRun.objects.values("status", "trigger"))
        for run in SyncRun.objects.due():
            work(run)
        threading.Event().wait(0.05)
    return time.monotonic() - began


def deliver(simulator: Simulator, connection: Connection, name: str) -> None:
    simulator.deliver(connection.account_email, mail(name), labels=["INBOX", "UNREAD"], vendor=connection.provider)


def stored(name: str) -> bool:
    return Message.objects.present().filter(message_id__startswith=name).exists()


def test_change_there_is_a_row_here_without_waiting(connection: Connection, simulator: Simulator) -> None:
    deliver(simulator, connection, "told")
    work_until(lambda: stored("told"))
    assert PushChannel.objects.get().last_notified_at is not None


def test_doubled_and_late_notifications_double_nothing(connection: Connection, simulator: Simulator) -> None:
    simulator.settings(push_copies=5, push_delay_seconds=0.3)
    for index in range(3):
        deliver(simulator, connection, f"many{index}")
    work_until(lambda: all(stored(f"many{index}") for index in range(3)))
    threading.Event().wait(0.6)
    work_until(lambda: not SyncRun.objects.due().exists())
    assert Message.objects.count() == 3
    assert SyncRun.objects.count() <= 5


def test_lost_notifications_are_made_up_by_polling(connection: Connection, simulator: Simulator) -> None:
    simulator.settings(push_drop=True)
    deliver(simulator, connection, "lost")
    threading.Event().wait(0.3)
    assert not SyncRun.objects.due().exists()
    SyncState.objects.update(next_sync_at="2026-01-01T00:00Z")  # the interval is over
    schedule.start_due()
    work_until(lambda: stored("lost"))
