"""The API of what leaves a mailbox: a time of its own, taking it back, whose name it bears, what it passes on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from email_sync.models import Alias, Message, Submission, SubmissionStage, ThreadLink
from email_sync.records import Address
from email_sync.services import outbox, submissions
from email_sync.tests.conftest import Account
from email_sync.tests.contract import mail
from email_sync.tests.factories import connect
from integrations.models import Connection
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db
BASE = "/api/v1/integrations/email"
BODY: dict[str, Any] = {"to": ["bob@example.com"], "subject": "Lunch", "body": "At one?"}


def send(actor: Actor, **fields: Any) -> dict[str, Any]:
    response = actor.client.post(f"{BASE}/send", BODY | fields)
    assert response.status_code == 201, response.content
    answer: dict[str, Any] = response.json()
    return answer


def refused(actor: Actor, **fields: Any) -> list[str]:
    response = actor.client.post(f"{BASE}/send", BODY | fields)
    assert response.status_code == 400, response.content
    return sorted(response.json()["error"]["fields"])


def time_comes() -> None:
    """For every mail that waits."""
    Submission.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=Now())
    for submission_id in submissions.take_due():
        submissions.settle(submission_id)


# --- a time of its own ------------------------------------------------------------------------------------------------


def test_mail_with_a_time_leaves_then_and_once(account: Account, member: Actor) -> None:
    at = (timezone.now() + timedelta(hours=2)).isoformat()
    waiting = send(member, sendAt=at)
    assert (waiting["status"], account.box.outbox) == ("scheduled", [])
    assert waiting["sendAt"] == waiting["nextAttemptAt"]
    assert submissions.take_due() == []
    time_comes()
    time_comes()
    answer = member.client.get(f"{BASE}/submissions/{waiting['id']}").json()
    assert (answer["status"], answer["nextAttemptAt"]) == ("sent", None)
    assert len(account.box.outbox) == 1


def test_mail_with_a_time_that_is_past_leaves_now(account: Account, member: Actor) -> None:
    assert send(member, sendAt="2020-01-01T00:00:00Z")["status"] == "sent"


@pytest.mark.parametrize(
    ("field", "value"),
    [("sendAt", "2099-01-01T00:00:00Z"), ("sendAt", "2026-12-01T10:00:00"), ("sendAt", "soon"), ("undoSeconds", 601),
     ("source", "Cron"), ("documentId", "1"), ("entityType", "contact")],
)  # fmt: skip
def test_mail_with_a_field_out_of_bounds_is_refused_by_name(
    account: Account, member: Actor, field: str, value: Any
) -> None:
    assert refused(member, **{field: value}) == ["entityId" if field == "entityType" else field]
    assert Submission.objects.count() == 0


def test_mail_can_be_undone_for_so_long(account: Account, member: Actor) -> None:
    waiting = send(member, undoSeconds=30)
    assert waiting["status"] == "scheduled"
    cancelled = member.client.delete(f"{BASE}/submissions/{waiting['id']}")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    again = member.client.delete(f"{BASE}/submissions/{waiting['id']}")
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")
    time_comes()
    assert account.box.outbox == []


def test_mail_that_has_left_cannot_be_taken_back(account: Account, member: Actor) -> None:
    sent = send(member)
    answer = member.client.delete(f"{BASE}/submissions/{sent['id']}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_cancellable")


def test_mail_cancelled_as_a_worker_takes_it_does_not_leave(account: Account, member: Actor) -> None:
    waiting = Submission.objects.get(pk=send(member, undoSeconds=30)["id"])
    Submission.objects.update(next_attempt_at=Now())
    held = submissions._claim(waiting.pk)
    assert held is not None
    outbox.cancel(submission=waiting, by=member.user)
    assert submissions.attempt(held).stage == SubmissionStage.CANCELLED
    assert account.box.outbox == []


def test_worker_that_stalled_before_the_call_sends_nothing_after_another_did(account: Account, member: Actor) -> None:
    waiting = Submission.objects.get(pk=send(member, undoSeconds=30)["id"])
    Submission.objects.update(next_attempt_at=Now())
    stalled = submissions._claim(waiting.pk)
    assert stalled is not None
    Submission.objects.update(lease_until=Now() - timedelta(seconds=1))
    submissions.settle(waiting.pk)
    assert len(account.box.outbox) == 1
    assert submissions.attempt(stalled).stage == SubmissionStage.SENT
    assert len(account.box.outbox) == 1


def test_mail_of_a_connection_that_dies_before_its_time_fails_with_words(account: Account, member: Actor) -> None:
    waiting = send(member, undoSeconds=600)
    Connection.objects.update(disconnected_at=Now(), credentials=None)
    time_comes()
    answer = member.client.get(f"{BASE}/submissions/{waiting['id']}").json()
    assert (answer["status"], answer["error"]["code"]) == ("failed", "disconnected")


def test_mail_of_a_member_who_left_before_its_time_does_not_leave(account: Account, member: Actor) -> None:
    waiting = send(member, undoSeconds=600)
    member.membership.delete()
    time_comes()
    assert Submission.objects.get(pk=waiting["id"]).stage == SubmissionStage.FAILED
    assert account.box.outbox == []


def test_submissions_are_listed_newest_first_by_status(account: Account, member: Actor, owner: Actor) -> None:
    first, second, waiting = send(member), send(member), send(member, undoSeconds=600)
    page = member.client.get(f"{BASE}/submissions", {"limit": 2}).json()
    assert [row["id"] for row in page["data"]] == [waiting["id"], second["id"]]
    assert page["pagination"]["total"] == 3
    page = member.client.get(f"{BASE}/submissions", {"status": "sent"}).json()
    assert [row["id"] for row in page["data"]] == [second["id"], first["id"]]
    assert owner.client.get(f"{BASE}/submissions").json()["data"] == []


# --- whose name it bears ----------------------------------------------------------------------------------------------

SPELLINGS = [
    "eve@example.com", "Ada <eve@example.com>", "ada@contract.test <eve@example.com>",
    "ada@contract.test.example.com", "ada+x@contract.test", "ada@sub.contract.test", "аda@contract.test",
    "ada@contrаct.test", "ada@contract.test.", "ada@contract.test, eve@example.com",
    "<ada@contract.test> <eve@example.com>", "(ada@contract.test) eve@example.com",
    "eve@example.com (ada@contract.test)", '"ada@contract.test" <eve@example.com>', '"ada"@contract.test',
    "ada@contract.test\r\nBcc: eve@example.com", "ada@contract.test\x0bx", "@contract.test", "ada", "ada@",
    "=?utf-8?q?ada=40contract.test?= <eve@example.com>", "me: ada@contract.test;", "ada@[127.0.0.1]",
    "ada%contract.test@example.com", "ada@contract.test\u2028", "ada\u200b@contract.test",
]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_mail_from_an_address_that_is_not_the_mailboxs_is_refused(
    account: Account, member: Actor, spelling: str
) -> None:
    assert refused(member, fromEmail=spelling) == ["fromEmail"]
    assert account.box.outbox == []


def test_mail_goes_out_under_an_alias_its_provider_names(account: Account, member: Actor) -> None:
    account.box.aliases.append(Address("Sales", "sales@contract.test"))
    account.sync()
    listed = member.client.get(f"{BASE}/aliases").json()["data"]
    assert [(row["email"], row["isPrimary"]) for row in listed] == [
        ("ada@contract.test", True),
        ("sales@contract.test", False),
    ]
    sent = send(member, fromEmail="SALES@Contract.test")
    assert sent["from"] == "sales@contract.test"
    [left] = account.box.outbox
    assert (left.sender, b"From: Sales <sales@contract.test>\r\n" in left.mime) == ("sales@contract.test", True)


def test_alias_added_at_the_provider_a_moment_ago_is_known(account: Account, member: Actor) -> None:
    account.sync()
    account.box.aliases.append(Address("", "new@contract.test"))
    Alias.objects.update(refreshed_at=Now() - timedelta(minutes=2))
    assert send(member, fromEmail="new@contract.test")["from"] == "new@contract.test"


def test_alias_the_provider_no_longer_names_is_gone(account: Account, member: Actor) -> None:
    account.box.aliases.append(Address("", "old@contract.test"))
    account.sync()
    account.box.aliases.clear()
    Alias.objects.update(refreshed_at=Now() - timedelta(days=2))
    account.sync()
    assert refused(member, fromEmail="old@contract.test") == ["fromEmail"]


def test_aliases_are_asked_for_once_a_day(account: Account) -> None:
    account.sync()
    account.sync()
    assert account.box.calls.count("aliases") == 1


def test_aliases_of_a_mailbox_whose_provider_knows_none_are_named_by_its_user(
    account: Account, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{BASE}/aliases/{account.connection.pk}"
    body = {"aliases": [{"email": "sales@Contract.test", "name": "Sales"}, {"email": "ada@contract.test"}]}
    assert member.client.put(path, body).status_code == 422
    monkeypatch.setattr("email_sync.tests.memory.Memory.names_aliases", False)
    account.sync()
    answer = member.client.put(path, body)
    assert [(row["email"], row["byUser"]) for row in answer.json()] == [
        ("ada@contract.test", False),
        ("sales@contract.test", True),
    ]
    assert send(member, fromEmail="sales@contract.test")["status"] == "sent"
    assert member.client.put(path, {"aliases": []}).status_code == 200
    assert refused(member, fromEmail="sales@contract.test") == ["fromEmail"]
    for wrong in ({"email": "x\r\ny@a.b"}, {"email": "x@a.b", "name": "X\r\nBcc: eve@a.b"}):
        assert member.client.put(path, {"aliases": [wrong]}).status_code == 400


# --- what it passes on ------------------------------------------------------------------------------------------------


def test_forward_carries_the_originals_words_and_files_and_stays_in_its_thread(account: Account, member: Actor) -> None:
    account.box.append(mail("plan", subject="Plan", body="See the file.", attachment=b"\x00\x01"), "inbox")
    account.sync()
    original = Message.objects.get()
    sent = send(member, forwardOfId=str(original.pk), subject="", body="Look.")
    [left] = account.box.outbox
    assert b"Subject: Fwd: Plan\r\n" in left.mime
    assert b"References: <plan@contract.test>" in left.mime
    assert left.mime.index(b"Look.") < left.mime.index(b"Forwarded message") < left.mime.index(b"See the file.")
    assert b"plan.bin" in left.mime
    assert sent["threadId"] == str(original.thread_id)


def test_forward_without_the_originals_words_has_only_its_files(account: Account, member: Actor) -> None:
    account.box.append(mail("plan", body="See the file.", attachment=b"x"), "inbox")
    account.sync()
    send(member, forwardOfId=str(Message.objects.get().pk), body="Look.", includeOriginal=False)
    [left] = account.box.outbox
    assert b"See the file." not in left.mime
    assert b"plan.bin" in left.mime


def test_forward_that_is_too_large_is_refused_before_a_byte_is_fetched(
    account: Account, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.box.append(mail("plan", attachment=bytes(4000)), "inbox")
    account.sync()
    monkeypatch.setattr("email_sync.tests.memory.Memory.max_mail_bytes", 3000)
    response = member.client.post(f"{BASE}/send", BODY | {"forwardOfId": str(Message.objects.get().pk)})
    assert (response.status_code, response.json()["error"]["limit"]) == (413, 3000)
    assert "attachment" not in account.box.calls


def test_mail_answers_one_or_passes_one_on(account: Account, member: Actor) -> None:
    account.box.append(mail("one"), "inbox")
    account.sync()
    one = str(Message.objects.get().pk)
    assert refused(member, replyToId=one, forwardOfId=one) == ["forwardOfId"]


# --- where it belongs -------------------------------------------------------------------------------------------------


def test_mail_sent_for_an_entity_links_its_thread(account: Account, member: Actor) -> None:
    sent = send(member, entityType="contact", entityId=42, source="Workflow Email")
    assert (sent["entityType"], sent["entityId"], sent["source"]) == ("contact", "42", "Workflow Email")
    link = ThreadLink.objects.get()
    assert (str(link.thread_id), link.entity_id) == (sent["threadId"], "42")


def test_mail_over_the_providers_limit_names_the_limit(
    account: Account, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("email_sync.tests.memory.Memory.max_mail_bytes", 1000)
    response = member.client.post(f"{BASE}/send", BODY | {"body": "x" * 2000})
    assert (response.status_code, response.json()["error"]["limit"]) == (413, 1000)
    assert Submission.objects.count() == 0


def test_answer_from_another_own_mailbox_is_refused(account: Account, member: Actor) -> None:
    account.box.append(mail("one"), "inbox")
    account.sync()
    other = connect(member, "second@contract.test")
    assert refused(member, replyToId=str(Message.objects.get().pk), connectionId=str(other.pk)) == ["replyToId"]
