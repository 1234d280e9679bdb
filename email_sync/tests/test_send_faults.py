"""A send that breaks at each of twelve points, through Gmail and through SMTP (reference reliability R12): at most one
mail, never a false word, and what was surely not handed over leaves later.

One send for each point in `make test`; `make chaos` does 25 of each, 600 in all, and asks a hundred times at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db.models.functions import Now

from core.errors import HubError
from email_sync.models import Submission, SubmissionStage
from email_sync.providers import MAIL_PROVIDERS
from email_sync.providers.imap import smtp
from email_sync.providers.imap.settings import Endpoint
from email_sync.records import OutgoingMail, SentMail
from email_sync.services import sending, submissions
from email_sync.services.sending import Letter
from email_sync.tests.conftest import Account
from email_sync.tests.factories import connect
from email_sync.tests.gmail_simulator import GmailHarness
from email_sync.tests.memory import Mailbox, Memory
from email_sync.tests.send_faults import ADA, BOB, DEATHS, LONG, Fault, break_off, check, send, time_passes
from email_sync.tests.smtp_sink import SmtpSink, free_port
from integrations.models import Connection
from simulator.process import Simulator, running
from workspaces.tests.fixtures import Actor

# --- Gmail ------------------------------------------------------------------------------------------------------------


class GmailScene:
    def __init__(self, harness: GmailHarness, member: Actor) -> None:
        self.simulator = harness.simulator
        self.connection = connect(member, ADA, provider="google")
        self.connection.credentials = {"access_token": harness.token}
        self.connection.save()
        self.faults = {
            **DEATHS,
            "closes before it takes the mail": self._fault("close"),
            "closes after it took the mail": self._fault("close", effect=True),
            "fails before it takes the mail": self._fault("status", status=503),
            "fails after it took the mail": self._fault("status", status=502, effect=True),
            "answers garbage": self._fault("garbage", effect=True),
            "asks to wait": self._fault("status", status=429, headers={"Retry-After": "30"}),
            "refuses for good": self._fault("status", status=400, reason="invalidArgument"),
        }

    def _fault(self, kind: str, **rule: Any) -> Fault:
        @contextmanager
        def faulty() -> Iterator[None]:
            self.simulator.fault(kind, operation="gmail.users.messages.send", **rule)
            yield
            self.simulator.clear_faults()

        return faulty

    def taken(self, subject: str) -> int:
        return len(self.simulator.sent(subject=subject))

    def send(self, subject: str) -> Submission:
        return send(self, subject)


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def gmail(process: Simulator, settings: Any, member: Actor) -> GmailScene:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    settings.MAIL_PROVIDER_SETTINGS = {"google": {"gmailApiUrl": process.base_url, "quotaUnits": 0}}
    process.reset()
    process.settings(gmail_quota_units_per_minute=10_000_000)
    return GmailScene(GmailHarness(process, ADA, (BOB,)), member)


# --- SMTP -------------------------------------------------------------------------------------------------------------


class SmtpMemory(Memory):
    """A mailbox in memory that sends through a real SMTP connection."""

    port = 0

    def send(self, mail: OutgoingMail) -> SentMail:
        return smtp.send(Endpoint("127.0.0.1", self.port, "none", ""), mail)


class SmtpScene:
    def __init__(self, sink: SmtpSink, connection: Connection) -> None:
        self.sink, self.connection = sink, connection
        self.faults = {
            **DEATHS,
            "is not there": self._not_there,
            "closes at the recipient": self._at(drop_at="RCPT"),
            "closes in the middle of the mail": self._at(drop_at="354"),
            "closes after the final dot": self._at(drop_at="DATA"),
            "refuses the recipient for now": self._at(refusals={BOB: "450 4.2.1 Later"}),
            "refuses the mail for now": self._at(refusals={"DATA": "451 4.3.0 Later"}),
            "refuses the mail for good": self._at(refusals={"DATA": "554 5.7.1 Spam"}),
        }

    def _at(self, **columns: Any) -> Fault:
        @contextmanager
        def faulty() -> Iterator[None]:
            for name, value in columns.items():
                setattr(self.sink, name, value)
            yield
            self.sink.drop_at, self.sink.refusals = "", {}

        return faulty

    @contextmanager
    def _not_there(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SmtpMemory, "port", free_port())
            yield

    def taken(self, subject: str) -> int:
        return sum(f"Subject: {subject}\r\n".encode() in raw for _, raw in self.sink.received)

    def send(self, subject: str) -> Submission:
        return send(self, subject)


@pytest.fixture
def over_smtp(settings: Any, member: Actor, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmtpScene]:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    monkeypatch.setitem(MAIL_PROVIDERS._loaded, Memory.key, SmtpMemory)
    monkeypatch.setattr(Memory, "mailboxes", {ADA: Mailbox()})
    with SmtpSink() as sink:
        monkeypatch.setattr(SmtpMemory, "port", sink.port)
        yield SmtpScene(sink, connect(member, ADA))


# --- the matrix ------------------------------------------------------------------------------------------------------


GMAIL_POINTS = [*DEATHS, "closes before it takes the mail", "closes after it took the mail",
                "fails before it takes the mail", "fails after it took the mail", "answers garbage", "asks to wait",
                "refuses for good"]  # fmt: skip
SMTP_POINTS = [*DEATHS, "is not there", "closes at the recipient", "closes in the middle of the mail",
               "closes after the final dot", "refuses the recipient for now", "refuses the mail for now",
               "refuses the mail for good"]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize("point", GMAIL_POINTS)
def test_send_through_gmail_that_breaks_is_one_mail_or_none_and_says_which(gmail: GmailScene, point: str) -> None:
    check(gmail, point, 1)


@pytest.mark.django_db
@pytest.mark.parametrize("point", ["closes after it took the mail", "fails after it took the mail", "answers garbage"])
def test_send_that_gmail_took_is_found_under_the_id_gmail_gave_it(gmail: GmailScene, point: str) -> None:
    gmail.simulator.settings(gmail_rewrites_message_id=True)
    assert break_off(gmail, point, "Lunch").stage == SubmissionStage.SENT
    assert gmail.taken("Lunch") == 1


@pytest.mark.django_db
@pytest.mark.parametrize("point", SMTP_POINTS)
def test_send_through_smtp_that_breaks_is_one_mail_or_none_and_says_which(over_smtp: SmtpScene, point: str) -> None:
    check(over_smtp, point, 1)


@pytest.mark.chaos
@pytest.mark.django_db
@pytest.mark.parametrize("point", GMAIL_POINTS)
def test_sends_through_gmail_that_break_are_one_mail_or_none_each(gmail: GmailScene, point: str) -> None:
    check(gmail, point, LONG)


@pytest.mark.chaos
@pytest.mark.django_db
@pytest.mark.parametrize("point", SMTP_POINTS)
def test_sends_through_smtp_that_break_are_one_mail_or_none_each(over_smtp: SmtpScene, point: str) -> None:
    check(over_smtp, point, LONG)


# --- one key, many at once --------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_same_key_at_once_sends_one_mail_and_answers_all_alike(account: Account, member: Actor) -> None:
    ask_at_once(account, member, 8, 1)


@pytest.mark.chaos
@pytest.mark.django_db(transaction=True)
def test_same_key_a_hundred_times_sends_one_mail_and_answers_all_alike(account: Account, member: Actor) -> None:
    ask_at_once(account, member, 25, 4)


def ask_at_once(account: Account, member: Actor, clients: int, times: int) -> None:
    """So many clients, each so many times, with one key."""
    answers: list[dict[str, Any]] = []
    barrier = threading.Barrier(clients)
    asking = [threading.Thread(target=_ask, args=(member, barrier, times, answers)) for _ in range(clients)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(60)
    assert len(answers) == clients * times
    assert all(answer == answers[0] for answer in answers)
    assert len(account.box.outbox) == 1


def _ask(member: Actor, barrier: threading.Barrier, times: int, answers: list[dict[str, Any]]) -> None:
    """Until answered: a twin under way is told to wait."""
    body = {"to": [BOB], "subject": "Lunch", "body": "At one?"}
    try:
        barrier.wait(30)
        for _ in range(times):
            while True:
                answer = member.client.post("/api/v1/integrations/email/send", body, headers={"Idempotency-Key": "k"})
                if answer.status_code == 201:
                    break
                assert answer.status_code in (409, 503), answer.content
                time.sleep(0.3)
            answers.append(answer.json())
    finally:
        database.close()


# --- limits and what nobody thought of --------------------------------------------------------------------------------


@pytest.mark.django_db
def test_send_over_a_days_limit_waits_as_long_as_it_is_told_and_says_so(gmail: GmailScene) -> None:
    gmail.simulator.fault(
        "status", operation="gmail.users.messages.send", status=429, headers={"Retry-After": "40000"}, count=1
    )
    submission = send(gmail, "Lunch")
    assert (submission.stage, submission.error_code) == (SubmissionStage.SENDING, "provider_rate_limited")
    waits = Submission.objects.filter(
        next_attempt_at__gt=Now() + timedelta(seconds=39_000), next_attempt_at__lt=Now() + timedelta(seconds=41_000)
    )
    assert waits.exists()
    time_passes()
    submission.refresh_from_db()
    assert submission.stage == SubmissionStage.SENT


@pytest.mark.django_db
def test_send_that_nobody_takes_for_a_day_fails_with_the_last_words(over_smtp: SmtpScene) -> None:
    over_smtp.sink.refusals = {"DATA": "451 4.3.0 Try later"}
    submission = send(over_smtp, "Lunch")
    assert submission.stage == SubmissionStage.SENDING
    Submission.objects.update(created_at=Now() - timedelta(hours=25))
    time_passes()
    submission.refresh_from_db()
    assert (submission.stage, "Try later" in submission.error_message) == (SubmissionStage.FAILED, True)


@pytest.mark.django_db
@pytest.mark.parametrize("error", [RuntimeError("a bug"), HubError("odd"), ValueError("odd")])
def test_look_that_breaks_backs_off_and_ends_with_words(
    account: Account, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(self: Memory, message_id: str) -> SentMail | None:
        raise error

    monkeypatch.setattr(Memory, "find_sent", broken)
    account.box.lose_next_send_answer = True
    letter = Letter([BOB], "Lunch", "At one?")
    user = account.connection.user
    submission = sending.send(user=user, workspace=account.connection.workspace, letter=letter, by=user)
    time_passes()
    assert submissions.take_due() == []
    Submission.objects.update(tried_at=Now() - timedelta(seconds=submissions.SETTLE_SECONDS))
    time_passes()
    submission.refresh_from_db()
    assert (submission.stage, submission.next_attempt_at) == (SubmissionStage.UNCONFIRMED, None)
    assert submission.error_message == submissions.NOT_FOUND


@pytest.mark.django_db
def test_send_that_breaks_in_our_own_code_leaves_the_fate_unknown(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Memory, mail: OutgoingMail) -> SentMail:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Memory, "send", broken)
    letter = Letter([BOB], "Lunch", "At one?")
    user = account.connection.user
    sent = sending.send(user=user, workspace=account.connection.workspace, letter=letter, by=user)
    assert sent.stage == SubmissionStage.UNCONFIRMED
