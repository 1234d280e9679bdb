"""Mail on its way out through Graph: what counts as taken, and mail above what one request takes."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from email import message_from_bytes
from typing import Any

import pytest

from core.errors import (
    HubError,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    RemoteChanged,
)
from email_sync import composing
from email_sync.providers.graph.outgoing import MAX_MIME, cut
from email_sync.records import Address, OutgoingMail
from email_sync.tests.contract import outgoing
from email_sync.tests.gmail_server import Asked, Reply
from email_sync.tests.graph_server import GraphServer, refusal, summary

SENT = "/me/mailFolders/sentitems/messages"


@pytest.fixture
def server(settings: Any) -> Iterator[GraphServer]:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    with GraphServer() as server:
        server.on("POST", "/me/sendMail", Reply(202, b""))
        server.on("GET", SENT, Reply(200, {"value": []}))
        server.on("GET", "/me/mailFolders/drafts/messages", Reply(200, {"value": []}))
        yield server


def letter(*sizes: int) -> OutgoingMail:
    """A reply with files of these sizes."""
    return composing.compose(
        sender=Address("Ada", "ada@contoso.test"),
        to=["bob@x.test"],
        bcc=["eve@x.test"],
        subject="Grüße",
        text="See below.",
        html="<p>See below.</p>",
        in_reply_to="parent@x.test",
        attachments=[
            composing.OutgoingAttachment(f"große {n}.bin", "application/x-thing", bytes([n]) * size)
            for n, size in enumerate(sizes)
        ],
    )


def test_send_is_one_call_with_the_mime_and_its_bcc(server: GraphServer) -> None:
    mail = letter(10)
    sent = server.graph().send(mail)
    [asked] = [asked for asked in server.asked if asked.path == "/v1.0/me/sendMail"]
    assert asked.headers["content-type"] == "text/plain"
    assert base64.b64decode(asked.body) == b"Bcc: eve@x.test\r\n" + mail.mime
    assert (sent.message_id, sent.filed, sent.remote_id) == (mail.message_id, True, "")


def test_send_tells_where_the_copy_is_when_it_is_there_already(server: GraphServer) -> None:
    server.on("GET", SENT, Reply(200, {"value": [{"id": "s1", "conversationId": "c1"}]}))
    sent = server.graph().send(outgoing("a", "ada@contoso.test"))
    assert (sent.remote_id, sent.thread_remote_id) == ("s1", "c1")


def test_send_whose_copy_cannot_be_asked_for_is_sent_all_the_same(server: GraphServer) -> None:
    server.on("GET", SENT, refusal(503, "x"))
    assert server.graph().send(outgoing("a", "ada@contoso.test")).filed


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(200, {}), ProviderOutcomeUnknown),
        (refusal(500, "x"), ProviderOutcomeUnknown),
        (refusal(502, "x"), ProviderOutcomeUnknown),
        (refusal(504, "x", **{"Retry-After": "5"}), ProviderOutcomeUnknown),
        (Reply(504, b"<html>"), ProviderOutcomeUnknown),
        (refusal(503, "x", **{"Retry-After": "5"}), ProviderRateLimited),
        (refusal(429, "ErrorExceededMessageLimit"), ProviderRateLimited),
        (refusal(423, "x"), ProviderUnavailable),
        (Reply(403, b"<html>proxy"), ProviderUnavailable),
        (refusal(400, "ErrorInvalidRecipients"), ProviderRejected),
        (refusal(403, "ErrorSendAsDenied"), ProviderRejected),
        (refusal(413, "RequestEntityTooLarge"), ProviderRejected),
        (refusal(404, "ErrorItemNotFound"), ProviderRejected),
    ],
    ids=lambda value: str(getattr(value, "status", getattr(value, "__name__", value))),
)
def test_send_answered_otherwise_is_what_it_is(server: GraphServer, reply: Reply, error: type[HubError]) -> None:
    server.on("POST", "/me/sendMail", reply)
    with pytest.raises(HubError) as raised:
        server.graph().send(outgoing("a", "ada@contoso.test"))
    assert type(raised.value) is error
    assert len([asked for asked in server.asked if asked.path == "/v1.0/me/sendMail"]) == 1


def test_send_without_an_answer_is_unknown(server: GraphServer) -> None:
    server.on("POST", "/me/sendMail", lambda _: None)
    with pytest.raises(ProviderOutcomeUnknown):
        server.graph().send(outgoing("a", "ada@contoso.test"))


# --- large mail ------------------------------------------------------------------------------------------------------


class Outlook:
    """Takes drafts, their files and the send; `uploaded` is what came by upload session."""

    def __init__(self, server: GraphServer) -> None:
        self.attached: list[dict[str, Any]] = []
        self.sessions: list[dict[str, Any]] = []
        self.uploaded = bytearray()
        self.ranges: list[str] = []
        self.bearers: set[str | None] = set()
        self.discarded = 0
        draft = summary("d1", internetMessageId="<kept@x.test>", isDraft=True)
        server.on("POST", "/me/messages", Reply(201, draft))
        server.on("POST", "/me/messages/d1/attachments", self._attach)
        server.on("POST", "/me/messages/d1/attachments/createUploadSession", self._session)
        server.on("PUT", "/upload/1", self._range)
        server.on("POST", "/me/messages/d1/send", Reply(202, b""))
        server.on("POST", "/me/messages/d1/permanentDelete", self._discard)
        self.upload_url = f"{server.url}/v1.0/upload/1"

    def _attach(self, asked: Asked) -> Reply:
        self.attached.append(asked.json())
        return Reply(201, {"id": "x"})

    def _session(self, asked: Asked) -> Reply:
        self.sessions.append(asked.json()["AttachmentItem"])
        return Reply(201, {"uploadUrl": self.upload_url})

    def _range(self, asked: Asked) -> Reply:
        self.bearers.add(asked.headers.get("authorization"))
        self.ranges.append(asked.headers["content-range"])
        self.uploaded += asked.body
        return Reply(200, {"nextExpectedRanges": []})

    def _discard(self, asked: Asked) -> Reply:
        self.discarded += 1
        return Reply(204, b"")


@pytest.fixture
def outlook(server: GraphServer) -> Outlook:
    return Outlook(server)


def test_send_of_a_large_mail_is_a_draft_whose_files_go_up_by_themselves(server: GraphServer, outlook: Outlook) -> None:
    mail = letter(100, 7_000_000, 2_000_000, 200)
    sent = server.graph().send(mail)
    assert (sent.remote_id, sent.thread_remote_id, sent.message_id) == ("d1", "cd1", "kept@x.test")
    [asked] = [asked for asked in server.asked if asked.path == "/v1.0/me/messages"]
    draft = message_from_bytes(base64.b64decode(asked.body))
    assert draft["Message-ID"] == f"<{mail.message_id}>"
    assert draft["In-Reply-To"] == "<parent@x.test>"
    assert draft["Bcc"] == "eve@x.test"
    assert [part.get_filename() for part in draft.walk() if part.get_filename()] == ["große 0.bin", "große 3.bin"]
    assert "See below." in str(draft.get_payload(0))
    [attached] = outlook.attached
    assert base64.b64decode(attached["contentBytes"]) == b"\x02" * 2_000_000
    [session] = outlook.sessions
    assert (session["name"], session["size"]) == ("große 1.bin", 7_000_000)
    assert bytes(outlook.uploaded) == b"\x01" * 7_000_000
    assert outlook.ranges == [
        "bytes 0-3276799/7000000",
        "bytes 3276800-6553599/7000000",
        "bytes 6553600-6999999/7000000",
    ]
    assert outlook.bearers == {None}
    assert outlook.discarded == 0


@pytest.mark.parametrize(
    ("method", "path", "reply"),
    [
        ("POST", "/me/messages", lambda _: None),
        ("POST", "/me/messages", refusal(500, "x")),
        ("POST", "/me/messages/d1/attachments/createUploadSession", refusal(500, "x")),
        ("PUT", "/upload/1", refusal(404, "ErrorItemNotFound")),
        ("PUT", "/upload/1", lambda _: None),
    ],
)
def test_send_of_a_large_mail_that_fails_before_the_send_has_surely_not_left(
    server: GraphServer, outlook: Outlook, method: str, path: str, reply: Any
) -> None:
    server.on(method, path, reply)
    with pytest.raises(HubError) as raised:
        server.graph().send(letter(7_000_000))
    assert type(raised.value) is ProviderUnavailable
    assert not [asked for asked in server.asked if asked.path.endswith("/send")]
    assert outlook.discarded == (path != "/me/messages")


def test_send_of_a_large_mail_that_takes_too_long_ends_unsent(
    server: GraphServer, outlook: Outlook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("email_sync.providers.graph.sending.PREPARE_SECONDS", -1.0)
    with pytest.raises(ProviderUnavailable, match="too long"):
        server.graph().send(letter(7_000_000))
    assert outlook.discarded == 1
    assert not [asked for asked in server.asked if asked.path.endswith("/send")]


def test_send_of_a_large_mail_takes_away_what_an_earlier_attempt_left(server: GraphServer, outlook: Outlook) -> None:
    server.on("GET", "/me/mailFolders/drafts/messages", Reply(200, {"value": [{"id": "old"}]}))
    server.graph().send(letter(7_000_000))
    assert [asked.path for asked in server.asked if "/old" in asked.path] == ["/v1.0/me/messages/old/permanentDelete"]


def test_send_of_a_large_mail_refused_at_the_end_leaves_no_draft(server: GraphServer, outlook: Outlook) -> None:
    server.on("POST", "/me/messages/d1/send", refusal(400, "ErrorMessageSizeExceeded"))
    with pytest.raises(ProviderRejected):
        server.graph().send(letter(7_000_000))
    assert outlook.discarded == 1


@pytest.mark.parametrize("reply", [refusal(500, "x"), refusal(404, "ErrorItemNotFound"), lambda _: None])
def test_send_of_a_large_mail_without_a_clear_end_is_unknown(server: GraphServer, outlook: Outlook, reply: Any) -> None:
    server.on("POST", "/me/messages/d1/send", reply)
    with pytest.raises(ProviderOutcomeUnknown):
        server.graph().send(letter(7_000_000))
    assert outlook.discarded == 0


@pytest.mark.parametrize("url", ["", "http://evil.test/x", "https://outlook.office.com.evil.test/x", "http://[x"])
def test_send_uploads_to_nobody_else(server: GraphServer, outlook: Outlook, url: str) -> None:
    outlook.upload_url = url
    with pytest.raises(ProviderUnavailable, match="not its own"):
        server.graph().send(letter(7_000_000))


def test_send_of_more_text_than_microsoft_takes_is_refused_here(server: GraphServer) -> None:
    mail = OutgoingMail("a@x.test", "ada@x.test", ("b@x.test",), b"Subject: x\r\n\r\n" + b"x" * MAX_MIME)
    with pytest.raises(ProviderRejected) as rejected:
        server.graph().send(mail)
    assert rejected.value.code == "too_large"
    assert server.asked == []


def test_cut_of_a_mail_leaves_the_rest_as_it_was() -> None:
    mail = letter(10, 500, 20, 400)
    rest, files = cut(mail.mime, len(mail.mime) - 1_200)
    assert [file.content for file in files] == [b"\x01" * 500, b"\x03" * 400]
    names = [part.get_filename() for part in message_from_bytes(rest).walk() if part.get_filename()]
    assert names == ["große 0.bin", "große 2.bin"]
    assert rest.endswith(b"--\r\n")
    assert rest.partition(b"\r\n\r\n")[0] == mail.mime.partition(b"\r\n\r\n")[0]


# --- drafts and aliases ----------------------------------------------------------------------------------------------


def test_save_draft_in_place_of_another_takes_that_one_away(server: GraphServer, outlook: Outlook) -> None:
    server.on("GET", "/me/messages/d0", Reply(200, {"id": "d0", "isDraft": True}))
    server.on("GET", "/me/messages/d1", Reply(200, {"id": "d1", "isDraft": True}))
    state = server.graph().save_draft(letter(10), replaces="d0")
    assert (state.remote_id, state.roles) == ("d1", {"drafts"})
    assert [asked.path for asked in server.asked if "d0/" in asked.path] == ["/v1.0/me/messages/d0/permanentDelete"]


@pytest.mark.parametrize("moved_once", [True, False], ids=["flagged meanwhile", "changed meanwhile"])
def test_draft_whose_change_key_moved_goes_only_where_its_content_is_the_one_seen(
    server: GraphServer, outlook: Outlook, moved_once: bool
) -> None:
    """Microsoft answers 412 to an old change key; what the draft says then decides."""
    draft = {"id": "d0", "isDraft": True, "subject": "Lunch", "@odata.etag": 'W/"1"'}
    server.on("GET", "/me/messages/d0", lambda _: Reply(200, draft))
    server.on("GET", "/me/messages/d1", Reply(200, {"id": "d1", "isDraft": True}))
    graph = server.graph()
    version = graph.draft_versions(["d0"])["d0"]
    keys: list[str] = []

    def discard(asked: Asked) -> Reply:
        keys.append(asked.headers["if-match"])
        draft.update({"@odata.etag": 'W/"2"'} if moved_once else {"@odata.etag": 'W/"2"', "subject": "Tea"})
        return refusal(412, "ErrorIrresolvableConflict") if keys[-1] == 'W/"1"' else Reply(204, b"")

    server.on("POST", "/me/messages/d0/permanentDelete", discard)
    if moved_once:
        assert graph.save_draft(letter(10), "d0", version).remote_id == "d1"
        assert keys == ['W/"1"', 'W/"2"']
        return
    with pytest.raises(RemoteChanged):
        graph.save_draft(letter(10), "d0", version)
    assert (keys, outlook.discarded) == (['W/"1"'], 1)


def test_aliases_begin_with_the_account_s_own_address(server: GraphServer) -> None:
    me = {
        "displayName": "Ada",
        "mail": "Ada@contoso.test",
        "userPrincipalName": "ada@contoso.onmicrosoft.test",
        "proxyAddresses": ["SMTP:ada@contoso.test", "smtp:sales@contoso.test", "X500:/o=x", "SIP:ada@contoso.test"],
    }
    server.on("GET", "/me", Reply(200, me))
    assert server.graph().aliases() == [Address("Ada", "Ada@contoso.test"), Address("Ada", "sales@contoso.test")]
