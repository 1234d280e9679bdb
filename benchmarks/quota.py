"""Row `quota`: a first sync of Gmail beside the units that the simulator grants: what share of them it uses, and how
often it is refused. The simulator counts as Google says it does, units per user within the last minute, and refuses at
the limit; its ledger is what is measured.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from django.conf import settings
from django.db.models.functions import Now

from benchmarks.imap_sync import _owner
from benchmarks.measuring import Report, say
from core.work import WorkStatus
from email_sync.models import Message
from email_sync.tests.gmail_simulator import GmailHarness
from integrations.models import Connection, SyncRun, SyncState
from integrations.services import sync_runs
from simulator.process import Simulator, running

EMAIL = "owner@bench.example"
UNITS_PER_MINUTE = 6000
MESSAGE = 20
"""Units of a message, which is nearly all that an import pays for."""


def measure(options: argparse.Namespace, folder: Path, report: Report) -> None:
    """The row."""
    count = 600 if options.small else 1_500
    with running() as simulator:
        connection = _connect(simulator, count)
        say(f"importing {count:,} messages, about {count * MESSAGE / UNITS_PER_MINUTE:.0f} minutes")
        simulator.clear_ledger()
        began = time.monotonic()
        _import(connection)
        elapsed = time.monotonic() - began
        _report(simulator, report, elapsed)


def _connect(simulator: Simulator, count: int) -> Connection:
    """A Gmail account with so many messages and a quota, connected here."""
    harness = GmailHarness(simulator, EMAIL, ())
    simulator.seed(EMAIL, count)
    simulator.settings(gmail_quota_units_per_minute=UNITS_PER_MINUTE)
    settings.MAIL_PROVIDER_SETTINGS = {"google": {"gmailApiUrl": simulator.base_url, "quotaUnits": UNITS_PER_MINUTE}}
    owner = _owner()
    made = Connection.objects.create(
        workspace=owner.workspace, user=owner.user, provider="google", account_id=EMAIL, account_email=EMAIL,
        credentials={"access_token": harness.token},
    )  # fmt: skip
    SyncState.objects.create(connection=made, type="email")
    return made


def _import(connection: Connection) -> None:
    """One run as workers do it: slice by slice, waiting where it has to."""
    run = sync_runs.start(connection=connection, type="email", trigger="user")
    while run.status in (WorkStatus.QUEUED, WorkStatus.RUNNING):
        sync_runs.execute(run.pk)
        run = SyncRun.objects.annotate(now=Now()).get(pk=run.pk)
        time.sleep(max(0.0, (run.next_attempt_at - run.now).total_seconds()))
    if run.status != WorkStatus.DONE:
        raise RuntimeError(f"The sync ended as {run.status}: {run.error_message}")


def _report(simulator: Simulator, report: Report, elapsed: float) -> None:
    entries = simulator.ledger(limit=500_000)
    spent = sum(int(entry["units"]) for entry in entries)
    refused = sum(1 for entry in entries if entry["status"] in (403, 429))
    granted = UNITS_PER_MINUTE * elapsed / 60
    report.add("granted", "units", granted, f"{UNITS_PER_MINUTE:,} a minute, for {elapsed:,.0f} s")
    report.add("spent", "units", spent, f"{Message.objects.count():,} messages")
    report.add("share used", "%", 100 * spent / granted)
    report.add("refusals", "requests", refused)
