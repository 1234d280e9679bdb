"""Many workers at one connection, and one that slept past its lease (reference reliability R4): one of them writes, and
whatever the others were about to write is refused.

Some rounds in `make test`, a hundred in `make chaos`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection as database
from django.db import connections
from django.db.models.functions import Now

from core.work import WorkStatus
from email_sync.models import Message
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.factories import connect
from email_sync.tests.gmail_simulator import GmailHarness
from integrations.models import SyncRun
from integrations.services import sync_runs
from simulator.process import ROOT, Simulator, running
from workspaces.tests.fixtures import Actor

WORKERS = 50
ADA = "ada@workers.example"
HOLDER = "from integrations.services import sync_runs; print('more' if sync_runs.execute('{run}') else 'nothing')"


# --- at once ---------------------------------------------------------------------------------------------------------


def start_at_once(account: Account, rounds: int) -> None:
    """Every worker is rung for the same run in the same moment."""
    barrier = threading.Barrier(WORKERS)

    def work(run_id: object) -> None:
        barrier.wait(60)
        sync_runs.execute(run_id)

    with ThreadPoolExecutor(WORKERS) as workers:
        for number in range(rounds):
            account.box.append(mail(f"m{number}"), "inbox")
            account.box.calls.clear()
            run = sync_runs.start(connection=account.connection, type="email", trigger="user")
            list(workers.map(work, [run.pk] * WORKERS))
            run.refresh_from_db()
            assert (run.status, run.fence, run.added) == (WorkStatus.DONE, 1, 1)
            assert account.box.calls.count("folders") == 1, "more than one worked"
        list(workers.map(lambda _: _leave(barrier), range(WORKERS)))
    assert Message.objects.count() == rounds


def _leave(barrier: threading.Barrier) -> None:
    barrier.wait(60)
    connections.close_all()


@pytest.mark.django_db(transaction=True)
def test_fifty_workers_at_one_connection_are_one_writer(account: Account) -> None:
    start_at_once(account, 5)


@pytest.mark.chaos
@pytest.mark.django_db(transaction=True)
def test_fifty_workers_at_one_connection_are_one_writer_a_hundred_times(account: Account) -> None:
    start_at_once(account, 100)


# --- a holder that slept ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def slow_mailbox(process: Simulator, settings: Any, member: Actor) -> Callable[[], tuple[Account, GmailHarness]]:
    """A new mailbox at Gmail, which takes its time over every request."""
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    settings.MAIL_PROVIDER_SETTINGS = {"google": {"gmailApiUrl": process.base_url, "quotaUnits": 0}}

    def make() -> tuple[Account, GmailHarness]:
        process.reset()
        process.settings(gmail_quota_units_per_minute=100_000_000)
        harness = GmailHarness(process, f"{Message.objects.count()}{ADA}", ("bob@workers.example",))
        for number in range(60):
            harness.deliver(mail(f"m{number}"))
        connection = connect(member, harness.email, provider="google")
        connection.credentials = {"access_token": harness.token}
        connection.save()
        return Account(connection), harness

    return make


def holder(run: SyncRun, simulator: Simulator) -> subprocess.Popen[str]:
    """A worker in a process of its own, at the same database."""
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{database.settings_dict['NAME']}").geturl()
    known = {name: value for name, value in simulator.env().items() if not name.endswith("UNITS_PER_MINUTE")}
    environment = {**os.environ, **known, "DATABASE_URL": url, "GMAIL_UNITS_PER_MINUTE": "0"}
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", HOLDER.format(run=run.pk)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def sleep_past_the_lease(account: Account, harness: GmailHarness) -> None:
    """The holder is stopped in the middle, its lease runs out, another does all of it, more happens, and it wakes."""
    slow = harness.simulator.fault("latency", path="batch|/messages", seconds=0.4)
    run = sync_runs.start(connection=account.connection, type="email", trigger="user")
    sleeper = holder(run, harness.simulator)
    while not harness.simulator.summary().get("gmail.users.messages.list"):
        assert sleeper.poll() is None, "it ended too soon"
        threading.Event().wait(0.02)
    os.kill(sleeper.pid, signal.SIGSTOP)
    harness.simulator.remove_fault(slow)
    SyncRun.objects.filter(pk=run.pk).update(lease_until=Now() - timedelta(seconds=1))
    while sync_runs.execute(run.pk):
        pass
    harness.remove(ident("m3"))
    harness.set_flags(ident("m4"), read=True)
    assert account.sync().status == WorkStatus.DONE
    before = _rows(account)
    os.kill(sleeper.pid, signal.SIGCONT)
    said, _ = sleeper.communicate(timeout=60)
    assert (sleeper.returncode, said.split()[-1]) == (0, "nothing")
    assert _rows(account) == before
    assert len(before) == 60
    run.refresh_from_db()
    assert (run.status, run.fence) == (WorkStatus.DONE, 2)


def _rows(account: Account) -> list[tuple[Any, ...]]:
    """With their moments: nothing is written again."""
    rows = Message.objects.filter(connection=account.connection).order_by("pk")
    return list(rows.values_list("pk", "remote_id", "updated_at", "is_read", "removed_at"))


@pytest.mark.django_db(transaction=True)
def test_worker_that_slept_past_its_lease_writes_nothing(
    slow_mailbox: Callable[[], tuple[Account, GmailHarness]],
) -> None:
    sleep_past_the_lease(*slow_mailbox())


@pytest.mark.chaos
@pytest.mark.django_db(transaction=True)
def test_workers_that_slept_past_their_lease_write_nothing(
    slow_mailbox: Callable[[], tuple[Account, GmailHarness]],
) -> None:
    for _ in range(10):
        sleep_past_the_lease(*slow_mailbox())
