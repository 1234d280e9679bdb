"""Graph's drafts, replies, attachments, upload sessions and sending."""

from __future__ import annotations

import base64
import email
from typing import Any

import pytest

from simulator.process import Simulator
from simulator.tests.factories import Answer, GraphApi, connect_graph, message

TO_BOB = [{"emailAddress": {"name": "Bob", "address": "bob@else.example"}}]
BODY = {"contentType": "text", "content": "Grüße"}
CHUNK = 320 * 1024 * 4


def mime(raw: bytes) -> dict[str, Any]:
    return {"headers": {"Content-Type": "text/plain"}, "body": base64.b64encode(raw)}


def own(**headers: str) -> bytes:
    return message("Mine", From="Kim <kim@hub.example>", To="bob@else.example", **headers)


def in_folder(kim: GraphApi, folder: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = kim.get(f"/me/mailFolders/{folder}/messages")["value"]
    return found


def test_draft_from_json_is_read_back_and_can_be_changed(kim: GraphApi) -> None:
    draft = kim.post("/me/messages", {"subject": "Ünder\r\nBcc: x@y.example", "body": BODY, "toRecipients": TO_BOB})
    assert (draft["isDraft"], draft["subject"]) == (True, "Ünder Bcc: x@y.example")
    assert draft["bccRecipients"] == []
    assert (draft["from"]["emailAddress"]["address"], draft["body"]["content"].strip()) == (kim.email, "Grüße")
    changed = kim.call("PATCH", f"/me/messages/{draft['id']}", json={"subject": "Two", "ccRecipients": TO_BOB}).json
    assert (changed["id"], changed["subject"], changed["ccRecipients"]) == (draft["id"], "Two", TO_BOB)
    assert changed["toRecipients"] == TO_BOB
    assert changed["internetMessageId"] == draft["internetMessageId"]


def test_draft_takes_custom_headers_but_not_references(kim: GraphApi) -> None:
    headers = [{"name": "X-Hub", "value": "1"}]
    draft = kim.post("/me/messages", {"subject": "A", "internetMessageHeaders": headers})
    shown = kim.get(f"/me/messages/{draft['id']}", select="internetMessageHeaders")["internetMessageHeaders"]
    assert headers[0] in shown
    refused = {"subject": "A", "internetMessageHeaders": [{"name": "References", "value": "<a@x>"}]}
    assert kim.code("POST", "/me/messages", json=refused) == (400, "InvalidInternetMessageHeader")


def test_draft_from_mime_keeps_its_threading_headers(kim: GraphApi) -> None:
    answer = kim.call("POST", "/me/messages", **mime(own(message_id="<d@x>", references="<a@x> <b@x>")))
    assert (answer.status, answer.json["internetMessageId"]) == (201, "<d@x>")
    raw = kim.call("GET", f"/me/messages/{answer.json['id']}/$value").body
    assert email.message_from_bytes(raw)["References"] == "<a@x> <b@x>"
    bad = kim.code("POST", "/me/messages", headers={"Content-Type": "text/plain"}, body=b"not base64!")
    assert bad == (400, "ErrorMimeContentInvalidBase64String")


def test_draft_sent_is_the_same_item_in_sent_items(kim: GraphApi) -> None:
    draft = kim.post("/me/messages", {"subject": "A", "body": BODY, "toRecipients": TO_BOB})
    answer = kim.call("POST", f"/me/messages/{draft['id']}/send")
    assert (answer.status, answer.body) == (202, b"")
    sent = kim.get(f"/me/messages/{draft['id']}")
    assert (sent["isDraft"], sent["parentFolderId"]) == (False, kim.get("/me/mailFolders/sentitems")["id"])
    (mail,) = kim.simulator.sent(account=kim.email)
    assert (mail["id"], mail["message_id"], mail["to"]) == (
        draft["id"],
        sent["internetMessageId"],
        ["bob@else.example"],
    )
    assert kim.code("POST", f"/me/messages/{draft['id']}/send") == (400, "ErrorInvalidRequest")


def test_copy_in_sent_items_appears_later_when_told_to(kim: GraphApi) -> None:
    kim.simulator.settings(graph_sent_copy_seconds=30.0)
    assert kim.call("POST", "/me/sendMail", **mime(own(message_id="<later@x>"))).status == 202
    draft = kim.post("/me/messages", {"subject": "Draft", "toRecipients": TO_BOB})
    assert kim.call("POST", f"/me/messages/{draft['id']}/send").status == 202
    assert in_folder(kim, "sentitems") == []
    assert [item["id"] for item in in_folder(kim, "outbox")] == [draft["id"]]
    kim.simulator.advance(31)
    assert {item["internetMessageId"] for item in in_folder(kim, "sentitems")} == {
        "<later@x>",
        draft["internetMessageId"],
    }
    assert in_folder(kim, "outbox") == []


def test_send_mail_in_json_may_leave_no_copy(kim: GraphApi) -> None:
    body = {"message": {"subject": "A", "body": BODY, "toRecipients": TO_BOB}}
    assert kim.call("POST", "/me/sendMail", json=body).status == 202
    assert kim.call("POST", "/me/sendMail", json=body | {"saveToSentItems": False}).status == 202
    assert len(in_folder(kim, "sentitems")) == 1
    assert len(kim.simulator.sent(account=kim.email)) == 2


def test_send_mail_in_mime_keeps_the_message_id_unless_told_otherwise(kim: GraphApi) -> None:
    kim.call("POST", "/me/sendMail", **mime(own(message_id="<mine@x>")))
    kim.simulator.settings(graph_rewrites_message_id=True)
    kim.call("POST", "/me/sendMail", **mime(own(message_id="<mine@x>")))
    first, second = (mail["message_id"] for mail in kim.simulator.sent())
    assert first == "<mine@x>"
    assert second.endswith("outlook.com>")


def test_mime_that_answers_stands_in_the_conversation_unless_told_otherwise(kim: GraphApi) -> None:
    kim.call("POST", "/me/sendMail", **mime(own(message_id="<asked@x>")))
    answers = mime(own(message_id="<answer@x>", references="<asked@x>"))
    kim.call("POST", "/me/sendMail", **answers)
    assert len({item["conversationId"] for item in in_folder(kim, "sentitems")}) == 1
    kim.simulator.settings(graph_splits_conversations=True)
    kim.call("POST", "/me/sendMail", **answers)
    kim.call("POST", "/me/messages", **answers)
    found = in_folder(kim, "sentitems") + in_folder(kim, "drafts")
    assert len({item["conversationId"] for item in found}) == 3


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"To": ""}, 400, "ErrorInvalidRecipients"),
        ({"To": "not an address"}, 400, "ErrorInvalidRecipients"),
        ({"From": "boss@hub.example"}, 403, "ErrorSendAsDenied"),
    ],
)
def test_send_refused_changes_nothing(kim: GraphApi, change: dict[str, str], status: int, code: str) -> None:
    raw = message("A", **({"From": "kim@hub.example", "To": "bob@else.example"} | change))
    assert kim.code("POST", "/me/sendMail", **mime(raw)) == (status, code)
    assert kim.simulator.sent() == []
    assert in_folder(kim, "sentitems") == []


