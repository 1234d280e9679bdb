"""Graph's folders and messages: lists, selection, filters, MIME, changes, moves, ids, errors and throttles."""

from __future__ import annotations

import email
import json
import threading
from typing import Any
from urllib.parse import quote

import pytest

from simulator.process import Simulator
from simulator.tests.factories import GraphApi, connect_graph, message, send

RICH = (
    b'From: "Bob B" <bob@else.example>\r\nTo: kim@hub.example, Ann <ann@hub.example>\r\nCc: c@else.example\r\n'
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <rich@else.example>\r\nX-Mark: one\r\n"
    b"Date: Tue, 03 Feb 2015 10:00:00 +0100\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b1"\r\n\r\n--b1\r\n'
    b'Content-Type: multipart/alternative; boundary="b2"\r\n\r\n'
    b"--b2\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nPlain gr\xc3\xbc\xc3\x9fe\r\n"
    b"--b2\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Rich <script>bad()</script>text</p>\r\n--b2--\r\n"
    b"--b1\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\n%PDF-1\r\n"
    b"--b1\r\nContent-Type: image/png\r\nContent-Disposition: inline; filename=i.png\r\nContent-ID: <i@x>\r\n"
    b"\r\nPNG\r\n--b1\r\nContent-Type: message/rfc822\r\n\r\nSubject: Inside\r\n\r\ninner\r\n--b1--\r\n"
)


def deliver(kim: GraphApi, raw: bytes, **options: Any) -> str:
    return str(kim.simulator.deliver(kim.email, raw, vendor="microsoft", **options)["immutable_id"])


# Folders


def test_folders_come_ten_at_a_time_without_hidden_ones_or_roles(kim: GraphApi) -> None:
    for number in range(4):
        kim.simulator.create_folder(kim.email, f"Project {number}")
    kim.simulator.create_folder(kim.email, "Secret", hidden=True)
    page = kim.get("/me/mailFolders")
    assert len(page["value"]) == 10
    rest = kim.get(page["@odata.nextLink"])
    names = [folder["displayName"] for folder in page["value"] + rest["value"]]
    assert len(names) == 12
    assert "Secret" not in names
    assert "wellKnownName" not in page["value"][0]
    everything = kim.get("/me/mailFolders", top=100, includeHiddenFolders="true")["value"]
    assert "Secret" in {folder["displayName"] for folder in everything}


def test_folder_by_well_known_name_is_found_in_any_language(simulator: Simulator) -> None:
    names = {"inbox": "Posteingang", "sentitems": "Gesendete Elemente"}
    simulator.create_account("microsoft", "uwe@hub.example", folder_names=names)
    uwe = connect_graph(simulator, "uwe@hub.example")
    folder = uwe.get("/me/mailFolders/inbox", select="displayName")
    assert folder == {"id": uwe.get("/me/mailFolders/Inbox")["id"], "displayName": "Posteingang"}


def test_folder_that_a_mailbox_need_not_have_is_404_and_nonsense_400(kim: GraphApi) -> None:
    assert kim.code("GET", "/me/mailFolders/clutter") == (404, "ErrorItemNotFound")
    assert kim.code("GET", "/me/mailFolders/posteingang") == (400, "ErrorInvalidIdMalformed")


def test_message_below_its_folder_is_found_and_below_another_not(kim: GraphApi) -> None:
    identity = deliver(kim, message())
    assert kim.get(f"/me/mailFolders/inbox/messages/{identity}")["id"] == identity
    assert kim.code("GET", f"/me/mailFolders/archive/messages/{identity}") == (404, "ErrorItemNotFound")


def test_folder_children_count_and_nest(kim: GraphApi) -> None:
    kim.simulator.create_folder(kim.email, "Deep", parent="inbox")
    kim.simulator.create_folder(kim.email, "Deeper", parent="Deep")
    inbox = kim.get("/me/mailFolders/inbox")
    (deep,) = kim.get(f"/me/mailFolders/{inbox['id']}/childFolders")["value"]
    assert (inbox["childFolderCount"], deep["parentFolderId"]) == (1, inbox["id"])
    (deeper,) = kim.get(f"/me/mailFolders/{deep['id']}/childFolders")["value"]
    assert deeper["displayName"] == "Deeper"


