"""The email API over HTTP: one email, threads, flags, sends, and what a stranger gets."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from core.ids import uuid7
from email_sync.models import LocalChange, Message
from email_sync.tests import mail_api
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.mail_api import PREFIX, fields, get
from integrations.models import SyncRun
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

filled = mail_api.filled


# --- one email and threads ----------------------------------------------------------------------------------------


def test_detail_has_a_clean_body_and_attachments_that_download(account: Account, member: Actor) -> None:
    account.box.append(mail("file", attachment=b"\x00\x01binary"), "inbox")
    account.sync()
    [row] = get(member, "inbox")["data"]
    assert row["hasAttachments"]
    email = get(member, row["id"])
    assert email["bodyText"].strip() == "Good morning."
    [part] = email["attachments"]
    assert (part["fileName"], part["contentType"]) == ("file.bin", "application/octet-stream")
    response = member.client.get(f"{PREFIX}/{row['id']}/attachments/{part['id']}")
    assert response.content == b"\x00\x01binary"
    assert response["Content-Disposition"].startswith("attachment")
    assert response["X-Content-Type-Options"] == "nosniff"


def test_detail_html_is_sanitised(account: Account, member: Actor) -> None:
    raw = (
        b"From: x@example.com\r\nMessage-ID: <h@x>\r\nContent-Type: text/html\r\n\r\n"
        b"<p onclick=alert(1)>Hello<script>alert(2)</script><img src=https://tracker.example/p.png></p>\r\n"
    )
    account.box.append(raw, "inbox")
    account.sync()
    email = get(member, get(member, "inbox")["data"][0]["id"])
    assert "Hello" in email["bodyHtml"]
    assert "script" not in email["bodyHtml"]
    assert "onclick" not in email["bodyHtml"]
    assert email["blockedRemoteContent"] == 1


def test_thread_is_oldest_first(account: Account, member: Actor) -> None:
    first = mail("first", subject="Plan")
    reply = mail("reply", subject="Re: Plan").replace(b"Subject:", b"In-Reply-To: <first@contract.test>\r\nSubject:", 1)
    account.box.append(reply, "inbox")
    account.sync()
    account.box.append(first, "inbox")
    account.sync()
    row = get(member, "inbox")["data"][0]
    thread = get(member, f"thread/{row['threadId']}")
    assert [email["messageId"] for email in thread["emails"]] == [ident("reply"), ident("first")]
    assert thread["messageCount"] == 2


def test_unparsable_message_is_listed_with_its_headers_and_marked(account: Account, member: Actor) -> None:
    bomb = b"Subject: bomb\r\nMessage-ID: <bomb@x>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + (
        b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" * 3000
    )
    account.box.append(bomb, "inbox")
    account.sync()
    [row] = get(member, "inbox")["data"]
    assert (row["subject"], row["messageId"]) == ("bomb", "bomb@x")
    assert row["defect"]


# --- flags --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "member_name", "shown"),
    [("read", "read", "isRead"), ("star", "starred", "isStarred"), ("archive", "archived", "isArchived")],
)
def test_flag_toggles_with_an_empty_body_and_sets_with_a_value(
    filled: Account, member: Actor, path: str, member_name: str, shown: str, django_capture_on_commit_callbacks: Any
) -> None:
    email_id = get(member, "inbox")["data"][0]["id"]
    toggled = member.client.patch(f"{PREFIX}/{email_id}/{path}")
    assert toggled.status_code == 200
    assert toggled.json()[shown] is True
    assert toggled.json()["pendingChanges"] == [member_name]
    assert member.client.post(f"{PREFIX}/{email_id}/{path}").json()[shown] is False
    for value in (True, True, False):
        assert member.client.patch(f"{PREFIX}/{email_id}/{path}", {member_name: value}).json()[shown] is value
    assert SyncRun.objects.active().count() == 1
    assert LocalChange.objects.count() == 1


@pytest.mark.parametrize("body", [{"read": "maybe"}, {"starred": True}, [1]])
def test_flag_with_a_wrong_body_is_400_and_changes_nothing(filled: Account, member: Actor, body: Any) -> None:
    email_id = get(member, "inbox")["data"][0]["id"]
    assert member.client.patch(f"{PREFIX}/{email_id}/read", body, format="json").status_code == 400
    assert not LocalChange.objects.exists()


def test_flag_of_a_message_the_provider_no_longer_has_is_409(filled: Account, member: Actor) -> None:
    email_id = get(member, "inbox")["data"][0]["id"]
    filled.box.remove(filled.box.find(ident("m29")).remote_id)
    filled.sync()
    response = member.client.patch(f"{PREFIX}/{email_id}/read")
    assert (response.status_code, response.json()["error"]["code"]) == (409, "removed")


# --- send ---------------------------------------------------------------------------------------------------------


def test_send_answers_201_and_the_mail_is_out_once_for_one_key(filled: Account, member: Actor) -> None:
    body = {"to": ["recipient@company.com"], "subject": "Follow up", "body": "...", "cc": [], "bcc": []}
    answers = [
        member.client.post(f"{PREFIX}/send", body, headers={"Idempotency-Key": "k"}, format="json") for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert answers[0].json()["status"] == "sent"
    assert answers[1].json() == answers[0].json()
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    assert len(filled.box.outbox) == 1
    other = member.client.post(
        f"{PREFIX}/send", {**body, "subject": "x"}, headers={"Idempotency-Key": "k"}, format="json"
    )
    assert other.status_code == 409


def test_send_with_an_attachment_carries_its_bytes(filled: Account, member: Actor) -> None:
    content = base64.b64encode(b"hello").decode()
    body = {"to": ["a@example.com"], "subject": "f", "body": "b",
            "attachments": [{"fileName": "x.txt", "contentType": "text/plain", "contentBase64": content}]}  # fmt: skip
    assert member.client.post(f"{PREFIX}/send", body, format="json").status_code == 201
    assert b'filename="x.txt"' in filled.box.outbox[0].mime


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"to": []}, "to"),
        ({"to": ["not an address"]}, "to"),
        ({"to": ["a@example.com\r\nBcc: eve@example.com"]}, "to"),
        ({"cc": ["a@example.com\nX: y"]}, "cc"),
        ({"subject": "x\r\nBcc: eve@example.com"}, "subject"),
        ({"unknown": 1}, "unknown"),
        ({"attachments": [{"fileName": "x\r\ny", "contentBase64": "eA=="}]}, "attachments.0.fileName"),
        (
            {"attachments": [{"fileName": "x", "contentType": "text", "contentBase64": "eA=="}]},
            "attachments.0.contentType",
        ),
        ({"attachments": [{"fileName": "x", "contentBase64": "%"}]}, "attachments.0.contentBase64"),
        ({"subject": 5}, "subject"),
        ({"undoSeconds": "5"}, "undoSeconds"),
        ({"cc": [5]}, "cc.0"),
        ({"replyToId": "7"}, "replyToId"),
    ],
)
def test_send_names_what_is_wrong_and_sends_nothing(
    filled: Account, member: Actor, change: dict[str, Any], field: str
) -> None:
    body = {"to": ["a@example.com"], "subject": "s", "body": "b", **change}
    named = fields(member.client.post(f"{PREFIX}/send", body, format="json"))
    assert any(name == field or name.partition(".")[0] == field for name in named), named
    assert filled.box.outbox == []


def test_send_refused_by_the_provider_is_422_with_its_words(filled: Account, member: Actor) -> None:
    filled.box.refuse_next_send = True
    response = member.client.post(
        f"{PREFIX}/send", {"to": ["a@example.com"], "subject": "s", "body": "b"}, format="json"
    )
    assert response.status_code == 422
    error = response.json()["error"]
    assert error["message"] == "550 No such user here."
    assert get(member, f"submissions/{error['submissionId']}")["status"] == "failed"


# --- who ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["{id}", "{id}/read", "{id}/star", "{id}/archive", "{id}/attachments/{id}", "thread/{id}"]
)
def test_foreign_mail_answers_exactly_like_missing_mail(
    filled: Account, owner: Actor, outsider: Actor, path: str
) -> None:
    """The OWNER of the same workspace is a stranger to a member's mailbox too."""
    message = Message.objects.first()
    own = str(message.thread_id if path.startswith("thread") else message.pk)
    for stranger in (owner, outsider):
        method = stranger.client.patch if path.endswith(("read", "star", "archive")) else stranger.client.get
        foreign = method(f"{PREFIX}/{path.format(id=own)}")
        missing = method(f"{PREFIX}/{path.format(id=uuid7())}")
        assert foreign.status_code == missing.status_code == 404
        assert strip(foreign.json()) == strip(missing.json())
    assert not LocalChange.objects.exists()


