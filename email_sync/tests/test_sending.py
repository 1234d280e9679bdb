"""Sending from a user's mailbox: one row, one mail, honest states."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from core.errors import InvalidInput, NotConfigured, ProviderAuthError, ProviderUnavailable
from email_sync.models import Message, Submission, SubmissionStage, Thread
from email_sync.services import sending, submissions
from email_sync.services.sending import Letter
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.factories import connect
from email_sync.tests.memory import message_id_of
from integrations.models import SyncState
from integrations.services import schedule
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


def post(account: Account, **fields: object) -> Submission:
    """One mail to Bob unless told otherwise."""
    letter = Letter(**{"to": ["Bob <bob@example.com>"], "subject": "Lunch", "body": "At one?", **fields})  # type: ignore[arg-type]
    user = account.connection.user
    return sending.send(user=user, workspace=account.connection.workspace, letter=letter, by=user)


def make_due(submission: Submission) -> None:
    Submission.objects.filter(pk=submission.pk).update(next_attempt_at=Now(), lease_until=None)


def test_send_hands_the_mail_over_once_and_says_so(account: Account) -> None:
    sent = post(account, bcc=["eve@example.com"])
    assert sent.stage == SubmissionStage.SENT
    [left] = account.box.outbox
    assert set(left.recipients) == {"bob@example.com", "eve@example.com"}
    assert b"eve@example.com" not in left.mime
    assert message_id_of(left.mime) == sent.message_id
    assert sent.mime is None


def test_send_answers_the_thread_its_copy_will_be_in(account: Account) -> None:
    sent = post(account)
    account.sync()
    copy = Message.objects.get(message_id=sent.message_id)
    assert copy.thread_id == sent.thread_id
    assert Thread.objects.count() == 1


def test_sent_copy_is_fetched_by_the_next_tick(account: Account) -> None:
    account.sync()
    SyncState.objects.filter(connection=account.connection).update(next_sync_at=Now() + timedelta(hours=1))
    assert schedule.start_due() == 0
    post(account)
    assert schedule.start_due() == 1


def test_reply_carries_the_headers_and_joins_the_thread(account: Account) -> None:
    account.box.append(mail("question", subject="Lunch?"), "inbox")
    account.sync()
    question = Message.objects.get()
    sent = post(account, reply_to_id=question.pk, subject="Lunch?")
    assert sent.thread_id == question.thread_id
    [left] = account.box.outbox
    assert f"In-Reply-To: <{ident('question')}>".encode() in left.mime
    assert b"Subject: Re: Lunch?" in left.mime
    account.sync()
    assert Message.objects.filter(thread=question.thread).count() == 2


def test_refused_mail_has_failed_with_the_providers_words(account: Account) -> None:
    account.box.refuse_next_send = True
    sent = post(account)
    assert (sent.stage, sent.error_message) == (SubmissionStage.FAILED, "550 No such user here.")
    assert sent.next_attempt_at is None
    assert account.box.outbox == []


def test_lost_answer_is_unconfirmed_and_settled_from_sent_without_a_second_mail(account: Account) -> None:
    account.box.lose_next_send_answer = True
    sent = post(account)
    assert sent.stage == SubmissionStage.UNCONFIRMED
    make_due(sent)
    submissions.settle(sent.pk)
    sent.refresh_from_db()
    assert sent.stage == SubmissionStage.SENT
    assert len(account.box.outbox) == 1


def test_unconfirmed_mail_that_is_not_in_sent_is_never_sent_again(account: Account) -> None:
    account.box.lose_next_send_answer = True
    sent = post(account)
    account.box.messages.clear()
    for _ in range(5):
        make_due(sent)
        submissions.settle(sent.pk)
    Submission.objects.filter(pk=sent.pk).update(
        tried_at=Now() - timedelta(seconds=submissions.SETTLE_SECONDS), next_attempt_at=Now()
    )
    submissions.settle(sent.pk)
    sent.refresh_from_db()
    assert (sent.stage, sent.next_attempt_at) == (SubmissionStage.UNCONFIRMED, None)
    assert len(account.box.outbox) == 1


def test_sender_that_dies_in_the_middle_leaves_an_unconfirmed_mail(account: Account) -> None:
    def die(name: str) -> None:
        if name == "send":
            raise KeyboardInterrupt

    account.box.before_call = die
    with pytest.raises(KeyboardInterrupt):
        post(account)
    account.box.before_call = lambda name: None
    left = Submission.objects.get()
    assert left.stage == SubmissionStage.SENDING
    assert submissions.take_due() == []
    Submission.objects.update(lease_until=Now() - timedelta(seconds=1))
    assert submissions.take_due() == [left.pk]
    submissions.settle(left.pk)
    left.refresh_from_db()
    assert left.stage == SubmissionStage.UNCONFIRMED
    assert account.box.outbox == []


def test_provider_that_is_away_gets_the_mail_later(account: Account) -> None:
    def away(name: str) -> None:
        if name == "send":
            raise ProviderUnavailable("smtp.example.com did not answer.")

    account.box.before_call = away
    sent = post(account)
    assert sent.stage == SubmissionStage.SENDING
    account.box.before_call = lambda name: None
    make_due(sent)
    submissions.settle(sent.pk)
    sent.refresh_from_db()
    assert sent.stage == SubmissionStage.SENT
    assert len(account.box.outbox) == 1


def test_refused_credential_fails_the_mail_and_asks_for_the_user(account: Account) -> None:
    def refuse(name: str) -> None:
        raise ProviderAuthError("Invalid credentials")

    account.box.before_call = refuse
    sent = post(account)
    assert (sent.stage, sent.error_code) == (SubmissionStage.FAILED, "needs_reauth")
    account.connection.refresh_from_db()
    assert account.connection.needs_reauth


def test_same_key_after_our_own_crash_sends_nothing_again(account: Account) -> None:
    first = post(account, idempotency_key="k1")
    again = post(account, idempotency_key="k1")
    assert again.pk == first.pk
    assert len(account.box.outbox) == 1


def test_send_without_a_mailbox_says_what_to_do(owner: Actor) -> None:
    letter = Letter(to=["bob@example.com"], subject="x", body="y")
    with pytest.raises(NotConfigured, match="Connect a mailbox first"):
        sending.send(user=owner.user, workspace=owner.workspace, letter=letter, by=owner.user)


def test_reply_from_another_mailbox_is_refused(account: Account, member: Actor) -> None:
    account.box.append(mail("question"), "inbox")
    account.sync()
    other = connect(member, "second@contract.test")
    with pytest.raises(InvalidInput) as refused:
        post(account, reply_to_id=Message.objects.get().pk, connection_id=other.pk)
    assert "replyToId" in refused.value.fields
