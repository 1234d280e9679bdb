"""Reading Gmail: lists, formats, part trees, attachments, labels, threads."""

from __future__ import annotations

import base64

import pytest

from simulator.process import Simulator
from simulator.tests.factories import GmailApi, message

MIXED = b"""From: =?utf-8?q?J=C3=BCrgen?= <j@else.example>\r
Subject: =?iso-8859-1?Q?Gr=FC=DFe?=\r
 =?utf-8?B?IOKckw==?=\r
Content-Type: multipart/mixed; boundary=outer\r
\r
--outer\r
Content-Type: multipart/alternative; boundary=inner\r
\r
--inner\r
Content-Type: text/plain; charset=iso-8859-1\r
Content-Transfer-Encoding: quoted-printable\r
\r
Sch=F6ne Gr=FC=DFe & mehr\r
--inner\r
Content-Type: text/html; charset=utf-8\r
\r
<p>Hallo</p>\r
--inner--\r
--outer\r
Content-Type: application/pdf; name="a.pdf"\r
Content-Disposition: attachment; filename*=utf-8''f%C3%BCr.pdf\r
Content-Transfer-Encoding: base64\r
\r
JVBERi0xLjQ=\r
--outer--\r
"""


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_list_pages_newest_first_without_gap_or_repeat(simulator: Simulator, ada: GmailApi) -> None:
    simulator.seed(ada.email, 120)
    seen, token = [], ""
    while True:
        page = ada.get("/messages", maxResults=25, includeSpamTrash="true", **({"pageToken": token} if token else {}))
        seen += [item["id"] for item in page["messages"]]
        assert set(page["messages"][0]) == {"id", "threadId"}
        token = page.get("nextPageToken", "")
        if not token:
            break
        ada.deliver("Arrives while the list is read")
    assert seen == [item["id"] for item in simulator.mailbox(ada.email)["messages"] if item["id"] in set(seen)]
    assert len(seen) == 120


def test_list_of_nothing_has_no_messages_key(ada: GmailApi) -> None:
    assert ada.get("/messages") == {"resultSizeEstimate": 0}


def test_list_label_ids_must_all_match_and_spam_and_trash_stay_out(simulator: Simulator, ada: GmailApi) -> None:
    both = simulator.deliver(ada.email, message("Both"), labels=["INBOX", "STARRED"])["id"]
    simulator.deliver(ada.email, message("One"), labels=["INBOX"])
    spam = simulator.deliver(ada.email, message("Spam"), labels=["SPAM"])["id"]
    pairs = [("labelIds", "INBOX"), ("labelIds", "STARRED")]
    found = ada.call("GET", "/messages", query=pairs).json["messages"]
    assert [item["id"] for item in found] == [both]
    assert spam not in [item["id"] for item in ada.get("/messages")["messages"]]
    assert spam in [item["id"] for item in ada.get("/messages", includeSpamTrash="true")["messages"]]
    assert [item["id"] for item in ada.get("/messages", labelIds="SPAM")["messages"]] == [spam]


@pytest.mark.parametrize(
    ("query", "subjects"),
    [
        ("rfc822msgid:<sent@hub.example>", ["Offer"]),
        ("rfc822msgid:sent@hub.example in:sent", ["Offer"]),
        ("rfc822msgid:absent@hub.example", []),
        ("in:sent", ["Offer"]),
        ("in:inbox -is:starred", ["Invoice 7"]),
        ("is:starred", ["Greeting"]),
        ("label:customers/acme", ["Invoice 7"]),
        ("from:carol", ["Invoice 7"]),
        ("subject:greeting", ["Greeting"]),
        ('"invoice 7"', ["Invoice 7"]),
        ("in:trash", ["Gone"]),
        ("in:anywhere", ["Gone", "Greeting", "Invoice 7", "Offer"]),
        ("before:2001/01/01", []),
    ],
)
def test_list_query_finds(simulator: Simulator, ada: GmailApi, query: str, subjects: list[str]) -> None:
    carol = message("Invoice 7", From="carol@else.example")
    simulator.deliver(ada.email, carol, labels=["INBOX", "Customers/Acme"])
    simulator.deliver(ada.email, message("Greeting"), labels=["INBOX", "STARRED"])
    simulator.deliver(ada.email, message("Offer", message_id="<sent@hub.example>"), labels=["SENT"])
    simulator.deliver(ada.email, message("Gone"), labels=["TRASH"])
    found = ada.get("/messages", q=query).get("messages", [])
    headers = [ada.get(f"/messages/{item['id']}", format="metadata")["payload"]["headers"] for item in found]
    assert sorted(next(h["value"] for h in some if h["name"] == "Subject") for some in headers) == subjects


