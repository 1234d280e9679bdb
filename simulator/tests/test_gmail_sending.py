"""messages.send and drafts: what Gmail accepts, what it changes, whose thread it joins, what the ledger keeps."""

from __future__ import annotations

import json

import pytest

from simulator.process import Simulator
from simulator.tests.factories import Answer, GmailApi, connect_google, message, raw_field, send


def mail(subject: str = "Offer", **headers: str) -> bytes:
    defaults = {"From": "ada@hub.example", "To": "bob@else.example", "message_id": "<mine@hub.example>"}
    return message(subject, **(defaults | headers))


def post(api: GmailApi, raw: bytes, **more: str) -> Answer:
    return api.call("POST", "/messages/send", json={"raw": raw_field(raw)} | more)


def test_send_files_the_mail_under_sent_and_in_the_ledger(ada: GmailApi) -> None:
    sent = post(ada, mail(Cc="carol@else.example", Bcc="dave@else.example")).json
    assert sent["labelIds"] == ["SENT"]
    entry = ada.simulator.sent(account=ada.email)[0]
    assert entry["message_id"] == "<mine@hub.example>"
    assert (entry["to"], entry["cc"], entry["bcc"]) == (
        ["bob@else.example"],
        ["carol@else.example"],
        ["dave@else.example"],
    )
    assert entry["id"] == sent["id"]
    assert ada.simulator.sent_raw(entry["seq"]) == ada.simulator.raw(ada.email, sent["id"])
    assert ada.get("/messages", q="rfc822msgid:mine@hub.example in:sent")["messages"][0]["id"] == sent["id"]


def test_send_twice_is_two_mails(ada: GmailApi) -> None:
    post(ada, mail())
    post(ada, mail())
    assert len(ada.simulator.sent(message_id="<mine@hub.example>")) == 2


def test_send_puts_a_foreign_sender_date_and_message_id_right(ada: GmailApi) -> None:
    sent = post(ada, mail(From="Boss <boss@else.example>", message_id="")).json
    raw = ada.simulator.raw(ada.email, sent["id"])
    assert b"From: Ada Lovelace <ada@hub.example>\r\n" in raw
    assert b"boss@else.example" not in raw
    assert b"\r\nDate: " in b"\r\n" + raw
    assert raw.count(b"Message-ID: <CA") == 1


def test_send_as_alias_keeps_the_sender(simulator: Simulator) -> None:
    simulator.create_account("google", "eve@hub.example", aliases=["sales@hub.example"])
    api = connect_google(simulator, "eve@hub.example")
    sent = post(api, mail(From="sales@hub.example")).json
    assert b"From: sales@hub.example" in simulator.raw("eve@hub.example", sent["id"])
    assert [item["sendAsEmail"] for item in api.get("/settings/sendAs")["sendAs"]] == [
        "eve@hub.example",
        "sales@hub.example",
    ]


def test_send_may_replace_the_message_id(ada: GmailApi) -> None:
    ada.simulator.settings(gmail_rewrites_message_id=True)
    post(ada, mail())
    assert ada.simulator.sent()[0]["message_id"].endswith("@mail.gmail.com>")
    assert ada.get("/messages", q="rfc822msgid:mine@hub.example") == {"resultSizeEstimate": 0}


def test_send_joins_the_thread_only_with_id_reference_and_subject(ada: GmailApi) -> None:
    thread = ada.deliver("Plan", message_id="<1@x>")["thread_id"]
    joins = post(ada, mail("Re: Plan", references="<1@x>", in_reply_to="<1@x>"), threadId=thread).json
    assert joins["threadId"] == thread
    assert post(ada, mail("Other", references="<1@x>"), threadId=thread).json["threadId"] != thread
    assert post(ada, mail("Re: Plan"), threadId=thread).json["threadId"] != thread
    assert post(ada, mail("Re: Plan", references="<1@x>")).json["threadId"] != thread
    assert post(ada, mail("Re: Plan"), threadId="00000000000000aa").status == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"raw": "***"},
        {"raw": raw_field(mail(To=""))},
        {"raw": raw_field(mail(To="not an address"))},
    ],
)
def test_send_what_cannot_be_sent_is_refused_and_leaves_nothing(ada: GmailApi, body: dict[str, str]) -> None:
    assert ada.call("POST", "/messages/send", json=body).status == 400
    assert ada.simulator.sent() == []
    assert ada.simulator.mailbox(ada.email)["messages"] == []


def test_send_by_upload_takes_the_message_as_it_is(ada: GmailApi) -> None:
    target = "/upload/gmail/v1/users/me/messages/send?uploadType=media"
    headers = {"Content-Type": "message/rfc822"}
    answer = send(ada.simulator, "POST", target, token=ada.token, headers=headers, body=mail())
    assert answer.status == 200
    assert ada.simulator.sent()[0]["message_id"] == "<mine@hub.example>"


def test_send_by_multipart_upload_takes_the_thread_too(ada: GmailApi) -> None:
    thread = ada.deliver("Plan", message_id="<1@x>")["thread_id"]
    metadata = json.dumps({"threadId": thread}).encode()
    body = b"--b\r\nContent-Type: application/json\r\n\r\n" + metadata
    body += b"\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n" + mail("Re: Plan", references="<1@x>") + b"\r\n--b--"
    target = "/upload/gmail/v1/users/me/messages/send?uploadType=multipart"
    headers = {"Content-Type": "multipart/related; boundary=b"}
    answer = send(ada.simulator, "POST", target, token=ada.token, headers=headers, body=body)
    assert answer.json["threadId"] == thread


def test_send_to_another_account_arrives_there_without_bcc(simulator: Simulator, ada: GmailApi) -> None:
    simulator.create_account("google", "bob@hub.example")
    post(ada, mail(To="bob@hub.example", Bcc="bob@hub.example"))
    received = simulator.mailbox("bob@hub.example")["messages"]
    assert [item["labels"] for item in received] == [["INBOX", "UNREAD"]]
    assert b"Bcc" not in simulator.raw("bob@hub.example", received[0]["id"])


def test_send_to_oneself_is_one_message_in_both_places(ada: GmailApi) -> None:
    assert post(ada, mail(To=ada.email)).json["labelIds"] == ["INBOX", "SENT", "UNREAD"]
    assert len(ada.simulator.mailbox(ada.email)["messages"]) == 1


def test_drafts_live_until_sent(ada: GmailApi) -> None:
    draft = ada.post("/drafts", {"message": {"raw": raw_field(mail())}})
    assert draft["message"]["labelIds"] == ["DRAFT"]
    assert ada.get("/drafts")["drafts"][0]["id"] == draft["id"]
    assert ada.get(f"/drafts/{draft['id']}", format="minimal")["message"]["id"] == draft["message"]["id"]
    sent = ada.post("/drafts/send", {"id": draft["id"]})
    assert sent["labelIds"] == ["SENT"]
    assert ada.call("GET", f"/drafts/{draft['id']}").status == 404
    assert [item["id"] for item in ada.simulator.mailbox(ada.email)["messages"]] == [sent["id"]]
    assert ada.simulator.sent()[0]["operation"] == "gmail.users.drafts.send"


def test_drafts_deleted_are_gone_with_their_message(ada: GmailApi) -> None:
    draft = ada.post("/drafts", {"message": {"raw": raw_field(mail())}})
    assert ada.call("DELETE", f"/drafts/{draft['id']}").status == 204
    assert ada.get("/drafts") == {"resultSizeEstimate": 0}
    assert ada.simulator.mailbox(ada.email)["messages"] == []
