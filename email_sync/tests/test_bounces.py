"""Bounces: reports of five kinds of servers are known, believed of what was sent, and of nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from hypothesis import given
from hypothesis import strategies as st

from email_sync.models import Bounce, Message, Submission, SubmissionStage, ThreadLink
from email_sync.parsing import bounded, message, wire
from email_sync.services import submissions
from email_sync.tests.conftest import Account
from email_sync.tests.contract import mail
from email_sync.tests.reports import REPORTS, report
from email_sync.tests.test_sending import post
from integrations.models import Event, EventType
from workspaces.tests.fixtures import Actor

BASE = "/api/v1/integrations/email"


@pytest.mark.parametrize("kind", REPORTS)
def test_parser_reads_who_was_not_reached_and_why(kind: str) -> None:
    parsed = message.parse(report(kind, "lunch@contract.test"))
    assert parsed.report is not None
    assert "lunch@contract.test" in parsed.report.original_ids
    found = [failed for failed in parsed.report.recipients if "bob@example.com" in failed.addresses]
    assert found
    assert {failed.status for failed in found} == {"5.1.1"}
    assert any("5.1.1" in failed.diagnostic or "not" in failed.diagnostic for failed in found)
    assert not any("carol@example.com" in failed.addresses for failed in parsed.report.recipients)


@pytest.mark.parametrize("kind", REPORTS)
def test_report_comes_out_of_the_bounded_child_as_it_went_in(kind: str) -> None:
    raw = report(kind, "lunch@contract.test")
    assert wire.decode(wire.encode(message.parse(raw))) == message.parse(raw)
    assert bounded.shared().parse(raw).report == message.parse(raw).report


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", "expanded", ""])
def test_report_of_anything_but_a_failure_is_none(action: str) -> None:
    assert message.parse(report("postfix", "lunch@contract.test", action=action)).report is None


@pytest.mark.parametrize(
    "raw",
    [
        mail("plain", body="Delivery failed to bob@example.com: 550 5.1.1\r\nMessage-ID: <lunch@contract.test>"),
        report("qmail", "lunch@contract.test").replace(b"failure notice", b"Delivery delayed warning"),
        report("exim", "lunch@contract.test").replace(b"550 5.1.1", b"451 4.7.1"),
    ],
)
def test_mail_that_only_talks_of_failures_is_no_report(raw: bytes) -> None:
    assert message.parse(raw).report is None


@given(st.sampled_from(list(REPORTS)), st.integers(0, 2000), st.binary(max_size=30))
def test_parser_survives_any_damage_to_a_report(kind: str, place: int, junk: bytes) -> None:
    raw = report(kind, "lunch@contract.test")
    assert message.parse(raw[:place] + junk + raw[place + len(junk) :]).defect == ""


# --- what is believed -------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("kind", REPORTS)
def test_bounce_is_shown_on_the_sent_mail_and_told_once(account: Account, member: Actor, kind: str) -> None:
    account.sync()
    sent = post(account, to=["Bob <bob@example.com>", "carol@example.com"])
    account.box.append(report(kind, sent.message_id), "inbox")
    account.sync()
    account.sync()
    [shown] = member.client.get(f"{BASE}/submissions/{sent.pk}").json()["bounces"]
    assert (shown["recipient"], shown["status"]) == ("bob@example.com", "5.1.1")
    copy = Message.objects.get(message_id=sent.message_id, in_sent=True)
    assert member.client.get(f"{BASE}/{copy.pk}").json()["bounces"] == [shown]
    emails = member.client.get(f"{BASE}/thread/{copy.thread_id}").json()["emails"]
    assert [email["bounces"] for email in emails if email["id"] == str(copy.pk)] == [[shown]]
    assert shown["emailId"] == str(Message.objects.get(in_inbox=True).pk)
    [event] = Event.objects.filter(type=EventType.EMAIL_BOUNCED)
    assert event.payload["submissionId"] == str(sent.pk)


@pytest.mark.django_db
def test_bounce_of_another_recipient_or_another_mail_is_not_believed(account: Account) -> None:
    sent = post(account)
    forged = [
        report("postfix", sent.message_id, recipient="eve@example.com"),
        report("postfix", "other@contract.test"),
        report("qmail", sent.message_id, recipient="eve@example.com"),
    ]
    for raw in forged:
        account.box.append(raw, "inbox")
    account.sync()
    assert not Bounce.objects.exists()


@pytest.mark.django_db
def test_bounce_in_another_mailbox_says_nothing_of_this_ones_mail(
    account: Account, member: Actor, monkeypatch: Any
) -> None:
    from email_sync.tests.factories import connect
    from email_sync.tests.memory import Mailbox, Memory

    sent = post(account)
    other = Account(connect(member, "second@contract.test"))
    Memory.mailboxes[other.connection.account_email] = other.box = Mailbox()
    other.box.append(report("postfix", sent.message_id), "inbox")
    other.sync()
    assert not Bounce.objects.exists()


@pytest.mark.django_db
def test_second_report_of_the_same_recipient_adds_nothing(account: Account) -> None:
    sent = post(account)
    for kind in ("postfix", "exim"):
        account.box.append(report(kind, sent.message_id), "inbox")
    account.sync()
    assert Bounce.objects.count() == 1
    assert Event.objects.filter(type=EventType.EMAIL_BOUNCED).count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("looked_in_vain", [False, True])
def test_bounce_of_a_mail_nobody_confirmed_proves_that_it_left(account: Account, looked_in_vain: bool) -> None:
    account.box.lose_next_send_answer = True
    sent = post(account, entity_type="contact", entity_id="42")
    account.box.messages.clear()
    if looked_in_vain:
        Submission.objects.update(tried_at=Now() - timedelta(days=1, hours=1), next_attempt_at=Now())
        submissions.settle(sent.pk)
    assert Submission.objects.get().stage == SubmissionStage.UNCONFIRMED
    account.box.append(report("postfix", sent.message_id), "inbox")
    account.sync()
    account.sync()
    sent.refresh_from_db()
    assert (sent.stage, sent.error_code, sent.sent_at) == (SubmissionStage.SENT, "", sent.tried_at)
    told = Event.objects.filter(type__in=(EventType.EMAIL_SENT, EventType.EMAIL_BOUNCED)).order_by("id")
    assert [event.type for event in told] == [EventType.EMAIL_SENT, EventType.EMAIL_BOUNCED]
    for submission_id in submissions.take_due():
        submissions.settle(submission_id)
    copies = [stored for stored in account.box.messages.values() if stored.folder == "sent"]
    assert (len(copies), len(account.box.outbox)) == (0 if looked_in_vain else 1, 1)
    assert submissions.take_due() == []
    assert ThreadLink.objects.filter(thread=Submission.objects.get().thread).count() == len(copies)
    assert told.count() == 2