def test_list_with_bad_arguments_is_refused(ada: GmailApi) -> None:
    assert ada.call("GET", "/messages", query={"pageToken": "zz"}).reason == "invalidArgument"
    assert ada.call("GET", "/messages", query={"labelIds": "Label_99"}).status == 400
    assert ada.call("GET", "/messages", query={"maxResults": "many"}).status == 400


def test_get_full_gives_the_part_tree_decoded(simulator: Simulator, ada: GmailApi) -> None:
    identity = simulator.deliver(ada.email, MIXED)["id"]
    shown = ada.get(f"/messages/{identity}")
    payload = shown["payload"]
    assert {"name": "Subject", "value": "Grüße ✓"} in payload["headers"]
    assert {"name": "From", "value": "Jürgen <j@else.example>"} in payload["headers"]
    assert (payload["partId"], payload["mimeType"], payload["body"]) == ("", "multipart/mixed", {"size": 0})
    alternative, pdf = payload["parts"]
    assert [part["partId"] for part in alternative["parts"]] == ["0.0", "0.1"]
    assert decode(alternative["parts"][0]["body"]["data"]).decode() == "Schöne Grüße & mehr"
    assert "=" not in alternative["parts"][0]["body"]["data"]
    assert (pdf["partId"], pdf["filename"], pdf["body"]["size"]) == ("1", "für.pdf", 8)
    assert "data" not in pdf["body"]
    assert shown["snippet"] == "Schöne Grüße &amp; mehr"
    assert shown["sizeEstimate"] == len(MIXED)


def test_get_attachment_id_changes_and_both_lead_to_the_bytes(simulator: Simulator, ada: GmailApi) -> None:
    identity = simulator.deliver(ada.email, MIXED)["id"]
    ids = {ada.get(f"/messages/{identity}")["payload"]["parts"][1]["body"]["attachmentId"] for _ in range(2)}
    assert len(ids) == 2
    for attachment in ids:
        answer = ada.get(f"/messages/{identity}/attachments/{attachment}")
        assert decode(answer["data"]) == b"%PDF-1.4"
        assert answer["size"] == 8
    assert ada.call("GET", f"/messages/{identity}/attachments/nonsense").status == 400


def test_get_raw_is_the_message_byte_for_byte(simulator: Simulator, ada: GmailApi) -> None:
    raw = bytes(range(256)) + b"\r\n\r\n\xff"
    identity = simulator.deliver(ada.email, raw)["id"]
    assert decode(ada.get(f"/messages/{identity}", format="raw")["raw"]) == raw


def test_get_metadata_gives_the_headers_asked_for(ada: GmailApi) -> None:
    identity = ada.deliver("Hi")["id"]
    query = [("format", "metadata"), ("metadataHeaders", "subject"), ("metadataHeaders", "X-None")]
    payload = ada.call("GET", f"/messages/{identity}", query=query).json["payload"]
    assert payload["headers"] == [{"name": "Subject", "value": "Hi"}]
    assert "payload" not in ada.get(f"/messages/{identity}", format="minimal")


def test_get_with_fields_answers_only_those(ada: GmailApi) -> None:
    identity = ada.deliver("Hi")["id"]
    shown = ada.get(f"/messages/{identity}", fields="id,payload(mimeType,headers/name)")
    assert set(shown) == {"id", "payload"}
    assert set(shown["payload"]) == {"mimeType", "headers"}
    assert set(shown["payload"]["headers"][0]) == {"name"}
    assert ada.call("GET", f"/messages/{identity}", query={"fields": "id,("}).status == 400


@pytest.mark.parametrize(("identity", "status"), [("not-an-id", 400), ("00000000000000aa", 404)])
def test_get_what_is_not_there_is_refused(ada: GmailApi, identity: str, status: int) -> None:
    answer = ada.call("GET", f"/messages/{identity}")
    assert answer.status == status
    assert answer.json["error"]["code"] == status
    assert answer.reason == {400: "invalidArgument", 404: "notFound"}[status]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"Message-ID: <[abc]@x>\r\nSubject: \xff\xfe\x00\r\n\r\n\xff",
        b"Content-Type: text/plain; charset=x-unknown\r\n\r\n\xe4",
        b"Content-Type: text/plain; charset=idna\r\n\r\n\xff..",
        b"Content-Type: multipart/mixed\r\n\r\nno boundary",
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n!!",
        b"Content-Transfer-Encoding: base64\r\nSubject: =?utf-8?B?/?= =?x?Q?=ZZ?=\r\n\r\nA",
        b"".join(b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n) for n in range(2_000)),
    ],
)
def test_get_hostile_message_is_shown_all_the_same(simulator: Simulator, ada: GmailApi, raw: bytes) -> None:
    identity = simulator.deliver(ada.email, raw or b"\r\n")["id"]
    assert ada.get(f"/messages/{identity}")["id"] == identity


