"""An answer sent through Graph stands in the conversation it answers, wherever Exchange files its copy: Exchange finds
a conversation by marks that MIME does not carry, and may begin another one for the copy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from email_sync.composing import OutgoingAttachment
from email_sync.models import Message, Submission, Thread
from email_sync.services import submissions
from email_sync.services.sending import Letter
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.factories import connect
from email_sync.tests.graph_simulator import GraphHarness
from email_sync.tests.send_faults import hand_in
from integrations.models import Event, EventType
from simulator.process import Simulator, running
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db
ADA, BOB = "ada@contract.test", "bob@contract.test"
LARGE = OutgoingAttachment("plan.bin", "application/octet-stream", b"\x00\x01" * 1_200_000)
THREADS = "/api/v1/integrations/email/thread"


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def harness(process: Simulator, settings: Any) -> GraphHarness:
    """Exchange at its worst: a conversation of its own for each mail that comes as MIME."""
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    settings.MAIL_PROVIDER_SETTINGS = {"microsoft": {"graphApiUrl": process.base_url, "quotaUnits": 0}}
    process.reset()
    process.settings(graph_splits_conversations=True)
    return GraphHarness(process, ADA, (BOB,))


@pytest.fixture
def account(harness: GraphHarness, member: Actor) -> Account:
    connection = connect(member, ADA, provider="microsoft")
    connection.credentials = {"access_token": harness.token}
    connection.save()
    harness.deliver(mail("question", sender=f"Bob <{BOB}>"))
    account = Account(connection)
    account.sync()
    return account


def answer(account: Account, *attachments: OutgoingAttachment) -> Submission:
    question = Message.objects.get(message_id=ident("question"))
    return hand_in(account, Letter([BOB], "", "Yes.", reply_to_id=question.pk, attachments=attachments))


def look(submission: Submission) -> None:
    """The sweeper comes by."""
    Submission.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=Now() - timedelta(seconds=1))
    for submission_id in submissions.take_due():
        submissions.settle(submission_id)
    submission.refresh_from_db()


def conversation(actor: Actor) -> list[str]:
    """The subjects of the question's conversation, as the API shows it by the id that was given for the answer."""
    thread_id = Submission.objects.get().thread_id
    found = actor.client.get(f"{THREADS}/{thread_id}").json()
    return [email["subject"] for email in found["emails"]]


def check_is_one(account: Account, harness: GraphHarness, member: Actor) -> None:
    """The answer, then what Bob writes to it, are in the thread of the question; the other one is a pointer."""
    [copy] = [item for item in harness.messages() if item["folder"] == "sentitems"]
    question = Message.objects.get(message_id=ident("question"))
    account.sync()
    assert Message.objects.get(in_sent=True).thread_id == question.thread_id
    again = mail("again", subject="Re: About question").replace(
        b"Subject:", f"References: {copy['message_id']}\r\nSubject:".encode(), 1
    )
    harness.deliver(again)
    account.sync()
    found = Message.objects.get(message_id=ident("again"))
    assert found.thread_id == question.thread_id
    assert Thread.objects.filter(merged_into=None, message_count__gt=0).count() == 1
    thread = Thread.objects.get(pk=question.thread_id)
    assert (thread.message_count, thread.shown_count) == (3, 3)
    assert len(conversation(member)) == 3


@pytest.mark.parametrize("files", [(), (LARGE,)], ids=["one call", "from a draft"])
def test_answer_is_in_the_conversation_it_answers(
    account: Account, harness: GraphHarness, member: Actor, files: tuple[OutgoingAttachment, ...]
) -> None:
    submission = answer(account, *files)
    assert submission.thread_id == Message.objects.get(message_id=ident("question")).thread_id
    assert submission.next_attempt_at is None
    check_is_one(account, harness, member)


@pytest.mark.parametrize("synced_before", [False, True], ids=["looked at first", "synced first"])
def test_answer_whose_copy_comes_later_is_in_the_conversation_it_answers(
    account: Account, harness: GraphHarness, member: Actor, synced_before: bool
) -> None:
    harness.simulator.settings(graph_sent_copy_seconds=30.0)
    submission = answer(account)
    assert submission.next_attempt_at is not None
    look(submission)
    assert submission.next_attempt_at is not None
    harness.simulator.advance(31)
    harness.simulator.settings(graph_sent_copy_seconds=0.0)
    if synced_before:
        account.sync()
        assert Thread.objects.filter(merged_into=None).count() == 2
    Event.objects.all().delete()
    look(submission)
    assert (submission.stage, submission.next_attempt_at) == ("sent", None)
    assert Event.objects.filter(type=EventType.EMAIL_UPDATED).exists() == synced_before
    assert not Event.objects.filter(type=EventType.EMAIL_SENT).exists()
    check_is_one(account, harness, member)


def test_answer_whose_copy_is_never_seen_is_not_looked_for_without_end(account: Account, harness: GraphHarness) -> None:
    harness.simulator.settings(graph_sent_copy_seconds=10_000.0)
    submission = answer(account)
    Submission.objects.update(tried_at=Now() - timedelta(seconds=submissions.SETTLE_SECONDS))
    look(submission)
    assert (submission.stage, submission.next_attempt_at, submission.error_code) == ("sent", None, "")


def test_two_conversations_that_were_answered_stay_two(account: Account, harness: GraphHarness) -> None:
    """Also where Exchange files both copies under one."""
    harness.simulator.settings(graph_splits_conversations=False)
    harness.deliver(mail("other", sender=f"Bob <{BOB}>"))
    account.sync()
    answer(account)
    other = Message.objects.get(message_id=ident("other"))
    hand_in(account, Letter([BOB], "", "No.", reply_to_id=other.pk))
    account.sync()
    standing = Thread.objects.filter(merged_into=None, message_count__gt=0)
    assert sorted(standing.values_list("message_count", flat=True)) == [2, 2]