def test_folder_created_renamed_and_deleted_over_the_api(kim: GraphApi) -> None:
    folder = kim.post("/me/mailFolders", {"displayName": "New"})
    assert kim.code("POST", "/me/mailFolders", json={"displayName": "new"}) == (409, "ErrorFolderExists")
    path = f"/me/mailFolders/{folder['id']}"
    assert kim.call("PATCH", path, json={"displayName": "Newer"}).json["displayName"] == "Newer"
    assert kim.call("DELETE", path).status == 204
    assert kim.get(path)["parentFolderId"] == kim.get("/me/mailFolders/deleteditems")["id"]
    assert kim.call("DELETE", path).status == 204
    assert kim.code("GET", path) == (404, "ErrorItemNotFound")


# Lists


def test_list_is_newest_first_and_pages_by_absolute_links(kim: GraphApi) -> None:
    for number in range(25):
        deliver(kim, message(f"Mail {number}"), internal_date=1_700_000_000_000 + number * 1000)
    path = "/me/mailFolders/inbox/messages"
    page = kim.get(path, select="subject", top=10, count="true", orderby="receivedDateTime desc")
    assert (page["@odata.count"], page["value"][0]["subject"]) == (25, "Mail 24")
    subjects = [item["subject"] for item in page["value"]]
    while "@odata.nextLink" in page:
        assert page["@odata.nextLink"].startswith(kim.simulator.base_url)
        page = kim.get(page["@odata.nextLink"])
        subjects += [item["subject"] for item in page["value"]]
    assert subjects == [f"Mail {number}" for number in range(24, -1, -1)]
    assert len(kim.get(path)["value"]) == 10


def test_list_of_all_messages_includes_junk_and_deleted_items(kim: GraphApi) -> None:
    for labels in (["INBOX"], ["SPAM"], ["TRASH"], ["SENT"], []):
        deliver(kim, message(str(labels)), labels=labels)
    assert len(kim.get("/me/messages", top=50)["value"]) == 5
    assert [item["subject"] for item in kim.get("/me/mailFolders/archive/messages")["value"]] == ["[]"]


@pytest.mark.parametrize(
    ("condition", "subjects"),
    [
        ("internetMessageId eq '<m2@x>'", ["Two"]),
        ("isRead eq false", ["Three", "One"]),
        ("receivedDateTime ge 2023-11-14T22:13:30Z", ["Three", "Two"]),
        ("receivedDateTime gt 2023-11-14T22:13:30Z", ["Three"]),
        ("receivedDateTime ge 2023-11-14T22:13:20Z and receivedDateTime lt 2023-11-14T22:13:30Z", ["One"]),
        ("from/emailAddress/address eq 'BOB@else.example' and isRead eq true", ["Two"]),
    ],
)
def test_list_filter_keeps_what_fits(kim: GraphApi, condition: str, subjects: list[str]) -> None:
    for number, (subject, labels) in enumerate((("One", ["UNREAD"]), ("Two", []), ("Three", ["UNREAD"]))):
        raw = message(subject, message_id=f"<m{number + 1}@x>")
        deliver(kim, raw, labels=["INBOX", *labels], internal_date=(1_700_000_000 + number * 10) * 1000)
    found = kim.get("/me/messages", filter=condition, select="subject")["value"]
    assert [item["subject"] for item in found] == subjects


def test_list_sorted_by_what_the_filter_does_not_begin_with_is_inefficient(kim: GraphApi) -> None:
    query = {"$filter": "isRead eq false", "$orderby": "receivedDateTime desc"}
    assert kim.code("GET", "/me/messages", query=query) == (400, "InefficientFilter")
    query["$filter"] = "receivedDateTime ge 2000-01-01T00:00:00Z and isRead eq false"
    assert kim.call("GET", "/me/messages", query=query).status == 200


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('"participants:bob@else.example"', 2),
        ('"from:bob@else.example"', 1),
        ('"from:bob@else.example OR to:bob@else.example"', 2),
        ('"subject:offer"', 1),
    ],
)
def test_list_search_finds_participants(kim: GraphApi, text: str, count: int) -> None:
    deliver(kim, message("Our offer"))
    deliver(kim, message("Sent", From="kim@hub.example", To="bob@else.example"), labels=["SENT"])
    deliver(kim, message("Other", From="eve@else.example"))
    assert len(kim.get("/me/messages", search=text, select="id")["value"]) == count


