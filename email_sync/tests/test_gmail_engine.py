"""Gmail under the engine and the sending service, from the simulator to the database and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models.functions import Now

from core.work import WorkStatus
from email_sync.models import ChangeKind, Excluded, Folder, Message, Submission, SubmissionStage
from email_sync.services import sending, submissions
from email_sync.services.changes import change
from email_sync.services.sending import Letter
from email_sync.tests.conftest import Account
from email_sync.tests.contract import Truth, ident, mail
from email_sync.tests.factories import connect
from email_sync.tests.gmail_simulator import GmailHarness
from integrations.models import SyncCursor, SyncRun
from simulator.process import Simulator, running
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

ADA, BOB = "ada@contract.test", "bob@contract.test"


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def harness(process: Simulator, settings: Any) -> GmailHarness:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    settings.MAIL_PROVIDER_SETTINGS = {"google": {"gmailApiUrl": process.base_url, "quotaUnits": 0}}
    process.reset()
    return GmailHarness(process, ADA, (BOB,))


@pytest.fixture
def account(harness: GmailHarness, member: Actor) -> Account:
    """The member's connected Gmail account."""
    connection = connect(member, ADA, provider="google")
    connection.credentials = {"access_token": harness.token}
    connection.save()
    return Account(connection)


def stored(account: Account) -> set[Truth]:
    rows = Message.objects.present().filter(connection=account.connection)
    return {Truth(row.message_id, frozenset(row.folders), row.is_read, row.is_starred) for row in rows}


def test_first_sync_of_gmail_stores_every_message_once(account: Account, harness: GmailHarness) -> None:
    harness.simulator.seed(ADA, 400)
    for role in ("archive", "drafts", "trash", "spam"):
        harness.deliver(mail(role), role)
    run = account.sync()
    assert run.status == WorkStatus.DONE
    assert stored(account) == harness.truth()
    assert Message.objects.count() == 404
    assert (run.done, run.total, run.added) == (404, 404, 404)
    assert set(Folder.objects.values_list("remote_id", flat=True)) >= {"INBOX", "SENT", "DRAFT", "TRASH", "SPAM"}


def test_second_sync_of_a_quiet_gmail_asks_little_and_writes_nothing(account: Account, harness: GmailHarness) -> None:
    harness.simulator.seed(ADA, 30)
    account.sync()
    before = set(Message.objects.values_list("pk", "updated_at"))
    harness.simulator.clear_ledger()
    account.sync()
    assert set(Message.objects.values_list("pk", "updated_at")) == before
    assert harness.simulator.summary() == {
        "gmail.users.labels.list": {"200": 1},
        "gmail.users.history.list": {"200": 1},
    }


def test_changes_in_gmail_arrive_and_changes_here_reach_gmail(account: Account, harness: GmailHarness) -> None:
    for name in "abcde":
        harness.deliver(mail(name))
    account.sync()
    harness.set_flags(ident("a"), starred=True, read=True)
    harness.move(ident("b"), "trash")
    harness.remove(ident("c"))
    harness.deliver(mail("f"), "spam")
    for kind in (ChangeKind.READ, ChangeKind.ARCHIVED):
        change(message=Message.objects.get(message_id=ident("d")), kind=kind, value=True)
    account.sync()
    assert stored(account) == harness.truth()
    assert Truth(ident("d"), frozenset({"archive"}), True, False) in harness.truth()


def test_gmail_that_forgot_the_history_is_compared_and_nothing_is_fetched_twice(
    account: Account, harness: GmailHarness
) -> None:
    harness.simulator.seed(ADA, 60)
    account.sync()
    harness.deliver(mail("new"))
    harness.simulator.delete_message(ADA, harness.simulator.mailbox(ADA)["messages"][5]["id"])
    harness.lose_cursor()
    harness.simulator.clear_ledger()
    run = account.sync()
    assert run.status == WorkStatus.DONE
    assert stored(account) == harness.truth()
    assert harness.simulator.summary()["gmail.users.messages.get"] == {"200": 1}
    assert not SyncCursor.objects.filter(reconcile=True).exists()


