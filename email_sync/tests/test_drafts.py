"""Drafts: one thing here and at the provider, through changes on both sides, failures and sending."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from core.errors import ProviderRejected, ProviderUnavailable
from email_sync.models import Draft, Message, Submission
from email_sync.services import draft_saving, submissions
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail, outgoing
from email_sync.tests.memory import Stored
from workspaces.models import IdempotencyRecord
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db
BASE = "/api/v1/integrations/email/drafts"
CONTENT: dict[str, Any] = {"to": ["Bob <bob@example.com>"], "subject": "Lunch", "body": "At one?"}
FILE = {"fileName": "menu.txt", "contentType": "text/plain", "contentBase64": "U291cA=="}


def create(actor: Actor, **fields: Any) -> dict[str, Any]:
    response = actor.client.post(BASE, CONTENT | fields)
    assert response.status_code == 201, response.content
    answer: dict[str, Any] = response.json()
    return answer


def change(actor: Actor, draft: dict[str, Any], **fields: Any) -> dict[str, Any]:
    response = actor.client.patch(f"{BASE}/{draft['id']}", fields)
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer


def at_provider(account: Account) -> list[Stored]:
    return [stored for stored in account.box.messages.values() if stored.folder == "drafts"]


def listed(actor: Actor) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = actor.client.get(BASE).json()["data"]
    return rows


def time_comes() -> None:
    Draft.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=Now())
    for draft_id in draft_saving.take_due():
        draft_saving.settle(draft_id)


def away(*names: str) -> Callable[[str], None]:
    def call(name: str) -> None:
        if name in names:
            raise ProviderUnavailable("imap.example.com did not answer.")

    return call


# --- one thing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("synced_before", [False, True])
def test_draft_is_one_here_and_at_the_provider_whenever_the_sync_comes(
    account: Account, member: Actor, synced_before: bool
) -> None:
    if synced_before:
        account.sync()
    draft = create(member, bcc=["eve@example.com"])
    assert draft["state"] == "saved"
    [stored] = at_provider(account)
    assert b"Bcc: eve@example.com" in stored.raw
    account.sync()
    account.sync()
    [row] = listed(member)
    assert (row["id"], row["to"], row["bcc"]) == (draft["id"], ["Bob <bob@example.com>"], ["eve@example.com"])
    assert Message.objects.present().count() == 1
    [mailed] = member.client.get("/api/v1/integrations/email/inbox", {"folder": "drafts"}).json()["data"]
    assert (mailed["id"], mailed["subject"]) == (draft["id"], "Lunch")


def test_draft_changed_here_is_the_new_one_alone(account: Account, member: Actor) -> None:
    account.sync()
    draft = create(member, attachments=[FILE])
    changed = change(member, draft, subject="Dinner", revision=1)
    assert (changed["revision"], changed["subject"], changed["body"]) == (2, "Dinner", "At one?")
    [stored] = at_provider(account)
    assert b"Subject: Dinner" in stored.raw
    assert b"menu.txt" in stored.raw
    account.sync()
    assert [row["id"] for row in listed(member)] == [draft["id"]]
    found = member.client.get("/api/v1/integrations/email/inbox", {"folder": "drafts", "q": "dinner"}).json()["data"]
    assert [row["id"] for row in found] == [draft["id"]]


def test_attachments_have_one_shape_wherever_they_are_listed(account: Account, member: Actor) -> None:
    account.box.append(mail("sent", attachment=b"\x00\x01"), "inbox")
    account.box.append(mail("foreign", attachment=b"\x00\x01"), "drafts")
    account.sync()
    create(member, attachments=[FILE])
    received = Message.objects.get(message_id=ident("sent"))
    detail = member.client.get(f"/api/v1/integrations/email/{received.pk}").json()
    thread = member.client.get(f"/api/v1/integrations/email/thread/{received.thread_id}").json()["emails"][0]
    shapes = [row["attachments"][0].keys() for row in (detail, thread, *listed(member))]
    assert len(shapes) == 4
    for shape in shapes:
        assert shape == {"id", "fileName", "contentType", "size", "inline", "contentId"}


def test_list_of_drafts_reads_no_bytes_of_files(account: Account, member: Actor) -> None:
    create(member, attachments=[FILE])
    with CaptureQueriesContext(database) as asked:
        listed(member)
    files = [query["sql"] for query in asked if 'FROM "email_sync_draftfile"' in query["sql"]]
    assert len(files) == 1
    assert '"content"' not in files[0]


def test_draft_keeps_only_the_files_it_is_told_to(account: Account, member: Actor) -> None:
    draft = create(member, attachments=[FILE, {**FILE, "fileName": "map.txt"}])
    kept = change(member, draft, keepAttachments=[draft["attachments"][1]["id"]], attachments=[FILE])
    assert [file["fileName"] for file in kept["attachments"]] == ["map.txt", "menu.txt"]
    response = member.client.patch(f"{BASE}/{draft['id']}", {"keepAttachments": [draft["attachments"][0]["id"]]})
    assert (response.status_code, list(response.json()["error"]["fields"])) == (400, ["keepAttachments"])


def test_draft_made_elsewhere_keeps_its_files_and_what_it_answers(account: Account, member: Actor) -> None:
    raw = mail("foreign", subject="Plan", body="See.", attachment=b"\x00\x01")
    account.box.append(raw.replace(b"Subject:", b"In-Reply-To: <q@contract.test>\r\nSubject:", 1), "drafts")
    account.sync()
    [row] = listed(member)
    assert (row["subject"], row["body"], row["attachments"][0]["fileName"]) == ("Plan", "See.", "foreign.bin")
    change(member, row, body="Look.", fromEmail="")
    [stored] = at_provider(account)
    assert b"foreign.bin" in stored.raw
    assert b"In-Reply-To: <q@contract.test>" in stored.raw
    account.sync()
    assert [row["body"] for row in listed(member)] == ["Look."]


def test_draft_that_answers_is_in_the_thread(account: Account, member: Actor) -> None:
    account.box.append(mail("question"), "inbox")
    account.sync()
    question = Message.objects.get()
    draft = create(member, replyToId=str(question.pk))
    assert draft["threadId"] == str(question.thread_id)
    assert b"In-Reply-To: <question@contract.test>" in at_provider(account)[0].raw


def test_draft_may_be_empty_and_says_what_is_wrong_when_sent(account: Account, member: Actor) -> None:
    response = member.client.post(BASE, {})
    assert response.status_code == 201
    response = member.client.post(f"{BASE}/{response.json()['id']}/send", {})
    assert (response.status_code, list(response.json()["error"]["fields"])) == (400, ["to"])


# --- two sides --------------------------------------------------------------------------------------------------------


def test_change_of_another_revision_is_refused(account: Account, member: Actor) -> None:
    draft = create(member)
    change(member, draft, subject="Dinner")
    response = member.client.patch(f"{BASE}/{draft['id']}", {"subject": "Tea", "revision": 1})
    error = response.json()["error"]
    assert (response.status_code, error["draftId"], error["draft"]["subject"]) == (409, draft["id"], "Dinner")


@pytest.mark.parametrize("synced_after", [False, True])
def test_change_of_a_draft_that_was_changed_elsewhere_names_the_present_one(
    account: Account, member: Actor, synced_after: bool
) -> None:
    account.sync()
    draft = create(member)
    account.sync()
    [stored] = at_provider(account)
    account.box.append(stored.raw.replace(b"Subject: Lunch", b"Subject: Tea"), "drafts")
    account.box.remove(stored.remote_id)
    if synced_after:
        account.sync()
    response = member.client.patch(f"{BASE}/{draft['id']}", {"subject": "Dinner"})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (409, "conflict")
    assert (error["draft"]["id"], error["draft"]["subject"]) == (error["draftId"], "Tea")
    account.sync()
    [row] = listed(member)
    assert (row["id"], row["subject"]) == (error["draftId"], "Tea")
    assert [b"Subject: Tea" in stored.raw for stored in at_provider(account)] == [True]


def test_draft_that_was_removed_elsewhere_is_gone(account: Account, member: Actor) -> None:
    account.sync()
    draft = create(member)
    account.box.remove(at_provider(account)[0].remote_id)
    account.sync()
    assert listed(member) == []
    assert member.client.get(f"{BASE}/{draft['id']}").json()["state"] == "gone"
    for method, path in (("patch", ""), ("post", "/send")):
        response = getattr(member.client, method)(f"{BASE}/{draft['id']}{path}", {})
        assert (response.status_code, response.json()["error"]["draftId"]) == (409, None)


# --- failures ---------------------------------------------------------------------------------------------------------


def test_draft_waits_for_a_provider_that_is_away_and_says_so(account: Account, member: Actor) -> None:
    account.box.before_call = away("save_draft")
    draft = create(member)
    assert (draft["state"], draft["error"]["code"]) == ("pending", "provider_unavailable")
    changed = change(member, draft, subject="Dinner")
    assert (changed["state"], changed["subject"]) == ("pending", "Dinner")
    account.sync()
    assert [row["id"] for row in listed(member)] == [draft["id"]]
    account.box.before_call = away()
    time_comes()
    [row] = listed(member)
    assert (row["state"], row["error"]) == ("saved", None)
    account.sync()
    assert [b"Subject: Dinner" in stored.raw for stored in at_provider(account)] == [True]
    assert Message.objects.present().count() == 1


def test_draft_whose_saver_died_after_the_provider_had_it_is_not_doubled(account: Account, member: Actor) -> None:
    account.sync()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draft_saving, "_follow", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            member.client.post(BASE, CONTENT)
    account.sync()
    Draft.objects.update(lease_until=Now() - timedelta(seconds=1))
    time_comes()
    account.sync()
    assert len(at_provider(account)) == 1
    [row] = listed(member)
    assert (row["state"], row["id"]) == ("saved", str(Draft.objects.get().pk))


def test_draft_whose_request_died_is_met_again_by_its_key(account: Account, member: Actor) -> None:
    account.sync()
    headers = {"Idempotency-Key": "k1"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draft_saving, "_follow", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            member.client.post(BASE, CONTENT, headers=headers)
    IdempotencyRecord.objects.update(lease_until=Now() - timedelta(seconds=1))
    again = member.client.post(BASE, CONTENT, headers=headers)
    assert (again.status_code, again.json()["id"]) == (201, str(Draft.objects.get().pk))
    Draft.objects.update(lease_until=Now() - timedelta(seconds=1))
    time_comes()
    account.sync()
    assert [(row["id"], row["state"]) for row in listed(member)] == [(again.json()["id"], "saved")]
    assert len(at_provider(account)) == 1
    assert create(member)["id"] != again.json()["id"]


def test_change_that_waited_is_kept_beside_what_replaced_the_draft_elsewhere(account: Account, member: Actor) -> None:
    account.sync()
    draft = create(member)
    account.box.before_call = away("save_draft")
    change(member, draft, subject="Mine")
    account.box.before_call = away()
    account.box.remove(at_provider(account)[0].remote_id)
    account.box.append(mail("theirs", subject="Theirs"), "drafts")
    time_comes()
    account.sync()
    assert sorted(row["subject"] for row in listed(member)) == ["Mine", "Theirs"]


def test_draft_the_provider_refuses_is_kept_with_its_words(account: Account, member: Actor) -> None:
    def full(name: str) -> None:
        if name == "save_draft":
            raise ProviderRejected("The mailbox is full.")

    account.box.before_call = full
    draft = create(member)
    assert (draft["state"], draft["error"]["message"]) == ("failed", "The mailbox is full.")
    assert draft_saving.take_due() == []
    account.box.before_call = away()
    assert change(member, draft, subject="Short")["state"] == "saved"


def test_draft_that_is_removed_is_gone_at_once_and_at_the_provider_when_it_answers(
    account: Account, member: Actor
) -> None:
    account.sync()
    draft = create(member)
    account.box.before_call = away("delete_draft")
    assert member.client.delete(f"{BASE}/{draft['id']}").status_code == 204
    assert listed(member) == []
    assert member.client.get(f"{BASE}/{draft['id']}").status_code == 404
    assert len(at_provider(account)) == 1
    account.box.before_call = away()
    time_comes()
    assert at_provider(account) == []
    account.sync()
    assert listed(member) == []


def test_draft_made_elsewhere_can_be_removed(account: Account, member: Actor) -> None:
    account.box.append(outgoing("foreign", "ada@contract.test").mime, "drafts")
    account.sync()
    [row] = listed(member)
    assert member.client.delete(f"{BASE}/{row['id']}").status_code == 204
    assert at_provider(account) == []


# --- sending ----------------------------------------------------------------------------------------------------------


def test_draft_sent_is_a_mail_and_no_draft(account: Account, member: Actor) -> None:
    account.sync()
    draft = create(member, attachments=[FILE])
    response = member.client.post(f"{BASE}/{draft['id']}/send", {})
    assert (response.status_code, response.json()["status"]) == (201, "sent")
    [left] = account.box.outbox
    assert b"menu.txt" in left.mime
    assert at_provider(account) == []
    account.sync()
    assert listed(member) == []
    again = member.client.post(f"{BASE}/{draft['id']}/send", {})
    assert again.status_code == 404
    assert len(account.box.outbox) == 1


def test_draft_on_its_way_cannot_be_changed_sent_or_removed_until_it_is_taken_back(
    account: Account, member: Actor
) -> None:
    draft = create(member)
    waiting = member.client.post(f"{BASE}/{draft['id']}/send", {"undoSeconds": 60}).json()
    assert (waiting["status"], waiting["draftId"]) == ("scheduled", draft["id"])
    assert listed(member)[0]["state"] == "sending"
    for method, path in (("patch", ""), ("delete", ""), ("post", "/send")):
        response = getattr(member.client, method)(f"{BASE}/{draft['id']}{path}", {})
        assert (response.status_code, response.json()["error"]["code"]) == (409, "sending")
    assert member.client.delete(f"/api/v1/integrations/email/submissions/{waiting['id']}").status_code == 200
    assert change(member, draft, subject="Dinner")["state"] == "saved"


def test_draft_sent_later_goes_when_its_mail_has_left(account: Account, member: Actor) -> None:
    draft = create(member)
    member.client.post(f"{BASE}/{draft['id']}/send", {"undoSeconds": 60})
    Submission.objects.update(next_attempt_at=Now())
    submissions.settle(submissions.take_due()[0])
    time_comes()
    assert (len(account.box.outbox), at_provider(account), listed(member)) == (1, [], [])


def test_draft_whose_mail_is_refused_stays_a_draft(account: Account, member: Actor) -> None:
    draft = create(member)
    account.box.refuse_next_send = True
    assert member.client.post(f"{BASE}/{draft['id']}/send", {}).status_code == 422
    assert listed(member)[0]["state"] == "saved"
    assert member.client.post(f"{BASE}/{draft['id']}/send", {}).status_code == 201


def test_draft_sent_without_an_answer_is_kept_until_sent_tells(account: Account, member: Actor) -> None:
    draft = create(member)
    account.box.lose_next_send_answer = True
    assert member.client.post(f"{BASE}/{draft['id']}/send", {}).json()["status"] == "unconfirmed"
    assert len(at_provider(account)) == 1
    Submission.objects.update(next_attempt_at=Now())
    submissions.settle(submissions.take_due()[0])
    time_comes()
    assert (at_provider(account), len(account.box.outbox)) == ([], 1)


def test_same_key_sends_a_draft_once(account: Account, member: Actor) -> None:
    draft = create(member)
    headers = {"Idempotency-Key": "k1"}
    first, again = (member.client.post(f"{BASE}/{draft['id']}/send", {}, headers=headers) for _ in range(2))
    assert (first.json(), again.headers["Idempotency-Replayed"]) == (again.json(), "true")
    assert len(account.box.outbox) == 1


def test_drafts_of_others_are_not_there(account: Account, member: Actor, owner: Actor) -> None:
    draft = create(member)
    assert listed(owner) == []
    assert owner.client.patch(f"{BASE}/{draft['id']}", {}).status_code == 404


def test_list_of_drafts_costs_the_same_whatever_their_number(
    account: Account, member: Actor, django_assert_max_num_queries: Any
) -> None:
    for number in range(6):
        create(member, subject=str(number), attachments=[FILE])
        account.box.append(outgoing(f"foreign-{number}", "ada@contract.test").mime, "drafts")
    account.sync()
    with django_assert_max_num_queries(16):
        assert len(listed(member)) == 12
