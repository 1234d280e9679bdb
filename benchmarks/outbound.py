"""Row `outbound`: a workspace's thousand queued mails beside the rate that their vendor allows, and another workspace's
mail meanwhile. The simulator counts as the vendor does and refuses at the limit; its ledger is what is measured.

The workers are threads that take turns as Celery's do: a slice of a table, then to the back of the queue.
"""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path

from django.conf import settings
from django.db import connection as database

from benchmarks.measuring import Report, say
from email_logs.models import EmailLogEntry, EmailLogTable, OutgoingEmail
from email_logs.services import outgoing, send_email
from integrations.models import Integration
from integrations.services import integrations
from simulator.process import Simulator, running
from workspaces.models import Membership
from workspaces.services import members

WORKERS = 4
NEIGHBOURS = 10
PER_SECOND = 10
"""What is allowed to the first workspace's vendor: 600 a minute."""


def measure(options: argparse.Namespace, folder: Path, report: Report) -> None:
    """The row."""
    count = 300 if options.small else 1000
    with running() as simulator:
        for name, value in simulator.env().items():
            setattr(settings, name, value.split(",") if name == "EGRESS_ALLOW_CIDRS" else value)
        simulator.settings(sendgrid_requests_per_minute=PER_SECOND * 60, resend_requests_per_second=2)
        busy, other = _provider(simulator, "EMAIL_PROVIDER_ALT"), _provider(simulator, "EMAIL_PROVIDER")
        outgoing.queued.disconnect(dispatch_uid="email_logs.tasks.on_queued")  # there is no Celery here to be rung
        say(f"queueing {count:,} mails, sending them for about {count / PER_SECOND:.0f} s")
        began = time.monotonic()
        _queue(busy, count)
        report.add("queueing a mail", "ms", 1000 * (time.monotonic() - began) / count)
        simulator.clear_ledger()
        _report(simulator, report, busy, _send(other), count)


def _provider(simulator: Simulator, type: str) -> Integration:
    """A workspace of its own with a site email provider."""
    key, sender = f"key-of-{type.lower()}", "hub@mail.example"
    simulator.control("POST", "/resend/keys", {"key": key})
    simulator.control("POST", "/resend/domains", {"name": "mail.example"})
    simulator.control("POST", "/sendgrid/keys", {"key": key})
    simulator.control("POST", "/sendgrid/senders", {"sender": "mail.example"})
    owner: Membership = members.create_workspace(
        by=None, name=type, owner_email=f"{type.lower()}@bench.example", owner_password="a password of the bench"
    )
    return integrations.create(
        workspace=owner.workspace, by=owner.user, name="Mail", type=type, config={"fromEmail": sender},
        credentials={"apiKey": key}, site_email_provider=True,
    )  # fmt: skip


def _queue(integration: Integration, count: int) -> None:
    for number in range(count):
        given = {"to": ["ada@hub.example"], "subject": f"{integration.type} {number}", "body": "Hi"}
        send_email(workspace=integration.workspace, given=given, integration=integration, at_once=False)


def _send(other: Integration) -> float:
    """All that is queued, while the other workspace sends something every few seconds; how long it took."""
    began, done = time.monotonic(), threading.Event()
    workers = [threading.Thread(target=_work, args=(done,)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    left = NEIGHBOURS
    while outgoing.waiting() or left:
        if left:
            _queue(other, 1)
            left -= 1
        time.sleep(1.0)
    done.set()
    elapsed = time.monotonic() - began
    for worker in workers:
        worker.join()
    return elapsed


def _work(done: threading.Event) -> None:
    try:
        while not done.is_set():
            for table_id in outgoing.unattended():
                outgoing.begun(table_id)
                outgoing.work(table_id, call_help=lambda: None)
            done.wait(0.2)
    finally:
        database.close()


def _report(simulator: Simulator, report: Report, busy: Integration, elapsed: float, count: int) -> None:
    sent = [mail for mail in simulator.sent() if mail["vendor"] == "sendgrid"]
    first, last = (float(mail["time"]) for mail in (sent[0], sent[-1]))
    refused = sum(1 for entry in simulator.ledger(limit=500_000) if entry["status"] == 429)
    report.add("allowed", "mails/s", PER_SECOND, "of the vendor")
    report.add("left", "mails/s", (count - 1) / max(last - first, 0.001), f"{len(sent):,} mails in {elapsed:,.0f} s")
    report.add("refusals", "requests", refused)
    table = EmailLogTable.objects.exclude(integration=busy).get()
    begun = dict(OutgoingEmail.objects.values_list("entry_id", "created_at"))
    taken = EmailLogEntry.objects.filter(table=table, state="accepted")
    waits = [(entry.sent_at - begun[entry.pk]).total_seconds() for entry in taken]
    report.add("another workspace's mail waits", "s", max(waits), f"the longest of {len(waits)}")