def test_mail_that_gmail_took_without_an_answer_is_found_and_never_sent_again(
    account: Account, harness: GmailHarness, member: Actor
) -> None:
    harness.simulator.settings(gmail_rewrites_message_id=True)
    harness.lose_next_send_answer()
    letter = Letter(to=[BOB], subject="Lunch", body="At one?", connection_id=account.connection.pk)
    submission = sending.send(user=member.user, workspace=member.workspace, letter=letter, by=member.user)
    assert submission.stage == SubmissionStage.UNCONFIRMED
    Submission.objects.update(next_attempt_at="2026-01-01T00:00:00Z")
    for submission_id in submissions.take_due():
        submissions.settle(submission_id)
    submission.refresh_from_db()
    assert submission.stage == SubmissionStage.SENT
    assert submission.message_id.endswith("@mail.gmail.com")
    assert len(harness.simulator.sent()) == 1
    assert len(harness.simulator.mailbox(BOB)["messages"]) == 1


def test_draft_at_gmail_is_one_here_and_there_through_changes_and_its_sending(
    account: Account, harness: GmailHarness, member: Actor
) -> None:
    """A change gives a Gmail draft another message id: the row follows it, whatever the history tells later."""
    account.sync()
    base = "/api/v1/integrations/email/drafts"
    content = {"to": [BOB], "subject": "Lunch", "body": "At one?"}
    draft = member.client.post(base, {**content, "connectionId": str(account.connection.pk)}).json()
    for subject in ("Dinner", "Supper"):
        account.sync()
        assert member.client.patch(f"{base}/{draft['id']}", {"subject": subject}).json()["state"] == "saved"
    account.sync()
    [row] = member.client.get(base).json()["data"]
    assert (row["id"], row["subject"]) == (draft["id"], "Supper")
    assert stored(account) == harness.truth()
    sent = member.client.post(f"{base}/{draft['id']}/send", {}).json()
    account.sync()
    assert (sent["status"], member.client.get(base).json()["data"]) == ("sent", [])
    assert [mail["subject"] for mail in harness.simulator.sent()] == ["Supper"]
    assert stored(account) == harness.truth()


def test_draft_changed_in_gmail_itself_is_a_conflict_that_names_the_present_one(
    account: Account, harness: GmailHarness, member: Actor
) -> None:
    account.sync()
    base = "/api/v1/integrations/email/drafts"
    draft = member.client.post(base, {"subject": "Lunch", "connectionId": str(account.connection.pk)}).json()
    account.sync()
    harness.rewrite_draft(Message.objects.get(pk=draft["id"]).message_id, "Tea")
    answer = member.client.patch(f"{base}/{draft['id']}", {"subject": "Dinner"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["draft"]["subject"]) == (409, "conflict", "Tea")
    account.sync()
    assert [row["subject"] for row in member.client.get(base).json()["data"]] == ["Tea"]
    assert stored(account) == harness.truth()


def test_first_sync_over_the_quota_waits_and_stores_everything(account: Account, harness: GmailHarness) -> None:
    harness.simulator.seed(ADA, 300)
    harness.simulator.settings(gmail_quota_units_per_minute=3000)
    run = account.sync()
    waits = 0
    while run.status != WorkStatus.DONE:
        assert (run.status, run.error_code) == (WorkStatus.QUEUED, "provider_rate_limited")
        assert waits < 10
        waits += 1
        harness.simulator.advance(61)
        SyncRun.objects.update(next_attempt_at=Now())
        run = account.sync()
    assert waits
    assert stored(account) == harness.truth()


def test_scope_over_gmail_labels_follows_a_mail_in_and_out(
    account: Account, harness: GmailHarness, member: Actor
) -> None:
    """One stream, many labels: each mail is looked at, and a label that is put on or taken off decides anew."""
    for name, role in (("inside", "inbox"), ("junk", "spam"), ("outside", "trash")):
        harness.deliver(mail(name), role)
    row = {"folders": {"rule": "exclude", "list": ["SPAM", "TRASH"]}}
    path = f"/api/v1/integrations/email/scope/{account.connection.pk}"
    assert member.client.patch(path, row).status_code == 200
    account.sync()
    present = Message.objects.present()
    assert set(present.values_list("message_id", flat=True)) == {ident("inside")}
    harness.move(ident("junk"), "inbox")
    harness.move(ident("inside"), "trash")
    account.sync()
    assert set(Message.objects.values_list("message_id", flat=True)) == {ident("junk")}
    assert Excluded.objects.count() == 2
    harness.simulator.clear_ledger()
    SyncCursor.objects.update(reconcile=True)
    account.sync()
    assert set(Message.objects.values_list("message_id", flat=True)) == {ident("junk")}
    assert "gmail.users.messages.get" not in harness.simulator.summary()
