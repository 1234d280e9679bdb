"""An outgoing mail from every point where something may break off: no second mail, no false word, nothing kept."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now

from core.errors import HubError, ProviderAuthError, ProviderRateLimited, ProviderUnavailable, ServiceBusy
from email_sync.models import Message, Submission, SubmissionStage, Thread, ThreadKey
from email_sync.records import OutgoingMail, SentMail
from email_sync.services import sending, store, submissions
from email_sync.tests.conftest import Account
from email_sync.tests.memory import Memory
from email_sync.tests.reports import report
from email_sync.tests.test_sending import make_due, post
from email_sync.tests.test_store import incoming
from email_sync.threading import message_id_key
from integrations.models import Connection, Event, EventType
from integrations.services import connections

pytestmark = pytest.mark.django_db


@pytest.fixture
def on_send(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[OutgoingMail], SentMail]], None]:
    """Give the mailbox another `send`."""

    def install(send: Callable[[OutgoingMail], SentMail]) -> None:
        monkeypatch.setattr(Memory, "send", lambda self, mail: send(mail))

    return install


def refusing(error: Exception) -> Callable[[OutgoingMail], SentMail]:
    def send(mail: OutgoingMail) -> SentMail:
        raise error

    return send


def test_refused_recipients_are_still_told_after_the_copy_is_filed(account: Account, on_send: Any) -> None:
    on_send(lambda mail: SentMail(message_id=mail.message_id, filed=False, refused=("eve@example.com",)))
    sent = post(account, to=["bob@example.com", "eve@example.com"])
    left_at = sent.sent_at
    assert (sent.stage, sent.refused, sent.filed) == (SubmissionStage.SENT, ["eve@example.com"], False)
    submissions.settle(sent.pk)
    sent.refresh_from_db()
    assert (sent.stage, sent.refused, sent.filed) == (SubmissionStage.SENT, ["eve@example.com"], True)
    assert sent.sent_at == left_at


def test_mail_that_stays_unconfirmed_is_not_kept_after_the_search_is_over(account: Account) -> None:
    account.box.lose_next_send_answer = True
    sent = post(account)
    account.box.messages.clear()
    Submission.objects.update(tried_at=Now() - timedelta(seconds=submissions.SETTLE_SECONDS), next_attempt_at=Now())
    submissions.settle(sent.pk)
    sent.refresh_from_db()
    assert (sent.stage, sent.next_attempt_at, sent.mime) == (SubmissionStage.UNCONFIRMED, None, None)


def test_copy_that_cannot_be_filed_for_a_day_is_given_up(account: Account, on_send: Any) -> None:
    on_send(lambda mail: SentMail(message_id=mail.message_id, filed=False))
    sent = post(account)

    def away(name: str) -> None:
        raise ProviderUnavailable("imap.example.com did not answer.")

    account.box.before_call = away
    Submission.objects.update(tried_at=Now() - timedelta(days=2))
    submissions.settle(sent.pk)
    sent.refresh_from_db()
    assert (sent.stage, sent.next_attempt_at, sent.mime) == (SubmissionStage.SENT, None, None)


def test_late_verdict_of_a_sender_that_was_given_up_does_not_undo_that_the_mail_was_found(
    account: Account, on_send: Any
) -> None:
    def slow(mail: OutgoingMail) -> SentMail:
        account.box.append(mail.mime, "sent")
        [submission] = Submission.objects.all()
        Submission.objects.update(lease_until=Now() - timedelta(seconds=1))
        submissions.settle(submission.pk)
        raise ProviderUnavailable("The line broke.")

    on_send(slow)
    sent = post(account)
    assert sent.stage == SubmissionStage.SENT
    assert submissions.take_due() == []


@pytest.mark.parametrize("error", [OSError("cable"), TimeoutError("silence")])
def test_broken_line_that_nobody_translated_leaves_the_fate_unknown(
    account: Account, on_send: Any, error: Exception
) -> None:
    on_send(refusing(error))
    assert post(account).stage == SubmissionStage.UNCONFIRMED


@pytest.mark.parametrize(
    "error", [ServiceBusy(), ProviderRateLimited(retry_after=math.inf), ProviderRateLimited(retry_after=math.nan)]
)
def test_mail_that_could_not_leave_now_leaves_later(account: Account, on_send: Any, error: HubError) -> None:
    on_send(refusing(error))
    sent = post(account)
    assert sent.stage == SubmissionStage.SENDING
    assert sent.next_attempt_at is not None


def test_credential_refused_while_its_user_reconnects_does_not_fail_the_mail(account: Account, on_send: Any) -> None:
    def reconnected(mail: OutgoingMail) -> SentMail:
        again = Connection.objects.get(pk=account.connection.pk)
        connections.save_connected(again, by=again.user, created=False)
        raise ProviderAuthError("Wrong password")

    on_send(reconnected)
    sent = post(account)
    account.connection.refresh_from_db()
    assert sent.stage == SubmissionStage.SENDING
    assert not account.connection.needs_reauth


def test_key_counts_for_a_day_and_then_sends_again(account: Account) -> None:
    first = post(account, idempotency_key="weekly")
    Submission.objects.update(created_at=Now() - timedelta(hours=25))
    again = post(account, idempotency_key="weekly", subject="Another week")
    assert again.pk != first.pk
    assert len(account.box.outbox) == 2
    assert post(account, idempotency_key="weekly").pk == again.pk


def test_twin_request_that_came_in_between_gets_the_same_mail(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = post(account, idempotency_key="k1")
    monkeypatch.setattr(sending, "earlier", _blind_once(sending.earlier))
    assert post(account, idempotency_key="k1").pk == first.pk
    assert len(account.box.outbox) == 1


def _blind_once(look: Callable[..., Submission | None]) -> Callable[..., Submission | None]:
    seen: list[int] = []

    def earlier(*given: Any) -> Submission | None:
        seen.append(1)
        return None if len(seen) == 1 else look(*given)

    return earlier


@pytest.mark.django_db(transaction=True)
def test_copy_that_is_synced_at_the_same_moment_shares_the_thread(account: Account) -> None:
    """The copy in Sent may be written by a sync just as the answer of the send is."""
    written, answered = threading.Event(), threading.Event()
    original = Memory.send
    sync = threading.Thread(target=lambda: _write_copy(account, written, answered))

    def send_and_sync(self: Memory, mail: OutgoingMail) -> SentMail:
        answer = original(self, mail)
        sync.start()
        assert written.wait(10)
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Memory, "send", send_and_sync)
        sent = post(account)
    sync.join(10)
    answered.set()
    assert sent.stage == SubmissionStage.SENT
    key = ThreadKey.objects.get(key=message_id_key(sent.message_id))
    assert sent.thread_id == key.thread_id
    assert Thread.objects.count() == 1


def _write_copy(account: Account, written: threading.Event, answered: threading.Event) -> None:
    """Write the page with the copy and keep the transaction open until the answer of the send waits for it."""
    try:
        [stored] = account.box.messages.values()
        with transaction.atomic():
            store.write_page(connection=account.connection, stream="sent", messages=[incoming(stored)])
            written.set()
            _wait_for_a_waiting_lock(answered)
    finally:
        database.close()


def _wait_for_a_waiting_lock(answered: threading.Event) -> None:
    give_up = time.monotonic() + 5
    while time.monotonic() < give_up and not answered.is_set():
        with database.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return


def test_mail_whose_bytes_are_gone_is_never_sent_empty(account: Account) -> None:
    sent = post(account)
    Submission.objects.update(stage=SubmissionStage.SENDING, mime=None)
    make_due(sent)
    submissions.settle(sent.pk)
    sent.refresh_from_db()
    assert sent.stage == SubmissionStage.FAILED
    assert len(account.box.outbox) == 1


def test_mail_whose_message_id_the_server_changed_is_found_by_ours_and_joins_its_copy(account: Account) -> None:
    account.box.lose_next_send_answer = True
    sent = post(account)
    [copy] = account.box.messages.values()
    renamed = copy.raw.replace(f"\r\nMessage-ID: <{sent.message_id}>".encode(), b"\r\nMessage-ID: <new@contract.test>")
    account.box.messages[copy.remote_id] = replace(copy, raw=renamed)
    make_due(sent)
    submissions.settle(sent.pk)
    sent.refresh_from_db()
    assert (sent.stage, sent.message_id) == (SubmissionStage.SENT, "new@contract.test")
    account.sync()
    assert Message.objects.get(message_id="new@contract.test").thread_id == sent.thread_id
    assert Thread.objects.count() == 1


def test_bounce_that_is_quicker_than_the_answer_to_the_send_tells_of_it_once(account: Account, on_send: Any) -> None:
    def slow(mail: OutgoingMail) -> SentMail:
        account.box.append(report("postfix", mail.message_id), "inbox")
        account.sync()
        raise ProviderUnavailable("The line broke.")

    on_send(slow)
    assert post(account).stage == SubmissionStage.SENT
    assert Event.objects.filter(type=EventType.EMAIL_SENT).count() == 1
