"""IMAP under the engine and the sending service, from a real Dovecot to the database and back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from core.work import WorkStatus
from email_sync.models import ChangeKind, Folder, Message, Submission, SubmissionStage
from email_sync.services import sending, submissions
from email_sync.services.changes import change
from email_sync.services.sending import Letter
from email_sync.tests.conftest import Account
from email_sync.tests.contract import MailProviderContract, Truth, ident, mail
from email_sync.tests.dovecot import Dovecot, DovecotHarness, missing
from email_sync.tests.factories import connect
from email_sync.tests.smtp_sink import SmtpSink
from integrations.models import SyncCursor, SyncRun
from workspaces.tests.fixtures import Actor

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture(scope="module", params=["qresync", "plain"])
def server(request: pytest.FixtureRequest) -> Iterator[Dovecot]:
    if missing():
        pytest.fail(missing())
    running = Dovecot(request.param).start()
    yield running
    running.stop()


@pytest.fixture
def harness(server: Dovecot, settings: Any) -> Iterator[DovecotHarness]:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    with SmtpSink() as sink:
        yield DovecotHarness(server, sink)


@pytest.fixture
def account(harness: DovecotHarness, member: Actor) -> Account:
    """The member's connected IMAP account."""
    reached = harness.server.account(harness.user, sink=harness.sink)
    connection = connect(member, harness.user, options=dict(reached.settings))
    connection.credentials = dict(reached.secrets)
    connection.save()
    return Account(connection)


def stored(account: Account) -> set[Truth]:
    rows = Message.objects.present().filter(connection=account.connection)
    return {Truth(row.message_id, frozenset(row.folders), row.is_read, row.is_starred) for row in rows}


def test_first_sync_stores_every_message_once(account: Account, harness: DovecotHarness) -> None:
    with harness.server.door(harness.user) as door:
        for number in range(260):
            door.append("INBOX", None, None, mail(f"m{number}"))
    for role in ("sent", "archive", "drafts", "trash", "spam"):
        harness.deliver(mail(role), role)
    run = account.sync()
    assert run.status == WorkStatus.DONE
    assert stored(account) == harness.truth()
    assert Message.objects.count() == 265
    assert (run.done, run.total, run.added) == (265, 265, 265)
    assert set(Folder.objects.values_list("role", flat=True)) == {"inbox", "sent", "archive", "drafts", "trash", "spam"}


def test_second_sync_of_a_quiet_mailbox_writes_nothing(account: Account, harness: DovecotHarness) -> None:
    for number in range(5):
        harness.deliver(mail(f"m{number}"))
    account.sync()
    before = set(Message.objects.values_list("pk", "updated_at"))
    run = account.sync()
    assert (run.added, run.changed, run.removed) == (0, 0, 0)
    assert set(Message.objects.values_list("pk", "updated_at")) == before


def test_changes_arrive_and_changes_here_reach_the_server(account: Account, harness: DovecotHarness) -> None:
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
    account.sync()
    assert stored(account) == harness.truth()
    assert Truth(ident("d"), frozenset({"archive"}), True, False) in harness.truth()


def test_messages_moved_by_others_and_by_us_keep_their_rows(account: Account, harness: DovecotHarness) -> None:
    for name in "ab":
        harness.deliver(mail(name))
    account.sync()
    ids = {row.message_id: row.pk for row in Message.objects.all()}
    harness.move(ident("a"), "trash")
    change(message=Message.objects.get(message_id=ident("b")), kind=ChangeKind.ARCHIVED, value=True)
    account.sync()
    account.sync()
    assert stored(account) == harness.truth()
    assert {row.message_id: row.pk for row in Message.objects.present()} == ids


def test_folders_that_began_another_life_are_compared_and_every_row_stays(
    account: Account, harness: DovecotHarness
) -> None:
    for number in range(30):
        harness.deliver(mail(f"m{number}"))
    account.sync()
    ids = set(Message.objects.values_list("pk", flat=True))
    harness.lose_cursor()
    harness.deliver(mail("new"))
    run = account.sync()
    assert run.status == WorkStatus.DONE
    assert (run.added, run.removed) == (1, 0)
    assert stored(account) == harness.truth()
    assert ids < set(Message.objects.present().values_list("pk", flat=True))
    assert not SyncCursor.objects.filter(reconcile=True).exists()


def test_a_long_random_life_is_followed_exactly(account: Account, harness: DovecotHarness) -> None:
    chance = random.Random(7)
    for step in range(40):
        MailProviderContract.live(harness, chance, step)
        if step % 8 == 7:
            account.sync()
            assert stored(account) == harness.truth(), f"after step {step}"


def test_mail_taken_without_an_answer_is_not_sent_again(
    account: Account, harness: DovecotHarness, member: Actor
) -> None:
    harness.lose_next_send_answer()
    letter = Letter(to=["bob@contract.test"], subject="Lunch", body="At one?", connection_id=account.connection.pk)
    submission = sending.send(user=member.user, workspace=member.workspace, letter=letter, by=member.user)
    assert submission.stage == SubmissionStage.UNCONFIRMED
    Submission.objects.update(next_attempt_at="2026-01-01T00:00:00Z")
    for submission_id in submissions.take_due():
        submissions.settle(submission_id)
    assert len(harness.outbox()) == 1


def test_mail_sent_is_filed_once(account: Account, harness: DovecotHarness, member: Actor) -> None:
    letter = Letter(to=["bob@contract.test"], subject="Lunch", body="At one?", connection_id=account.connection.pk)
    submission = sending.send(user=member.user, workspace=member.workspace, letter=letter, by=member.user)
    Submission.objects.update(next_attempt_at="2026-01-01T00:00:00Z")
    for submission_id in submissions.take_due():
        submissions.settle(submission_id)
    submission.refresh_from_db()
    assert (submission.stage, submission.filed) == (SubmissionStage.SENT, True)
    assert [truth.roles for truth in harness.truth()] == [frozenset({"sent"})]
    assert len(harness.outbox()) == 1


def test_server_that_goes_in_the_middle_of_a_first_sync_loses_nothing(
    account: Account, harness: DovecotHarness
) -> None:
    with harness.server.door(harness.user) as door:
        for number in range(120):
            door.append("INBOX", None, None, mail(f"m{number}"))
    account.slice(seconds=0)
    harness.server.halt()
    run = account.sync()
    assert (run.status, run.error_code) == (WorkStatus.QUEUED, "provider_unavailable")
    harness.server.resume()
    SyncRun.objects.update(next_attempt_at="2026-01-01T00:00:00Z")
    assert account.sync().status == WorkStatus.DONE
    assert stored(account) == harness.truth()