def test_modify_changes_labels_and_refuses_what_gmail_refuses(ada: GmailApi) -> None:
    identity = ada.deliver()["id"]
    changed = ada.post(f"/messages/{identity}/modify", {"addLabelIds": ["STARRED"], "removeLabelIds": ["UNREAD"]})
    assert changed["labelIds"] == ["INBOX", "STARRED"]
    for body in (
        {"addLabelIds": ["SENT"]},
        {"removeLabelIds": ["DRAFT"]},
        {"addLabelIds": ["Label_99"]},
        {"addLabelIds": ["STARRED"], "removeLabelIds": ["STARRED"]},
        {"addLabelIds": ["STARRED"] * 101},
        {},
    ):
        assert ada.call("POST", f"/messages/{identity}/modify", json=body).status == 400


def test_batch_modify_skips_what_is_missing_and_says_nothing(ada: GmailApi) -> None:
    ids = [ada.deliver()["id"], ada.deliver()["id"]]
    body = {"ids": [*ids, "00000000000000aa"], "removeLabelIds": ["INBOX"]}
    answer = ada.call("POST", "/messages/batchModify", json=body)
    assert (answer.status, answer.body) == (204, b"")
    assert all("INBOX" not in item["labels"] for item in ada.simulator.mailbox(ada.email)["messages"])
    too_many = {"ids": ["00000000000000aa"] * 1001, "removeLabelIds": ["INBOX"]}
    assert ada.call("POST", "/messages/batchModify", json=too_many).status == 400


def test_trash_and_delete_remove_step_by_step(ada: GmailApi) -> None:
    identity = ada.deliver()["id"]
    assert ada.post(f"/messages/{identity}/trash", {})["labelIds"] == ["TRASH", "UNREAD"]
    assert ada.post(f"/messages/{identity}/untrash", {})["labelIds"] == ["UNREAD"]
    assert ada.call("DELETE", f"/messages/{identity}").status == 204
    assert ada.call("DELETE", f"/messages/{identity}").status == 404
    other = ada.deliver()["id"]
    assert ada.call("POST", "/messages/batchDelete", json={"ids": [other, identity]}).status == 204
    assert ada.simulator.mailbox(ada.email)["messages"] == []


def test_threads_follow_references_and_subject(ada: GmailApi) -> None:
    first = ada.deliver("Plan", message_id="<1@x>")
    reply = ada.deliver("Re: Plan", message_id="<2@x>", references="<1@x>")
    other = ada.deliver("Another", references="<1@x>")
    assert reply["thread_id"] == first["thread_id"] != other["thread_id"]
    thread = ada.get(f"/threads/{first['thread_id']}", format="minimal")
    assert [item["id"] for item in thread["messages"]] == [first["id"], reply["id"]]
    listed = ada.get("/threads", maxResults=1)
    assert [item["id"] for item in listed["threads"]] == [other["thread_id"]]
    second = ada.get("/threads", maxResults=1, pageToken=listed["nextPageToken"])
    assert [item["id"] for item in second["threads"]] == [first["thread_id"]]
    ada.post(f"/threads/{first['thread_id']}/modify", {"removeLabelIds": ["UNREAD"]})
    assert ada.get("/labels/UNREAD")["messagesTotal"] == 1


def test_labels_have_counters_on_get_only_and_unique_names(ada: GmailApi) -> None:
    made = ada.post("/labels", {"name": "Customers"})
    assert made == {"id": made["id"], "name": "Customers", "type": "user"}
    identity = ada.deliver()["id"]
    ada.post(f"/messages/{identity}/modify", {"addLabelIds": [made["id"]]})
    shown = ada.get(f"/labels/{made['id']}")
    assert (shown["messagesTotal"], shown["messagesUnread"], shown["threadsTotal"]) == (1, 1, 1)
    assert made in ada.get("/labels")["labels"]
    assert ada.call("POST", "/labels", json={"name": "customers"}).status == 409
    assert ada.call("POST", "/labels", json={"name": "Inbox"}).status == 400
    assert ada.call("DELETE", "/labels/INBOX").status == 400
    assert ada.call("DELETE", f"/labels/{made['id']}").status == 204
    assert made["id"] not in ada.get(f"/messages/{identity}")["labelIds"]