def test_send_from_an_alias_is_allowed_and_reaches_accounts_here_without_bcc(
    simulator: Simulator, kim: GraphApi
) -> None:
    simulator.create_account("microsoft", "ann@hub.example")
    raw = message("A", From="kl@hub.example", To="bob@else.example", Bcc="ann@hub.example")
    assert kim.call("POST", "/me/sendMail", **mime(raw)).status == 202
    ann = connect_graph(simulator, "ann@hub.example")
    (received,) = in_folder(ann, "inbox")
    assert (received["bccRecipients"], received["isRead"]) == ([], False)
    (sent,) = in_folder(kim, "sentitems")
    assert sent["bccRecipients"][0]["emailAddress"]["address"] == "ann@hub.example"


def test_reply_refers_to_what_it_answers_and_joins_the_conversation(kim: GraphApi) -> None:
    raw = message("Offer", message_id="<o@x>", To="kim@hub.example, ann@else.example", References="<root@x>")
    identity = kim.simulator.deliver(kim.email, raw, vendor="microsoft")["immutable_id"]
    reply = kim.post(f"/me/messages/{identity}/createReply", {"comment": "Yes"})
    assert (reply["subject"], reply["isDraft"]) == ("RE: Offer", True)
    assert reply["body"]["content"].startswith("Yes")
    assert reply["conversationId"] == kim.get(f"/me/messages/{identity}")["conversationId"]
    headers = email.message_from_bytes(kim.call("GET", f"/me/messages/{reply['id']}/$value").body)
    assert (headers["In-Reply-To"], headers["References"]) == ("<o@x>", "<root@x> <o@x>")
    everyone = kim.post(f"/me/messages/{identity}/createReplyAll", {})
    addresses = [one["emailAddress"]["address"] for one in everyone["toRecipients"]]
    assert addresses == ["bob@else.example", "ann@else.example"]
    changed = kim.call("PATCH", f"/me/messages/{reply['id']}", json={"body": BODY})
    assert changed.status == 200
    headers = email.message_from_bytes(kim.call("GET", f"/me/messages/{reply['id']}/$value").body)
    assert headers["In-Reply-To"] == "<o@x>"


