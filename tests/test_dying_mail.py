"""Workers killed with `kill -9` at random moments while they send a workspace's mail (promise 1, reference reliability
R1, R12): each mail left once or not at all, and the log calls it what it is. The vendors' ledger is the truth.

A few deaths at each vendor in `make test`, 150 in `make chaos`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import pytest
from django.db.models.functions import Now

from email_logs.models import EmailLogEntry, EmailLogTable, OutgoingEmail
from email_logs.services import outgoing, send_email
from integrations.models import QuotaBudget
from integrations.services import quota
from simulator.process import Simulator, running
from tests.test_dying_workers import dies
from workspaces.tests.fixtures import Actor

KEYS = {"EMAIL_PROVIDER": "re_key", "EMAIL_PROVIDER_ALT": "SG.key"}
SECONDS = 0.25
"""A worker that is to die lives no longer."""


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def vendor(process: Simulator, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """Answers take a while, so that there are many moments to die in."""
    process.reset(seed=1)
    for name, value in process.env().items():
        setattr(settings, name, value.split(",") if name == "EGRESS_ALLOW_CIDRS" else value)
    process.settings(resend_requests_per_second=0, sendgrid_requests_per_minute=0)
    process.control("POST", "/resend/keys", {"key": KEYS["EMAIL_PROVIDER"]})
    process.control("POST", "/resend/domains", {"name": "mail.example"})
    process.control("POST", "/sendgrid/keys", {"key": KEYS["EMAIL_PROVIDER_ALT"]})
    process.control("POST", "/sendgrid/senders", {"sender": "mail.example"})
    process.fault("latency", path="/emails|/mail/send", seconds=0.03)
    monkeypatch.setattr(quota.Budget, "spend", lambda self, units: None)
    return process


def kill(vendor: Simulator, admin: Actor, type: str, deaths: int) -> None:
    """Workers die until so many did, then one is left in peace."""
    body = {
        "name": "Mail", "type": type, "config": {"fromEmail": "hub@mail.example"},
        "credentials": {"apiKey": KEYS[type]}, "setAsSiteEmailProvider": True,
    }  # fmt: skip
    assert admin.client.post("/api/integrations", body, format="json").status_code == 201
    dice, died, numbers = random.Random(f"{type} {deaths}"), 0, count()
    while died < deaths:
        for number in islice(numbers, 6):
            given = {"to": ["ada@hub.example"], "subject": f"mail {number}", "body": "Hi"}
            send_email(workspace=admin.workspace, given=given, at_once=False)
        died += dies(go_through, dice.random() * SECONDS)
        time_passes()
    for _ in range(5):
        go_through()
        time_passes()
    judge(vendor, type, died)


def go_through() -> None:
    """A worker, until nothing is due."""
    table = EmailLogTable.objects.get()
    while outgoing.work(table.pk, call_help=lambda: None):
        continue


def time_passes() -> None:
    """The dead are noticed, and what waits is due: a vendor whose first call under a key goes on asks to wait."""
    outgoing.forget_dead()
    EmailLogTable.objects.update(not_before=None)
    OutgoingEmail.objects.filter(status="queued").update(next_attempt_at=Now())


def judge(vendor: Simulator, type: str, died: int) -> None:
    states = dict(EmailLogEntry.objects.values_list("subject", "state"))
    taken = [str(mail["subject"]) for mail in vendor.sent()]
    assert len(taken) == len(set(taken)), "sent twice"
    assert {subject for subject, state in states.items() if state == "accepted"} <= set(taken)
    assert set(states.values()) <= {"accepted", "unknown"}
    unknown = sum(state == "unknown" for state in states.values())
    assert unknown <= (0 if type == "EMAIL_PROVIDER" else died)
    assert not OutgoingEmail.objects.waiting().exists()
    assert not QuotaBudget.objects.filter(closed_until__gt=Now()).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("type", sorted(KEYS))
def test_workers_that_are_killed_send_each_mail_once_and_say_what_is_true(
    vendor: Simulator, admin: Actor, type: str
) -> None:
    kill(vendor, admin, type, 4)


@pytest.mark.chaos
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("type", sorted(KEYS))
def test_many_workers_that_are_killed_send_each_mail_once(vendor: Simulator, admin: Actor, type: str) -> None:
    kill(vendor, admin, type, 75)