def test_list_search_with_a_colon_outside_quotes_is_400(kim: GraphApi) -> None:
    assert kim.call("GET", "/me/messages", query={"$search": "from:bob"}).status == 400
    assert kim.call("GET", "/me/messages", query={"$search": "bob"}).status == 200


def test_list_sorts_by_the_time_it_is_told_to(kim: GraphApi) -> None:
    for number, year in enumerate((2015, 2013, 2014)):
        raw = message(str(year), Date=f"Tue, 03 Feb {year} 10:00:00 +0000")
        deliver(kim, raw, internal_date=(1_700_000_000 + number) * 1000)
    for order, subjects in (
        ("sentDateTime", ["2013", "2014", "2015"]),
        ("sentDateTime desc", ["2015", "2014", "2013"]),
        ("receivedDateTime asc", ["2015", "2013", "2014"]),
    ):
        found = kim.get("/me/messages", orderby=order, select="subject")["value"]
        assert [item["subject"] for item in found] == subjects


def test_list_search_does_not_go_with_filter(kim: GraphApi) -> None:
    query = {"$search": '"from:bob"', "$filter": "isRead eq true"}
    assert kim.code("GET", "/me/messages", query=query) == (400, "SearchWithFilter")


@pytest.mark.parametrize("query", ["$top=1001", "$top=x", "$filter=colour eq 1", "$select=colour", "$orderby=colour"])
def test_list_with_a_query_that_makes_no_sense_is_400(kim: GraphApi, query: str) -> None:
    assert kim.call("GET", f"/me/messages?{query.replace(' ', '%20')}").status == 400


# One message


def test_get_shows_the_message_and_headers_only_when_selected(kim: GraphApi) -> None:
    identity = deliver(kim, RICH)
    shown = kim.get(f"/me/messages/{identity}")
    assert (shown["subject"], shown["internetMessageId"]) == ("Grüße", "<rich@else.example>")
    assert shown["from"] == {"emailAddress": {"name": "Bob B", "address": "bob@else.example"}}
    assert [one["emailAddress"]["address"] for one in shown["toRecipients"]] == ["kim@hub.example", "ann@hub.example"]
    assert shown["sentDateTime"] == "2015-02-03T09:00:00Z"
    assert shown["body"]["contentType"] == "html"
    assert "script" not in shown["body"]["content"]
    assert "internetMessageHeaders" not in shown
    headers = kim.get(f"/me/messages/{identity}", select="internetMessageHeaders")
    assert {"name": "X-Mark", "value": "one"} in headers["internetMessageHeaders"]
    assert set(headers) == {"@odata.etag", "id", "internetMessageHeaders"}


def test_get_body_as_text_or_with_unsafe_html_when_preferred(kim: GraphApi) -> None:
    path = f"/me/messages/{deliver(kim, RICH)}"
    text = kim.get(path, prefer='outlook.body-content-type="text"')["body"]
    assert text == {"contentType": "text", "content": "Plain grüße"}
    assert "bad()" in kim.get(path, prefer="outlook.allow-unsafe-html")["body"]["content"]


def test_attachments_of_three_kinds_are_listed_and_read(kim: GraphApi) -> None:
    identity = deliver(kim, RICH)
    shown = kim.get(f"/me/messages/{identity}", expand="attachments($select=name,size,isInline)")
    assert [item["name"] for item in shown["attachments"]] == ["a.pdf", "i.png", "Inside"]
    assert not any("contentBytes" in item for item in shown["attachments"])
    listed = kim.get(f"/me/messages/{identity}/attachments")["value"]
    kinds = [(item["@odata.type"].rpartition(".")[2], item["isInline"]) for item in listed]
    assert kinds == [("fileAttachment", False), ("fileAttachment", True), ("itemAttachment", False)]
    values = [kim.call("GET", f"/me/messages/{identity}/attachments/{item['id']}/$value").body for item in listed]
    assert values[:2] == [b"%PDF-1", b"PNG"]
    assert b"inner" in values[2]
    assert "contentBytes" not in listed[2]