def test_reply_with_comment_and_body_is_400_and_direct_reply_is_202(kim: GraphApi) -> None:
    identity = kim.deliver("Offer")["immutable_id"]
    both = {"comment": "Yes", "message": {"body": BODY}}
    assert kim.call("POST", f"/me/messages/{identity}/createReply", json=both).status == 400
    assert kim.call("POST", f"/me/messages/{identity}/reply", json={"comment": "Yes"}).status == 202
    assert kim.simulator.sent()[0]["subject"] == "RE: Offer"
    assert kim.call("POST", f"/me/messages/{identity}/forward", json={"comment": "See"}).status == 400
    assert in_folder(kim, "drafts") == []


def test_forward_takes_the_attachments_along(kim: GraphApi) -> None:
    raw = b"Subject: File\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\n%PDF"
    identity = kim.simulator.deliver(kim.email, raw, vendor="microsoft")["immutable_id"]
    forward = kim.post(f"/me/messages/{identity}/createForward", {"toRecipients": TO_BOB})
    assert (forward["subject"], forward["toRecipients"], forward["hasAttachments"]) == ("FW: File", TO_BOB, True)


# Attachments


def attach(kim: GraphApi, draft: str, data: bytes, name: str = "a.txt") -> Answer:
    body = {"@odata.type": "#microsoft.graph.fileAttachment", "name": name}
    body["contentBytes"] = base64.b64encode(data).decode()
    return kim.call("POST", f"/me/messages/{draft}/attachments", json=body)


def session(kim: GraphApi, draft: str, size: int) -> Answer:
    item = {"attachmentType": "file", "name": "big.bin", "size": size}
    path = f"/me/messages/{draft}/attachments/createUploadSession"
    return kim.call("POST", path, json={"AttachmentItem": item})


def put(kim: GraphApi, url: str, data: bytes, start: int, total: int, **headers: str) -> Answer:
    headers |= {"Content-Range": f"bytes {start}-{start + len(data) - 1}/{total}"}
    target = url.removeprefix(kim.simulator.base_url)
    return Answer(*kim.simulator.request("PUT", target, headers=headers, body=data))


def test_attachment_added_and_removed_changes_the_draft(kim: GraphApi) -> None:
    draft = kim.post("/me/messages", {"subject": "A"})["id"]
    first, second = attach(kim, draft, b"one", "ä.txt"), attach(kim, draft, b"two", "b.txt")
    assert (first.status, first.json["name"]) == (201, "ä.txt")
    path = f"/me/messages/{draft}/attachments"
    assert kim.call("DELETE", f"{path}/{first.json['id']}").status == 204
    (left,) = kim.get(path)["value"]
    assert left["id"] == second.json["id"]
    assert kim.call("GET", f"{path}/{left['id']}/$value").body == b"two"
    assert attach(kim, kim.deliver()["immutable_id"], b"x").status == 400


def test_attachment_over_three_megabytes_needs_a_session(kim: GraphApi) -> None:
    draft = kim.post("/me/messages", {"subject": "A"})["id"]
    assert attach(kim, draft, b"x" * (3 * 1024 * 1024 + 1)).status == 413
    assert session(kim, draft, 1000).json["error"]["code"] == "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize"


def test_upload_session_takes_ranges_in_order_without_authorization(kim: GraphApi) -> None:
    draft = kim.post("/me/messages", {"subject": "A"})["id"]
    data = bytes(range(256)) * 13_000
    opened = session(kim, draft, len(data))
    assert (opened.status, opened.json["nextExpectedRanges"]) == (201, ["0-"])
    url = opened.json["uploadUrl"]
    assert put(kim, url, data[:CHUNK], 0, len(data), Authorization=f"Bearer {kim.token}").status == 401
    assert put(kim, url, data[CHUNK : 2 * CHUNK], CHUNK, len(data)).status == 416
    first = put(kim, url, data[:CHUNK], 0, len(data))
    assert (first.status, first.json["nextExpectedRanges"]) == (200, [str(CHUNK)])
    second = put(kim, url, data[CHUNK : 2 * CHUNK], CHUNK, len(data))
    assert second.status == 200
    last = put(kim, url, data[2 * CHUNK :], 2 * CHUNK, len(data))
    assert (last.status, last.body) == (201, b"")
    assert kim.call("GET", f"{last.headers['location']}/$value").body == data
    assert put(kim, url, data[:10], 0, len(data)).status == 404
