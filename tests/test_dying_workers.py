"""Workers killed with `kill -9` at random moments of a first sync, a sync of changes, clicks on their way and sends
(promise 1, reference reliability R1): rows equal those of a connection nobody disturbed, clicks have arrived, each mail
left once or not at all and is called what it is.

The worker is a forked process at the provider simulator, so that hundreds die in minutes. A few of each kind in `make
test`, 300 in `make chaos`; whole products are killed in `test_kills`.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db import connections
from django.db.models.functions import Now

from core.errors import HubError
from core.work import WorkStatus
from email_sync.models import ChangeKind, LocalChange, Message, Submission, SubmissionStage
from email_sync.parsing.bounded import shared
from email_sync.services import engine, pages, sending, submissions
from email_sync.services.changes import change
from email_sync.services.sending import Letter
from email_sync.tests.contract import MailHarness, Truth, mail
from email_sync.tests.factories import connect
from email_sync.tests.gmail_simulator import GmailHarness
from email_sync.tests.graph_simulator import GraphHarness
from integrations.models import Connection, SyncRun
from integrations.services import sync_runs
from simulator.process import Simulator, running
from tests.killing import ROWS, assert_same
from workspaces.tests.fixtures import Actor, make_actor

ADA, BOB = "ada@kills.example", "bob@kills.example"
MAIL = 40
VENDORS = ("google", "microsoft")
KINDS = ("first sync", "changes", "clicks", "sends")
IN_A_RUN = 3
"""More deaths without a page between them would fail the run, as they should."""


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@dataclass
class Stage:
    """One mailbox, connected twice: by a user whose workers die, and by one who is left in peace."""

    simulator: Simulator
    harness: MailHarness
    disturbed: Connection
    quiet: Connection
    dice: random.Random
    deaths: Counter[str] = field(default_factory=Counter)

    def taken(self, subject: str) -> int:
        return len(self.simulator.sent(subject=subject, account=ADA))


@pytest.fixture
def opened(process: Simulator, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], Stage]:
    """A stage at a vendor, new each time; pages are small, so that there are many moments to die in."""
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    options = {"gmailApiUrl": process.base_url, "graphApiUrl": process.base_url, "quotaUnits": 0}
    settings.MAIL_PROVIDER_SETTINGS = {"google": options, "microsoft": options}
    for module in (engine, pages):
        monkeypatch.setattr(module, "PAGE", 6)
    monkeypatch.setattr(pages, "FIRST_PAGE", 5)

    def open_at(vendor: str, seed: int) -> Stage:
        process.reset()
        process.settings(gmail_quota_units_per_minute=100_000_000, graph_requests_per_ten_minutes=0)
        harness = (GmailHarness if vendor == "google" else GraphHarness)(process, ADA, (BOB,))
        for number in range(MAIL):
            harness.deliver(mail(f"m{number}"), "archive" if number % 6 == 5 else "inbox")
        return Stage(
            process,
            harness,
            _connected(make_actor(), vendor, harness.token),
            _connected(make_actor(), vendor, harness.token),
            random.Random(f"{vendor} {seed}"),
        )

    return open_at


def _connected(actor: Actor, vendor: str, token: str) -> Connection:
    connection = connect(actor, ADA, provider=vendor)
    connection.credentials = {"access_token": token}
    connection.save()
    return connection


# --- dying -----------------------------------------------------------------------------------------------------------


def dies(work: Callable[[], object], after: float) -> bool:
    """`work` in a process of its own, killed after so many seconds; False where it had ended before."""
    shared().close()
    connections.close_all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # nothing of ours runs in the other threads
        pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except HubError:
            os._exit(0)  # an answer like any other
        except BaseException:  # noqa: BLE001 - nothing of pytest may run in here
            traceback.print_exc()
            os._exit(3)
    threading.Event().wait(after)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "it broke by itself"
    return os.WIFSIGNALED(status)


def run_of(connection: Connection) -> SyncRun:
    """The run under way or a new one. Whoever held it is dead: its lease is over, and what it waits for."""
    SyncRun.objects.filter(status=WorkStatus.RUNNING).update(lease_until=Now() - timedelta(seconds=1))
    run = sync_runs.start(connection=connection, type="email", trigger="user")
    SyncRun.objects.filter(pk=run.pk).update(next_attempt_at=Now())
    return run


def finish(connection: Connection) -> float:
    """In peace; how long it took."""
    began = time.monotonic()
    run = run_of(connection)
    while sync_runs.execute(run.pk):
        pass
    run.refresh_from_db()
    assert run.status == WorkStatus.DONE, (run.error_code, run.error_message)
    return time.monotonic() - began


def kill_syncs(stage: Stage, kind: str, usual: float) -> None:
    for _ in range(IN_A_RUN):
        run = run_of(stage.disturbed)
        if not dies(lambda run=run: sync_runs.execute(run.pk), stage.dice.uniform(0.02, usual)):
            break
        stage.deaths[kind] += 1
    finish(stage.disturbed)


def rows(connection: Connection) -> dict[str, list[str]]:
    """All that a connection holds, without the moments of removals."""
    found = {}
    for name, sql in ROWS.items():
        with database.cursor() as cursor:
            cursor.execute(sql.replace("removed_at, content_key", "removed_at IS NULL, content_key"), [connection.pk])
            found[name] = sorted(map(str, cursor.fetchall()))
    return found


def check_same(stage: Stage) -> None:
    """As the undisturbed one, and as the provider."""
    assert_same(rows(stage.disturbed), rows(stage.quiet))
    present = Message.objects.present().filter(connection=stage.disturbed)
    found = [Truth(row.message_id, frozenset(row.folders), row.is_read, row.is_starred) for row in present]
    assert sorted(found, key=repr) == sorted(stage.harness.truth(), key=repr)


# --- four kinds of work ----------------------------------------------------------------------------------------------


def changes_elsewhere(stage: Stage, number: int) -> None:
    for index in range(8):
        stage.harness.deliver(mail(f"new-{number}-{index}"))
    present = sorted(found.message_id for found in stage.harness.truth() if found.roles == {"inbox"})
    for index, name in enumerate(stage.dice.sample(present, 9)):
        if index < 4:
            stage.harness.set_flags(name, read=bool(index % 2), starred=index < 2)
        elif index < 7:
            stage.harness.move(name, "trash")
        else:
            stage.harness.remove(name)


def click(stage: Stage) -> dict[str, bool]:
    """Some messages are read, archived or not; Message-ID → starred, as it must be in the end."""
    here = Message.objects.present().filter(connection=stage.disturbed, in_inbox=True).order_by("message_id")
    wanted = {}
    for row in stage.dice.sample(list(here), 9):
        change(message=row, kind=ChangeKind.READ, value=not row.is_read)
        change(message=row, kind=ChangeKind.STARRED, value=not row.is_starred)
        if stage.dice.random() < 0.3:
            change(message=row, kind=ChangeKind.ARCHIVED, value=True)
        wanted[row.message_id] = not row.is_starred
    return wanted


def check_clicks(stage: Stage, wanted: dict[str, bool]) -> None:
    for _ in range(2):
        LocalChange.objects.update(created_at=Now() - timedelta(days=1))
        finish(stage.disturbed)
    assert not LocalChange.objects.exclude(status="done").exists()
    assert {found.message_id: found.starred for found in stage.harness.truth() if found.message_id in wanted} == wanted


def send(stage: Stage, subject: str) -> Submission:
    user, workspace = stage.disturbed.user, stage.disturbed.workspace
    letter = Letter([BOB], subject, "At one?", connection_id=stage.disturbed.pk, idempotency_key=subject)
    return sending.send(user=user, workspace=workspace, letter=letter, by=user)


def kill_sends(stage: Stage, mails: int, name: str) -> None:
    """The caller asks again with the same key, then time passes."""
    began = time.monotonic()
    send(stage, f"{name} in peace")
    usual = time.monotonic() - began
    subjects = [f"{name} {number}" for number in range(mails)]
    for subject in subjects:
        if dies(lambda subject=subject: send(stage, subject), stage.dice.uniform(0.005, usual * 1.3)):
            stage.deaths["sends"] += 1
        Submission.objects.filter(lease_until__isnull=False).update(lease_until=Now() - timedelta(seconds=1))
        send(stage, subject)
    for _ in range(6):
        Submission.objects.filter(lease_until__isnull=False).update(lease_until=Now() - timedelta(seconds=1))
        Submission.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=Now())
        for submission_id in submissions.take_due():
            submissions.settle(submission_id)
    for subject in subjects:
        stages = {0: (SubmissionStage.UNCONFIRMED,), 1: (SubmissionStage.SENT,)}
        [submission] = Submission.objects.filter(subject=subject)
        assert stage.taken(subject) <= 1, "sent twice"
        assert submission.stage in stages[stage.taken(subject)], (subject, submission.stage)


def live(stage: Stage, *, rounds: int, mails: int) -> None:
    """A first sync, then rounds of changes and clicks, then sends, each with workers that die."""
    usual = finish(stage.quiet)
    kill_syncs(stage, "first sync", usual)
    check_same(stage)
    for number in range(rounds):
        changes_elsewhere(stage, number)
        usual = finish(stage.quiet)
        kill_syncs(stage, "changes", usual)
        check_same(stage)
        wanted = click(stage)
        kill_syncs(stage, "clicks", usual)
        check_clicks(stage, wanted)
        finish(stage.quiet)
        check_same(stage)
    kill_sends(stage, mails, stage.disturbed.pk.hex[-6:])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("vendor", VENDORS)
def test_workers_killed_at_any_moment_leave_what_a_quiet_life_leaves(
    opened: Callable[[str, int], Stage], vendor: str
) -> None:
    stage = opened(vendor, 0)
    live(stage, rounds=1, mails=2)
    assert stage.deaths.total() >= 3


@pytest.mark.chaos
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("vendor", VENDORS)
def test_three_hundred_workers_killed_leave_what_a_quiet_life_leaves(
    opened: Callable[[str, int], Stage], vendor: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """150 at each of the two vendors."""
    began, deaths, number = time.monotonic(), Counter[str](), 0
    while deaths.total() < 150:
        number += 1
        stage = opened(vendor, number)
        live(stage, rounds=3, mails=8)
        deaths += stage.deaths
    assert set(deaths) == set(KINDS)
    with capsys.disabled():
        print(f"\n{vendor}: {dict(deaths)} killed in {time.monotonic() - began:.0f} s, same rows and same ledger")