def test_has_attachments_ignores_inline_ones(kim: GraphApi) -> None:
    raw = (
        b"Subject: Logo\r\nContent-Type: image/png\r\nContent-Disposition: inline; filename=i.png\r\n"
        b"Content-ID: <i@x>\r\n\r\nPNG"
    )
    assert kim.get(f"/me/messages/{deliver(kim, raw)}")["hasAttachments"] is False


def test_value_is_mime_generated_anew_with_the_same_parts(kim: GraphApi) -> None:
    answer = kim.call("GET", f"/me/messages/{deliver(kim, RICH)}/$value")
    assert answer.status == 200
    assert answer.body != RICH
    old, new = email.message_from_bytes(RICH), email.message_from_bytes(answer.body)
    for name in ("Message-ID", "Date", "From", "To", "Cc", "Subject", "X-Mark"):
        assert new[name] == old[name]
    for ours, theirs in zip(new.walk(), old.walk(), strict=True):
        assert ours.get_content_type() == theirs.get_content_type()
        if not ours.is_multipart():
            assert ours.get_payload(decode=True) == theirs.get_payload(decode=True)


@pytest.mark.parametrize(
    "raw", [b"", b"\xff\xfe\x00", b"Content-Type: multipart/mixed\r\n\r\n", b"A: b\nno blank line"]
)
def test_hostile_mail_is_shown_all_the_same(kim: GraphApi, raw: bytes) -> None:
    identity = deliver(kim, raw or b"\n")
    assert kim.call("GET", f"/me/messages/{identity}").status == 200
    assert kim.call("GET", f"/me/messages/{identity}/$value").status == 200


def test_generated_mail_is_readable_to_the_last_message(kim: GraphApi) -> None:
    kim.simulator.seed(kim.email, 150, vendor="microsoft")
    page = kim.get("/me/messages", top=1000)
    assert len(page["value"]) == 150
    customers = next(item for item in kim.get("/me/mailFolders", top=50)["value"] if item["displayName"] == "Customers")
    assert customers["childFolderCount"] > 0
    for item in page["value"][:60]:
        assert kim.call("GET", f"/me/messages/{item['id']}/$value").status == 200


# Changes and ids


def test_patch_sets_read_flag_and_categories(kim: GraphApi) -> None:
    identity = deliver(kim, message())
    change = {"isRead": True, "flag": {"flagStatus": "flagged"}, "categories": ["Red"]}
    assert kim.call("PATCH", f"/me/messages/{identity}", json=change).status == 200
    (item,) = kim.simulator.mailbox(kim.email, vendor="microsoft")["messages"]
    assert (item["is_read"], item["flag"], item["categories"]) == (True, "flagged", ["Red"])
    assert kim.call("PATCH", f"/me/messages/{identity}", json={"flag": {"flagStatus": "blue"}}).status == 400
    refused = kim.code("PATCH", f"/me/messages/{identity}", json={"subject": "New"})
    assert refused == (400, "ErrorInvalidPropertyUpdateSentMessage")


def test_patch_with_an_old_etag_is_412(kim: GraphApi) -> None:
    identity = deliver(kim, message())
    old = {"If-Match": kim.get(f"/me/messages/{identity}")["@odata.etag"]}
    assert kim.call("PATCH", f"/me/messages/{identity}", json={"isRead": True}, headers=old).status == 200
    refused = kim.call("PATCH", f"/me/messages/{identity}", json={"isRead": False}, headers=old)
    assert (refused.status, refused.json["error"]["code"]) == (412, "ErrorIrresolvableConflict")
    assert "does not match the current change key" in refused.json["error"]["message"]
    assert kim.call("POST", f"/me/messages/{identity}/permanentDelete", headers=old).status == 412


def test_move_keeps_the_immutable_id_and_changes_the_other(kim: GraphApi) -> None:
    identity = deliver(kim, message())
    plain = connect_graph(kim.simulator, kim.email, immutable=False)
    (before,) = plain.get("/me/messages")["value"]
    moved = plain.post(f"/me/messages/{before['id']}/move", {"destinationId": "archive"})
    assert moved["id"] not in (before["id"], identity)
    assert plain.code("GET", f"/me/messages/{before['id']}") == (404, "ErrorItemNotFound")
    assert kim.get(f"/me/messages/{identity}")["parentFolderId"] == moved["parentFolderId"]
    assert kim.code("POST", f"/me/messages/{identity}/move", json={}) == (400, "ErrorInvalidRequest")


