"""Mail of users' own mailboxes in the log of outbound mail: when it leaves, what becomes of it, what reports say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.errors import ProviderRejected
from email_logs.models import DeliveryEvent, EmailLogEntry, EmailLogTable, Suppression
from email_logs.states import State
from email_logs.tests.factories import email_provider, entry
from email_logs.tests.posts import VENDORS
from email_sync.composing import OutgoingAttachment
from email_sync.models import Submission, SubmissionStage
from email_sync.records import OutgoingMail, SentMail
from email_sync.services import outbox, submissions
from email_sync.tests.conftest import Account
from email_sync.tests.memory import Memory
from email_sync.tests.reports import report
from email_sync.tests.test_sending import make_due, post
from integrations.models import Event, EventType
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db

FILE = OutgoingAttachment("notes.txt", "text/plain", b"notes")


def logged(sent: Submission) -> EmailLogEntry:
    return EmailLogEntry.objects.select_related("table").get(pk=sent.pk)


def test_mail_that_leaves_is_in_the_table_of_its_provider(account: Account) -> None:
    sent = post(
        account, cc=["Carol <carol@example.com>"], bcc=["eve@example.com"], source="Form Send", attachments=[FILE]
    )
    found = logged(sent)
    assert (found.to, found.cc, found.bcc) == ("bob@example.com", "carol@example.com", "eve@example.com")
    assert (found.sender, found.subject, found.source) == ("ada@contract.test", "Lunch", "Form Send")
    assert (found.state, found.message_id, found.attachments, found.error) == ("accepted", sent.message_id, 1, "")
    assert found.connection_id == account.connection.pk
    assert (found.table.provider, found.table.integration_id) == (account.connection.provider, None)
    post(account)
    assert EmailLogTable.objects.count() == 1


def test_logging_costs_two_statements(account: Account) -> None:
    post(account)
    with CaptureQueriesContext(database) as queries:
        post(account)
    assert len([one for one in queries if "email_logs_" in one["sql"]]) == 2


def test_mail_that_waits_is_logged_when_it_leaves_and_one_taken_back_never(account: Account) -> None:
    later = timezone.now() + timedelta(hours=1)
    waits, taken_back = post(account, send_at=later), post(account, send_at=later)
    outbox.cancel(submission=taken_back, by=account.connection.user)
    assert not EmailLogEntry.objects.exists()
    make_due(waits)
    submissions.settle(waits.pk)
    assert logged(waits).state == State.ACCEPTED
    assert EmailLogEntry.objects.count() == 1


def test_refused_mail_is_failed_in_the_providers_words(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Memory, mail: OutgoingMail) -> SentMail:
        raise ProviderRejected("Message content rejected.")

    monkeypatch.setattr(Memory, "send", refuse)
    found = logged(post(account))
    assert (found.state, found.error) == (State.FAILED, "Message content rejected.")


def test_recipients_refused_while_others_got_it_are_in_the_error(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = SentMail(refused=("eve@example.com",))
    monkeypatch.setattr(Memory, "send", lambda self, mail: taken)
    found = logged(post(account, to=["bob@example.com", "eve@example.com"]))
    assert (found.state, found.error) == (State.ACCEPTED, "The provider refused it for eve@example.com.")


def test_mail_without_an_answer_is_unknown_until_it_is_found_in_sent(account: Account) -> None:
    account.box.lose_next_send_answer = True
    sent = post(account)
    assert sent.stage == SubmissionStage.UNCONFIRMED
    assert logged(sent).state == State.UNKNOWN
    make_due(sent)
    submissions.settle(sent.pk)
    found = logged(sent)
    assert (found.state, found.error) == (State.ACCEPTED, "")
    assert EmailLogEntry.objects.count() == 1


def test_mail_whose_sender_died_is_unknown(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = post(account, send_at=timezone.now() + timedelta(hours=1))
    Submission.objects.filter(pk=sent.pk).update(stage="sending", calling=True, tried_at=timezone.now())
    make_due(sent)
    monkeypatch.setattr(Memory, "find_sent", lambda self, message_id: None)
    submissions.settle(sent.pk)
    assert logged(sent).state == State.UNKNOWN


# --- reports ----------------------------------------------------------------------------------------------------------


def test_report_in_the_mailbox_moves_the_entry_and_suppresses_nobody(account: Account) -> None:
    account.sync()
    sent = post(account, to=["bob@example.com", "carol@example.com"])
    account.box.append(report("postfix", sent.message_id), "inbox")
    account.sync()
    account.sync()
    found = logged(sent)
    assert found.state == State.BOUNCED
    assert found.error.startswith("bob@example.com: ")
    assert "5.1.1" in found.error
    told = DeliveryEvent.objects.get()
    assert (told.entry_id, told.kind, told.recipients) == (found.pk, "bounced", ["bob@example.com"])
    assert not Suppression.objects.exists()
    assert Event.objects.filter(type=EventType.EMAIL_BOUNCED).count() == 1, "told once, by the mailbox"


def test_report_on_an_unconfirmed_mail_proves_it_and_bounces_it(account: Account) -> None:
    account.sync()
    account.box.lose_next_send_answer = True
    sent = post(account)
    account.box.append(report("postfix", sent.message_id), "inbox")
    account.sync()
    assert logged(sent).state == State.BOUNCED


def provider_mail(actor: Actor, **columns: Any) -> EmailLogEntry:
    """A mail that the actor's workspace sent through its email provider to Bob."""
    integration = email_provider(actor, VENDORS[0].type, VENDORS[0].credentials())
    return entry(integration, to="bob@example.com", **columns)


def test_report_in_a_mailbox_about_the_workspaces_mail_is_matched_by_our_id(account: Account, owner: Actor) -> None:
    mail = provider_mail(owner)
    account.sync()
    account.box.append(report("postfix", f"{mail.pk}@mail.example"), "inbox")
    account.sync()
    mail.refresh_from_db()
    assert mail.state == State.BOUNCED
    assert "5.1.1" in mail.error
    assert Event.objects.get(type=EventType.EMAIL_BOUNCED).payload["emailId"] == str(mail.pk)
    assert not Suppression.objects.exists()


@pytest.mark.parametrize("forgery", ["another_recipient", "vendors_id", "another_workspace", "not_sent_yet"])
def test_forged_report_about_the_workspaces_mail_moves_nothing(account: Account, owner: Actor, forgery: str) -> None:
    actor = make_actor(role="OWNER") if forgery == "another_workspace" else owner
    mail = provider_mail(actor, state=State.QUEUED if forgery == "not_sent_yet" else State.ACCEPTED)
    named = mail.message_id if forgery == "vendors_id" else str(mail.pk)
    whom = "victim@example.com" if forgery == "another_recipient" else "bob@example.com"
    account.sync()
    account.box.append(report("postfix", f"{named}@mail.example", recipient=whom), "inbox")
    account.sync()
    before = mail.state
    mail.refresh_from_db()
    assert mail.state == before
    assert not DeliveryEvent.objects.exists()
