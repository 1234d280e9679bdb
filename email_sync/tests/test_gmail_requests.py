"""Every request of the Gmail provider against Google's own description of the API (the discovery document that
google-api-python-client carries): path, method, parameters, their types and values, and the fields of bodies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from email.parser import BytesParser
from importlib.resources import files
from typing import Any

import pytest

from email_sync.providers.base import MailAccount
from email_sync.providers.doorbells.gmail import GmailWatch
from email_sync.providers.gmail.provider import MAILBOX
from email_sync.records import OutgoingMail
from email_sync.tests.gmail_server import Asked, GmailServer, Reply, batch_reply, encoded, message
from integrations.doorbells import Hooks

DISCOVERY = json.loads(files("googleapiclient").joinpath("discovery_cache/documents/gmail.v1.json").read_text())


def methods(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every method of the document."""
    yield from resource.get("methods", {}).values()
    for inner in resource.get("resources", {}).values():
        yield from methods(inner)


METHODS = list(methods(DISCOVERY))
METHODS_BY_ID = {method["id"]: method for method in METHODS}


@pytest.fixture
def asked(settings: Any) -> Iterator[list[Asked]]:
    """What a whole life of the provider asks for."""
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    with GmailServer() as server:
        whole = message("a1")
        apart = {"partId": "1", "mimeType": "text/html", "filename": "", "body": {"attachmentId": "att/1", "size": 9}}
        whole["payload"] = {"partId": "", "mimeType": "multipart/mixed", "parts": [apart], "body": {"size": 0}}
        whole["payload"]["headers"] = [{"name": "Message-ID", "value": "<m1@x.test>"}]
        server.on("GET", "/profile", Reply(200, {"historyId": "5", "messagesTotal": 9}))
        server.on(
            "GET", "/labels", Reply(200, {"labels": [{"id": "INBOX", "name": "INBOX"}, {"id": "Label_1", "name": "x"}]})
        )
        server.on(
            "GET",
            "/messages",
            lambda a: Reply(
                200, {"messages": [{"id": "a1"}]} | ({} if "pageToken" in a.query else {"nextPageToken": "p"})
            ),
        )
        server.on("GET", "/history", Reply(200, {"historyId": "6", "nextPageToken": "q"}))
        server.on("POST", "/batch/gmail/v1", lambda a: batch_reply(a, {"a1": Reply(200, whole)}))
        server.on("POST", "/watch", Reply(200, {"historyId": "5", "expiration": "1795000000000"}))
        server.on("POST", "/stop", Reply(204, b""))
        server.on("GET", "/messages/a1", Reply(200, whole))
        server.on("GET", "/messages/a1/attachments/att%2F1", Reply(200, {"data": encoded(b"<p>Hello"), "size": 8}))
        server.on("POST", "/messages/a1/modify", Reply(200, {"id": "a1"}))
        server.on("POST", "/messages/batchModify", Reply(204, b""))
        server.on("POST", "/messages/send", Reply(200, {"id": "a1", "threadId": "t"}))
        server.on("POST", "/upload/gmail/v1/users/me/messages/send", Reply(200, {"id": "a1", "threadId": "t"}))
        live(server)
        yield server.asked


def live(server: GmailServer) -> None:
    """Every call of the provider once."""
    gmail = server.gmail()
    gmail.folders()
    gmail.start_cursor(MAILBOX)
    for token in ("", "inbox:p", "sent:", "all:"):
        gmail.list_ids(MAILBOX, token, 9999)
    assert [m.parsed.html for m in gmail.fetch(MAILBOX, ["a1"]) if m.parsed] == ["<p>Hello"]
    list(gmail.states(MAILBOX))
    gmail.changes(MAILBOX, "4")
    gmail.changes(MAILBOX, "4:5:token")
    gmail.set_flags(["a1"], read=True, starred=False)
    gmail.set_archived("a1", True)
    gmail.set_archived("a1", False)
    gmail.attachment("a1", "1")
    assert gmail.find_sent("m1@x.test") is not None
    assert gmail.find_sent("m2@x.test") is None
    for mime in (b"To: b@x.test\r\n\r\nHello", b"To: b@x.test\r\n\r\n" + b"x" * 6_000_000):
        gmail.send(OutgoingMail("m1@x.test", "ada@gmail.test", ("b@x.test",), mime, ("c@x.test",), "t"))
    watch = GmailWatch(MailAccount("ada@gmail.test", "ya29.secret", {**gmail.account.settings, "pubsubTopic": "t"}))
    watch.renew(watch.subscribe(Hooks("", ""), "").remote_id)
    watch.stop("ada@gmail.test")
    server.rules.pop(("POST", "/batch/gmail/v1"))
    list(server.gmail().fetch(MAILBOX, ["a1"]))