def test_copy_is_another_item(kim: GraphApi) -> None:
    identity = deliver(kim, message(message_id="<c@x>"))
    copied = kim.post(f"/me/messages/{identity}/copy", {"destinationId": "archive"})
    assert copied["id"] != identity
    assert len(kim.get("/me/messages", filter="internetMessageId eq '<c@x>'")["value"]) == 2


def test_delete_goes_to_deleted_items_and_then_for_good(kim: GraphApi) -> None:
    identity = deliver(kim, message())
    assert kim.call("DELETE", f"/me/messages/{identity}").status == 204
    assert kim.get(f"/me/messages/{identity}")["parentFolderId"] == kim.get("/me/mailFolders/deleteditems")["id"]
    assert kim.call("DELETE", f"/me/messages/{identity}").status == 204
    assert kim.code("GET", f"/me/messages/{identity}") == (404, "ErrorItemNotFound")
    assert kim.code("GET", "/me/messages/no-such") == (400, "ErrorInvalidIdMalformed")


def test_translate_turns_ids_into_the_other_kind(kim: GraphApi) -> None:
    delivered = kim.deliver()
    body = {
        "inputIds": [delivered["id"], "AAMk" + "x" * 60],
        "sourceIdType": "restId",
        "targetIdType": "restImmutableEntryId",
    }
    first, second = kim.post("/me/translateExchangeIds", body, 200)["value"]
    assert first == {"sourceId": delivered["id"], "targetId": delivered["immutable_id"]}
    assert second["errorDetails"]["code"] == "ErrorItemNotFound"


def test_conversation_joins_what_refers_to_it(kim: GraphApi) -> None:
    first = kim.get(f"/me/messages/{deliver(kim, message('A', message_id='<a@x>'))}")
    reply = kim.get(f"/me/messages/{deliver(kim, message('RE: A', in_reply_to='<a@x>'))}")
    other = kim.get(f"/me/messages/{deliver(kim, message('A'))}")
    assert first["conversationId"] == reply["conversationId"] != other["conversationId"]


# Who may do what, and how much of it


def test_scopes_decide_what_is_allowed(kim: GraphApi) -> None:
    identity = deliver(kim, RICH)
    basic = connect_graph(kim.simulator, kim.email, "openid offline_access Mail.ReadBasic")
    shown = basic.get(f"/me/messages/{identity}")
    assert "body" not in shown
    assert basic.code("GET", f"/me/messages/{identity}/$value") == (403, "ErrorAccessDenied")
    reader = connect_graph(kim.simulator, kim.email, "openid offline_access Mail.Read")
    assert reader.code("PATCH", f"/me/messages/{identity}", json={"isRead": True}) == (403, "ErrorAccessDenied")
    assert reader.code("POST", "/me/sendMail", json={}) == (403, "ErrorAccessDenied")


def test_errors_carry_request_ids_and_the_callers_own(kim: GraphApi) -> None:
    answer = kim.call("GET", "/me/messages/no-such", headers={"client-request-id": "mine-1"})
    inner = answer.json["error"]["innerError"]
    assert (inner["client-request-id"], answer.headers["client-request-id"]) == ("mine-1", "mine-1")
    assert inner["request-id"] == answer.headers["request-id"]
    assert send(kim.simulator, "GET", "/v1.0/me/messages").status == 401
    assert kim.code("GET", "/users/someone@else.example/messages") == (403, "ErrorAccessDenied")
    assert kim.call("GET", f"/users/{kim.email}/messages").status == 200


def test_mailbox_without_a_licence_is_404_with_its_own_code(kim: GraphApi) -> None:
    kim.simulator.settings(graph_disabled_mailboxes=[kim.email])
    assert kim.code("GET", "/me/messages") == (404, "MailboxNotEnabledForRESTAPI")
    assert kim.call("GET", "/me").status == 200


def test_me_shows_addresses_only_when_selected(kim: GraphApi) -> None:
    assert "proxyAddresses" not in kim.get("/me")
    shown = kim.get("/me", select="mail,userPrincipalName,proxyAddresses,otherMails")
    assert shown["proxyAddresses"] == ["SMTP:kim@hub.example", "smtp:kl@hub.example"]
    assert (shown["mail"], shown["otherMails"], "displayName" in shown) == (kim.email, [], False)