def strip(body: dict[str, Any]) -> dict[str, Any]:
    body["error"].pop("requestId")
    return body


def test_colleague_sees_an_empty_inbox_of_their_own(filled: Account, owner: Actor) -> None:
    assert get(owner, "inbox")["data"] == []
    assert get(owner, "folders/counts")["inbox"] == {"total": 0, "unread": 0}
    foreign = owner.client.get(f"{PREFIX}/inbox", {"connectionId": str(filled.connection.pk)})
    assert foreign.status_code == 404


def test_sync_of_all_mailboxes_answers_202_with_runs(filled: Account, member: Actor) -> None:
    response = member.client.post(f"{PREFIX}/sync")
    assert response.status_code == 202
    [run] = response.json()["runs"]
    assert run["connectionId"] == str(filled.connection.pk)
    assert member.client.post(f"{PREFIX}/sync").json()["runs"][0]["id"] == run["id"]


def test_held_removal_is_shown_and_accepted_over_the_api(account: Account, member: Actor) -> None:
    for number in range(60):
        account.box.append(mail(f"m{number}"), "inbox")
    account.sync()
    account.box.messages.clear()
    account.box.renumber()
    account.sync()
    path = f"/api/v1/integrations/connections/{account.connection.pk}"
    [held] = member.client.get(f"{path}/status").json()["email"]["heldRemovals"]
    assert "60 of 60" in held
    response = member.client.post(f"{path}/sync", {"type": "email", "acceptRemovals": True}, format="json")
    assert response.status_code == 202
    account.sync(trigger="user")
    assert member.client.get(f"{path}/status").json()["email"]["heldRemovals"] == []
    assert get(member, "inbox")["data"] == []