def described(method: str, path: str) -> dict[str, Any]:
    """The method of the document that a request calls; uploads have a path of their own."""
    for candidate in METHODS:
        templates = [candidate["path"]]
        if candidate.get("supportsMediaUpload"):
            templates.append(candidate["mediaUpload"]["protocols"]["simple"]["path"].lstrip("/"))
        for template in templates:
            if candidate["httpMethod"] == method and re.fullmatch(
                re.sub(r"\{\w+\}", "[^/]+", template), path.lstrip("/")
            ):
                return candidate
    raise AssertionError(f"Google knows no {method} {path}")


def check_query(method: dict[str, Any], query: dict[str, list[str]]) -> None:
    """Known parameters, of their type, repeated only where that is allowed."""
    known = DISCOVERY["parameters"] | {n: p for n, p in method["parameters"].items() if p["location"] == "query"}
    for name, values in query.items():
        assert name in known, f"{method['id']} has no parameter {name}"
        assert known[name].get("repeated") or len(values) == 1
        for value in values:
            assert value in known[name].get("enum", [value])
            assert known[name]["type"] != "boolean" or value in ("true", "false")
            assert known[name]["type"] != "integer" or 0 < int(value) <= 500
    required = {name for name, given in method["parameters"].items() if given.get("required")}
    assert required <= {*query, "userId", "id", "messageId"}


def check_body(method: dict[str, Any], body: dict[str, Any]) -> None:
    """Known fields, lists where lists are wanted."""
    properties = DISCOVERY["schemas"][method["request"]["$ref"]]["properties"]
    for name, value in body.items():
        assert name in properties, f"{method['id']} has no field {name}"
        assert isinstance(value, list) == (properties[name]["type"] == "array")


def test_every_request_is_one_that_google_describes(asked: list[Asked]) -> None:
    called = set()
    for request in asked:
        if request.path == f"/{DISCOVERY['batchPath']}/gmail/v1":
            continue
        method = described(request.method, request.path)
        called.add(method["id"])
        check_query(method, request.query)
        if request.body and request.headers["content-type"] == "application/json":
            check_body(method, request.json())
    assert called == {
        "gmail.users.getProfile",
        "gmail.users.labels.list",
        "gmail.users.messages.list",
        "gmail.users.messages.get",
        "gmail.users.messages.attachments.get",
        "gmail.users.messages.modify",
        "gmail.users.messages.batchModify",
        "gmail.users.messages.send",
        "gmail.users.history.list",
        "gmail.users.watch",
        "gmail.users.stop",
    }


def test_every_call_within_a_batch_is_one_that_google_describes(asked: list[Asked]) -> None:
    targets = {target for request in asked if request.path == "/batch/gmail/v1" for target in request.calls()}
    for target in targets:
        path, _, query = target.partition("?")
        check_query(described("GET", path), {name: [value] for name, _, value in [query.partition("=")]})
    assert len(targets) == 2


def test_every_request_carries_the_token(asked: list[Asked]) -> None:
    assert {request.headers["authorization"] for request in asked} == {"Bearer ya29.secret"}


def test_the_upload_is_a_message_and_its_bytes(asked: list[Asked]) -> None:
    [upload] = [request for request in asked if request.path.startswith("/upload/")]
    head = f"Content-Type: {upload.headers['content-type']}\r\n\r\n".encode()
    parts = BytesParser().parsebytes(head + upload.body).get_payload()
    assert isinstance(parts, list)
    envelope, mail = parts
    check_body(described("POST", upload.path), json.loads(envelope.get_payload()))
    assert mail.get_content_type() == "message/rfc822"
    assert upload.query == {"uploadType": ["multipart"]}
    assert int(METHODS_BY_ID["gmail.users.messages.send"]["mediaUpload"]["maxSize"]) == 36_700_160


def test_the_largest_answers_asked_for_are_those_that_google_gives(asked: list[Asked]) -> None:
    sizes = {value for request in asked for value in request.query.get("maxResults", [])}
    assert sizes == {"500", "25"}