def test_more_than_four_requests_at_once_are_refused_with_retry_after(kim: GraphApi) -> None:
    kim.simulator.fault("latency", operation="graph.messages.list", seconds=0.3)
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(kim.call("GET", "/me/messages"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer for answer in answers if answer.status == 429]
    assert len(refused) == 2
    assert refused[0].headers["retry-after"] == "1"
    assert "MailboxConcurrency" in refused[0].json["error"]["message"]
    assert kim.call("GET", "/me/messages").status == 200


def test_ten_minutes_budget_refuses_until_they_have_passed(kim: GraphApi) -> None:
    kim.simulator.settings(graph_requests_per_ten_minutes=3)
    statuses = [kim.call("GET", "/me/messages").status for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    wait = int(kim.call("GET", "/me/messages").headers["retry-after"])
    assert 590 <= wait <= 600
    kim.simulator.advance(wait)
    assert kim.call("GET", "/me/messages").status == 200


def test_body_beyond_four_megabytes_is_413(kim: GraphApi) -> None:
    answer = kim.call("POST", "/me/messages", json={"subject": "x" * (4 * 1024 * 1024)})
    assert answer.status == 413


# Batch


def batch(kim: GraphApi, *requests: dict[str, Any]) -> dict[str, Any]:
    answer = kim.post("/$batch", {"requests": list(requests)}, 200)
    return {part["id"]: part for part in answer["responses"]}


def test_batch_parts_have_their_own_status_headers_and_order(kim: GraphApi) -> None:
    identity = deliver(kim, message())
    wish = {"Prefer": 'IdType="ImmutableId"'}
    kim.simulator.fault("status", operation="graph.messages.update", status=429, headers={"Retry-After": "9"}, count=1)
    change = {"Content-Type": "application/json"} | wish
    parts = batch(
        kim,
        {"id": "1", "method": "GET", "url": f"/me/messages/{identity}?$select=subject", "headers": wish},
        {"id": "2", "method": "PATCH", "url": f"/me/messages/{identity}", "headers": change, "body": {"isRead": True}},
        {"id": "3", "method": "GET", "url": "/me/messages", "dependsOn": ["2"]},
        {"id": "4", "method": "GET", "url": f"/me/messages/{identity}/$value"},
    )
    assert {name: part["status"] for name, part in parts.items()} == {"1": 200, "2": 429, "3": 424, "4": 200}
    assert parts["1"]["body"]["id"] == identity
    assert parts["2"]["headers"]["Retry-After"] == "9"
    assert isinstance(parts["4"]["body"], str)
    assert [entry["batch"] for entry in kim.simulator.ledger(operation="graph.messages.get")] == [True]


def test_batch_answers_come_in_any_order(kim: GraphApi) -> None:
    calls = [{"id": str(number), "method": "GET", "url": "/me/mailFolders/inbox"} for number in range(20)]
    orders = [[part["id"] for part in kim.post("/$batch", {"requests": calls}, 200)["responses"]] for _ in range(3)]
    assert sorted(orders[0], key=int) == [str(number) for number in range(20)]
    assert any(order != sorted(order, key=int) for order in orders)


def test_batch_of_more_than_twenty_or_of_nonsense_is_400(kim: GraphApi) -> None:
    calls = [{"id": str(number), "method": "GET", "url": "/me/messages"} for number in range(21)]
    for requests in (calls, [], [{"id": "1"}], [calls[0], calls[0]]):
        assert kim.call("POST", "/$batch", json={"requests": requests}).status == 400


def test_answers_are_json_that_names_its_ids_as_asked(kim: GraphApi) -> None:
    delivered = kim.deliver()
    plain = connect_graph(kim.simulator, kim.email, immutable=False)
    assert plain.get(f"/me/messages/{quote(delivered['immutable_id'])}")["id"] == delivered["id"]
    answer = kim.call("GET", f"/me/messages/{delivered['id']}")
    assert json.loads(answer.body)["id"] == delivered["immutable_id"]
    assert answer.headers["preference-applied"] == 'IdType="ImmutableId"'
