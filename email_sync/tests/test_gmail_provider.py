"""The Gmail provider against answers that are cut, garbled, out of order or refused in part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core.errors import CursorExpired, ProviderRateLimited, ProviderUnavailable, RemoteMissing
from email_sync.providers.base import MailAccount
from email_sync.providers.gmail import Gmail
from email_sync.providers.gmail.messages import state_of
from email_sync.providers.gmail.provider import MAILBOX
from email_sync.records import ARCHIVE, INBOX
from email_sync.tests.gmail_server import Asked, GmailServer, Reply, batch_reply, message, refusal


@pytest.fixture
def server(settings: Any) -> Iterator[GmailServer]:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    with GmailServer() as server:
        yield server


@pytest.mark.parametrize(
    "body", [{"messages": [{"id": None}]}, {"messages": "x"}, {"messages": [7]}, {"messages": [{"threadId": "t"}]}]
)
def test_list_ids_of_garbage_is_asked_for_again(server: GmailServer, body: dict[str, Any]) -> None:
    server.on("GET", "/messages", Reply(200, body))
    with pytest.raises(ProviderUnavailable):
        server.gmail().list_ids(MAILBOX, "", 10)


def test_list_ids_whose_page_token_repeats_is_refused(server: GmailServer) -> None:
    server.on("GET", "/messages", Reply(200, {"messages": [{"id": "a"}], "nextPageToken": "same"}))
    with pytest.raises(ProviderUnavailable):
        server.gmail().list_ids(MAILBOX, "inbox:same", 10)


def test_list_ids_empty_page_in_the_middle_goes_on_with_its_token(server: GmailServer) -> None:
    server.on("GET", "/messages", Reply(200, {"nextPageToken": "more"}))
    page = server.gmail().list_ids(MAILBOX, "", 10)
    assert (page.remote_ids, page.next_token) == ((), "inbox:more")


@pytest.mark.parametrize("total", [None, "many", -3, [], 0])
def test_list_ids_total_that_makes_no_sense_is_none(server: GmailServer, total: object) -> None:
    server.on("GET", "/profile", Reply(200, {"messagesTotal": total}))
    server.on("GET", "/messages", Reply(200, {}))
    assert server.gmail().list_ids(MAILBOX, "", 10).total is None


def test_list_ids_token_of_somebody_else_expires(server: GmailServer) -> None:
    with pytest.raises(CursorExpired):
        server.gmail().list_ids(MAILBOX, "drafts:x", 10)


def test_states_of_a_label_deleted_meanwhile_are_complete(server: GmailServer) -> None:
    def listing(asked: Asked) -> Reply:
        if asked.query.get("labelIds") == ["Label_1"]:
            return refusal(400, "invalidArgument", "Invalid label: Label_1")
        return Reply(200, {"messages": [{"id": "a"}]} if asked.query.get("labelIds") in (None, ["INBOX"]) else {})

    server.on("GET", "/labels", Reply(200, {"labels": [{"id": "INBOX"}, {"id": "Label_1"}]}))
    server.on("GET", "/messages", listing)
    assert list(server.gmail().states(MAILBOX)) == [[state_of("a", ["INBOX"])]]


def fetched(server: GmailServer, *ids: str) -> tuple[list[str], Exception | None]:
    """What `fetch` yields, and how it ends."""
    got: list[str] = []
    try:
        for found in server.gmail().fetch(MAILBOX, ids):
            got.append(found.state.remote_id)
    except (ProviderUnavailable, ProviderRateLimited) as error:
        return got, error
    return got, None


def answering(server: GmailServer, replies: dict[str, Reply], **options: Any) -> None:
    server.on("POST", "/batch/gmail/v1", lambda asked: batch_reply(asked, replies, **options))


def test_fetch_batch_in_another_order_is_read_by_content_id(server: GmailServer) -> None:
    replies = {remote_id: Reply(200, message(remote_id)) for remote_id in "abc"}
    answering(server, replies, order=lambda ids: ids[::-1])
    assert fetched(server, "a", "b", "c") == (["a", "b", "c"], None)


def test_fetch_batch_without_an_answer_to_all_yields_the_rest_and_asks_again(server: GmailServer) -> None:
    answering(server, {"a": Reply(200, message("a")), "c": Reply(200, message("c"))})
    got, error = fetched(server, "a", "b", "c")
    assert got == ["a", "c"]
    assert isinstance(error, ProviderUnavailable)


def test_fetch_batch_with_gone_and_malformed_ids_yields_the_rest(server: GmailServer) -> None:
    replies = {"a": refusal(404, "notFound"), "b": Reply(200, message("b")), "c": refusal(400, "invalidArgument")}
    answering(server, replies)
    assert fetched(server, "a", "b", "c") == (["b"], None)


def test_fetch_batch_with_several_refusals_raises_the_longest_wait(server: GmailServer) -> None:
    replies = {
        "a": refusal(500, "backendError"),
        "b": refusal(429, "rateLimitExceeded", retry_after="9"),
        "c": refusal(403, "userRateLimitExceeded", retry_after="90"),
        "d": Reply(200, message("d")),
    }
    answering(server, replies)
    got, error = fetched(server, *"abcd")
    assert got == ["d"]
    assert isinstance(error, ProviderRateLimited)
    assert error.retry_after == 90


@pytest.mark.parametrize("body", [b"[]", b'{"id": "b"', b"<html>", b'{"id": "other"}', b"{}", b"", b"\xff\xfe"])
def test_fetch_batch_with_one_garbled_answer_yields_the_others(server: GmailServer, body: bytes) -> None:
    answering(server, {"a": Reply(200, message("a")), "b": Reply(200, body), "c": Reply(200, message("c"))})
    got, error = fetched(server, "a", "b", "c")
    assert got == ["a", "c"]
    assert isinstance(error, ProviderUnavailable)


def test_fetch_batch_cut_off_yields_what_is_whole(server: GmailServer) -> None:
    def cut(asked: Asked) -> Reply:
        whole = batch_reply(asked, {remote_id: Reply(200, message(remote_id)) for remote_id in "ab"})
        return Reply(200, whole.body[:-200], whole.headers)

    server.on("POST", "/batch/gmail/v1", cut)
    got, error = fetched(server, "a", "b")
    assert got == ["a"]
    assert isinstance(error, ProviderUnavailable)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"--x\r\n", {"content_type": "text/html"}),
        Reply(200, b"", {"content_type": "multipart/mixed; boundary=x"}),
        Reply(200, b"--x\r\nnonsense\r\n--x--", {"content_type": "multipart/mixed; boundary=x"}),
        Reply(503, b"<html>", {"content_type": "text/html"}),
    ],
)
def test_fetch_answered_with_no_batch_is_unavailable(server: GmailServer, reply: Reply) -> None:
    server.on("POST", "/batch/gmail/v1", reply)
    got, error = fetched(server, "a")
    assert got == []
    assert isinstance(error, ProviderUnavailable)


def test_fetch_where_there_is_no_batch_endpoint_asks_one_by_one(server: GmailServer) -> None:
    for remote_id in "ac":
        server.on("GET", f"/messages/{remote_id}", Reply(200, message(remote_id)))
    gmail = server.gmail()
    assert [found.state.remote_id for found in gmail.fetch(MAILBOX, ["a", "b", "c"])] == ["a", "c"]
    assert [found.state.remote_id for found in gmail.fetch(MAILBOX, ["c"])] == ["c"]
    assert [asked.path for asked in server.asked].count("/batch/gmail/v1") == 1


def test_fetch_of_an_id_that_would_leave_its_place_stays_in_it(server: GmailServer) -> None:
    answering(server, {})
    fetched(server, "../../drafts\r\nGET /x")
    [asked] = server.asked
    assert asked.calls() == ["/gmail/v1/users/me/messages/..%2F..%2Fdrafts%0D%0AGET%20%2Fx?format=full"]


def test_set_flags_with_an_id_gmail_refuses_sets_the_others(server: GmailServer) -> None:
    done: list[str] = []

    def modify(asked: Asked) -> Reply:
        ids = asked.json()["ids"]
        if "bad" in ids:
            return refusal(400, "invalidArgument", "Invalid id value")
        done.extend(ids)
        return Reply(204, b"")

    server.on("POST", "/messages/batchModify", modify)
    server.gmail().set_flags(["a", "b", "bad", "c", "d"], read=True)
    assert done == ["a", "b", "c", "d"]


def test_set_archived_answer_without_labels_means_there_are_none(server: GmailServer) -> None:
    server.on("POST", "/messages/a/modify", Reply(200, {"id": "a", "threadId": "t"}))
    state = server.gmail().set_archived("a", True)
    assert state is not None
    assert (state.roles, state.is_read) == ({ARCHIVE}, True)


def test_find_sent_looks_at_what_the_search_found(server: GmailServer) -> None:
    server.on("GET", "/messages", Reply(200, {"messages": [{"id": "gone"}, {"id": "other"}, {"id": "m1"}]}))
    answering(server, {"gone": refusal(404, "notFound")} | {one: Reply(200, message(one)) for one in ("other", "m1")})
    found = server.gmail().find_sent("m1@x.test")
    assert found is not None
    assert found.remote_id == "m1"
    assert server.gmail().find_sent("nobody@x.test") is None


@pytest.mark.parametrize("part_id", ["1", "", "0.0", "nonsense"])
def test_attachment_of_a_part_that_is_not_there_is_missing(server: GmailServer, part_id: str) -> None:
    parts = [{"partId": "0", "mimeType": "text/plain", "body": {"data": "eA", "size": 1}}]
    server.on("GET", "/messages/a", Reply(200, message("a", payload={"partId": "", "parts": parts})))
    with pytest.raises(RemoteMissing):
        server.gmail().attachment("a", part_id)


@pytest.mark.parametrize("payload", [None, "x", {"parts": "x"}, {"parts": [{"partId": "1", "body": {"data": "a"}}]}])
def test_attachment_of_garbage_is_missing_or_unavailable(server: GmailServer, payload: object) -> None:
    server.on("GET", "/messages/a", Reply(200, message("a", payload=payload)))
    with pytest.raises((RemoteMissing, ProviderUnavailable)):
        server.gmail().attachment("a", "1")


# --- settings -------------------------------------------------------------------------------------------------


def test_settings_of_the_installation_name_the_server_that_is_asked(server: GmailServer, settings: Any) -> None:
    server.on("GET", "/labels", Reply(200, {"labels": [{"id": "INBOX", "name": "INBOX"}]}))
    [name] = [
        name for name, value in settings.MAIL_PROVIDER_SETTINGS["google"].items() if value == settings.GMAIL_API_URL
    ]
    gmail = Gmail(MailAccount("ada@gmail.test", "token", {name: f"{server.server.url}/"}))
    assert [folder.role for folder in gmail.folders()] == [INBOX]


@pytest.mark.parametrize("body", [{"error": {"code": 500, "message": "Broke"}}, b"<html>Sorry</html>"])
def test_flags_answered_by_something_that_is_not_gmails_success_are_not_set(server: GmailServer, body: Any) -> None:
    server.on("POST", "/messages/batchModify", Reply(200, body))
    with pytest.raises(ProviderUnavailable):
        server.gmail().set_flags(["a"], read=True)
