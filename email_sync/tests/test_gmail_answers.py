"""Gmail's answers at their worst: wrong types, cut batches, records that contradict one another."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from core.errors import CursorExpired, ProviderRateLimited, ProviderUnavailable, RemoteMissing
from email_sync.providers.gmail import answers
from email_sync.providers.gmail.history import Cursor, change_page
from email_sync.providers.gmail.messages import MAX_TEXT_BYTES, message_of, state_of
from email_sync.providers.gmail.provider import MAILBOX
from email_sync.records import ARCHIVE, DRAFTS, INBOX, SENT, TRASH, ChangePage, RemoteMessage
from email_sync.tests.gmail_server import Asked, GmailServer, Reply, batch_reply, encoded, message, refusal

NAMES = ("id", "threadId", "labelIds", "internalDate", "sizeEstimate", "payload", "partId", "mimeType", "filename")
NAMES += ("headers", "name", "value", "body", "data", "attachmentId", "size", "parts", "history", "historyId")
NAMES += ("messagesAdded", "messagesDeleted", "labelsAdded", "labelsRemoved", "message", "nextPageToken")
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
LEAVES |= st.sampled_from(
    ["text/plain", "text/html", "multipart/mixed", "SGVsbG8", "INBOX", "12", "=", "a\u0000b", "\ud800"]
)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner), max_leaves=30
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), ANYTHING)


@pytest.fixture
def server(settings: Any) -> Iterator[GmailServer]:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    server = GmailServer()
    yield server
    server.server.stop()


def no_body(attachment_id: str) -> bytes:
    raise AssertionError(f"{attachment_id} was not to be loaded")


def read(**fields: Any) -> RemoteMessage:
    """`message_of` a message with these fields."""
    return message_of("a1", message("a1", **fields), no_body)


# --- states ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "roles"),
    [
        ([], {ARCHIVE}),
        (["IMPORTANT", "CATEGORY_UPDATES", "Label_7"], {ARCHIVE}),
        (["INBOX"], {INBOX}),
        (["INBOX", "SENT"], {INBOX, SENT}),
        (["TRASH", "UNREAD"], {TRASH}),
        (["DRAFT"], {DRAFTS}),
    ],
)
def test_state_of_labels_gives_their_roles(labels: list[str], roles: set[str]) -> None:
    assert state_of("a1", labels).roles == roles


def test_state_of_flags_are_no_folders() -> None:
    state = state_of("a1", ["UNREAD", "STARRED", "Label_7", "INBOX"])
    assert (state.folder_ids, state.is_read, state.is_starred) == (("INBOX", "Label_7"), False, True)


# --- messages -------------------------------------------------------------------------------------------------


def test_message_of_whole_message_is_whole() -> None:
    found = read()
    assert found.parsed is not None
    assert (found.parsed.subject, found.parsed.text, found.parsed.defect) == ("About a1", "Hello", "")
    assert found.received_at == datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert (found.size, found.thread_remote_id, found.state.roles) == (1234, "ta1", {INBOX})


def test_message_of_message_without_labels_is_archived_and_read() -> None:
    answer = message("a1")
    del answer["labelIds"]
    state = message_of("a1", answer, no_body).state
    assert (state.roles, state.is_read, state.folder_ids) == ({ARCHIVE}, True, ())


@pytest.mark.parametrize("payload", [None, "text", 7, [], {}])
def test_message_of_message_without_content_is_kept_and_says_so(payload: object) -> None:
    found = read(payload=payload)
    assert found.parsed is not None
    assert found.parsed.defect == "Gmail gave no content."
    assert found.state.roles == {INBOX}


def test_message_of_undecodable_body_keeps_the_headers() -> None:
    payload = message("a1")["payload"] | {"body": {"data": "a", "size": 1}}
    found = read(payload=payload)
    assert found.parsed is not None
    assert found.parsed.subject == "About a1"
    assert found.parsed.defect == "A part cannot be decoded."


@pytest.mark.parametrize("parts", ["text", [None], [["x"]], {"a": 1}])
def test_message_of_unreadable_parts_keeps_the_headers(parts: object) -> None:
    found = read(payload=message("a1")["payload"] | {"mimeType": "multipart/mixed", "parts": parts, "body": {}})
    assert found.parsed is not None
    assert found.parsed.message_id == "a1@x.test"
    assert found.parsed.defect == "Gmail gave parts that cannot be read."


def test_message_of_endless_nesting_stops() -> None:
    part: dict[str, Any] = {"mimeType": "text/plain", "body": {"data": encoded(b"deep")}}
    for _ in range(300):
        part = {"mimeType": "multipart/mixed", "parts": [part, {"mimeType": "text/plain", "body": {"data": "eA"}}]}
    found = read(payload=part)
    assert found.parsed is not None
    assert found.parsed.defect == "There are more parts than are read."
    assert found.parsed.text.startswith("x")


@pytest.mark.parametrize("date", [None, "", "soon", "-1", "9" * 39, [1], 1.5])
def test_message_of_message_without_a_time_takes_the_date_header(date: object) -> None:
    payload = message("a1")["payload"]
    payload["headers"].append({"name": "Date", "value": "Tue, 06 Jan 2026 12:00:00 +0200"})
    found = read(internalDate=date, payload=payload)
    assert found.received_at == datetime(2026, 1, 6, 10, tzinfo=UTC)


def test_message_of_message_without_any_time_is_kept() -> None:
    found = read(internalDate=None)
    assert found.parsed is not None
    assert found.received_at == datetime(1970, 1, 1, tzinfo=UTC)
    assert found.parsed.defect == "Gmail names no time of arrival."


def test_message_of_text_in_a_charset_gmail_has_undone_reads_the_bytes() -> None:
    payload = message("a1")["payload"]
    headers = [{"name": "content-type", "value": 'text/plain; charset="ISO-2022-JP"; format=flowed; delsp=yes'}]
    payload |= {"headers": headers, "body": {"data": encoded("日本語 \r\nです".encode())}}
    found = read(payload=payload)
    assert found.parsed is not None
    assert found.parsed.text == "日本語です"
    assert found.parsed.headers == (("content-type", 'text/plain; charset="ISO-2022-JP"; format=flowed; delsp=yes'),)


@pytest.mark.parametrize("charset", ["iso-2022-jp", "shift_jis", "koi8-r", "iso-8859-5"])
def test_message_of_text_in_the_charset_it_names_reads_it_too(charset: str) -> None:
    text = "日本語" if "j" in charset and "koi" not in charset else "Привет всем"
    payload = message("a1")["payload"]
    payload |= {"headers": [{"name": "Content-Type", "value": f"text/plain; charset={charset}"}]}
    payload |= {"body": {"data": encoded(text.encode(charset))}}
    found = read(payload=payload)
    assert found.parsed is not None
    assert found.parsed.text == text


def test_message_of_text_kept_apart_is_loaded_and_attachments_are_not() -> None:
    parts = [
        {"partId": "0", "mimeType": "text/plain", "filename": "", "body": {"attachmentId": "A", "size": 3}},
        {"partId": "1", "mimeType": "text/plain", "filename": "a.txt", "body": {"attachmentId": "B", "size": 3}},
        {"partId": "2", "mimeType": "image/png", "filename": "", "body": {"attachmentId": "C", "size": 3}},
    ]
    answer = message("a1", payload={"mimeType": "multipart/mixed", "parts": parts, "headers": []})
    found = message_of("a1", answer, {"A": b"Hi!"}.__getitem__)
    assert found.parsed is not None
    assert found.parsed.text == "Hi!"
    assert [(part.part_id, part.size) for part in found.parsed.attachments] == [("1", 3), ("2", 3)]


def test_message_of_text_that_is_too_large_or_gone_is_a_defect() -> None:
    def gone(attachment_id: str) -> bytes:
        raise RemoteMissing

    for size, words in ((MAX_TEXT_BYTES + 1, "A text is too large to be stored."), (5, "A text is no longer there.")):
        payload = {"mimeType": "text/html", "filename": "", "headers": [], "body": {"attachmentId": "A", "size": size}}
        found = message_of("a1", message("a1", payload=payload), gone)
        assert found.parsed is not None
        assert found.parsed.defect == words


def test_message_of_one_single_attachment_has_it() -> None:
    payload = {"partId": "", "mimeType": "application/pdf", "filename": "a.pdf", "headers": []}
    found = read(payload=payload | {"body": {"attachmentId": "A", "size": 9}})
    assert found.parsed is not None
    assert [part.file_name for part in found.parsed.attachments] == ["a.pdf"]


@effort(deadline=None, max_examples=300)
@given(OBJECTS)
def test_message_of_anything_is_a_message(answer: dict[str, Any]) -> None:
    found = message_of("a1", answer, lambda _: b"text")
    assert found.parsed is not None
    assert found.received_at.tzinfo is UTC
    assert 0 <= found.size <= answers.MAX_NUMBER
    assert all("\x00" not in value for value in (*found.state.folder_ids, found.thread_remote_id))


# --- history --------------------------------------------------------------------------------------------------


def record(kind: str, remote_id: str, *labels: str) -> dict[str, Any]:
    """A record of one change, repeated under `messages` as Gmail does."""
    found = {"id": remote_id, "threadId": "t"} | ({"labelIds": list(labels)} if labels else {})
    return {"id": "9", "messages": [{"id": remote_id}], kind: [{"message": found, "labelIds": ["x"]}]}


def page_of(*records: dict[str, Any], cursor: str = "1", **fields: Any) -> ChangePage:
    return change_page(Cursor.read(cursor), {"historyId": "50", "history": list(records)} | fields)


def test_change_page_without_history_moves_the_cursor_on() -> None:
    assert change_page(Cursor.read("1"), {"historyId": "50"}) == ChangePage("50")


def test_change_page_without_history_but_with_a_next_page_goes_on() -> None:
    assert change_page(Cursor.read("1"), {"historyId": "50", "nextPageToken": "a:b"}) == ChangePage(
        "1:50:a:b", more=True
    )


def test_change_page_last_page_goes_on_from_where_the_first_was_asked() -> None:
    assert page_of(cursor="1:40:a:b") == ChangePage("40")
    assert page_of(cursor="1:40:a:b", nextPageToken="c") == ChangePage("1:40:c", more=True)


def test_change_page_history_id_beyond_64_bits_is_kept_as_text() -> None:
    assert page_of(historyId="184467440737095516159").cursor == "184467440737095516159"
    assert page_of(historyId=77).cursor == "77"


def test_change_page_last_state_wins() -> None:
    page = page_of(
        record("labelsAdded", "a", "INBOX", "UNREAD"),
        record("labelsRemoved", "b", "UNREAD"),
        record("labelsRemoved", "a", "STARRED"),
    )
    assert [(state.remote_id, state.roles, state.is_starred) for state in page.updated] == [
        ("b", {ARCHIVE}, False),
        ("a", {ARCHIVE}, True),
    ]
    assert (page.added, page.removed) == ((), ())


def test_change_page_added_then_relabelled_is_fetched_once() -> None:
    page = page_of(record("messagesAdded", "a", "INBOX"), record("labelsAdded", "a", "STARRED"))
    assert (page.added, page.updated) == (("a",), ())


def test_change_page_added_then_deleted_is_gone() -> None:
    page = page_of(record("messagesAdded", "a", "INBOX"), record("messagesDeleted", "a"))
    assert (page.added, page.updated, page.removed) == ((), (), ("a",))


def test_change_page_deleted_then_added_is_fetched() -> None:
    page = page_of(record("messagesDeleted", "a"), record("messagesAdded", "a", "INBOX"))
    assert (page.added, page.removed) == (("a",), ())


def test_change_page_relabelled_without_labels_is_fetched() -> None:
    """The last label went, or Gmail left them out: both look the same."""
    page = page_of(record("labelsRemoved", "a"))
    assert (page.added, page.updated) == (("a",), ())


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"historyId": None},
        {"historyId": True},
        {"historyId": "soon"},
        {"historyId": "5", "history": "x"},
        {"historyId": "5", "history": [{"messagesAdded": [{"message": None}]}]},
        {"historyId": "5", "history": [{"messagesAdded": [{"message": {"id": None}}]}]},
        {"historyId": "5", "history": [{"messagesDeleted": {"message": {"id": "a"}}}]},
        {"historyId": "5", "history": [{"labelsAdded": [{"message": {"id": "a\nb"}}]}]},
    ],
)
def test_change_page_of_garbage_is_asked_for_again(answer: dict[str, Any]) -> None:
    with pytest.raises(ProviderUnavailable):
        change_page(Cursor.read("1"), answer)


def test_change_page_with_the_page_token_asked_for_is_refused() -> None:
    with pytest.raises(ProviderUnavailable):
        page_of(cursor="1:40:same", nextPageToken="same")


@pytest.mark.parametrize("cursor", ["", "abc", "-1", "1:2", "1::x", "1:2:", "1" * 41, "\u0661"])
def test_cursor_that_is_none_expires(cursor: str) -> None:
    with pytest.raises(CursorExpired):
        Cursor.read(cursor)


@effort(deadline=None, max_examples=300)
@given(OBJECTS)
def test_change_page_of_anything_is_a_page_or_unavailable(answer: dict[str, Any]) -> None:
    with suppress(ProviderUnavailable):
        page = change_page(Cursor.read("1"), answer)
        assert Cursor.read(page.cursor)


# --- base64 ---------------------------------------------------------------------------------------------------


@given(st.binary(), st.booleans())
def test_decoded_gives_the_bytes_with_padding_or_without(data: bytes, padded: bool) -> None:
    text = base64.urlsafe_b64encode(data).decode()
    assert answers.decoded(text if padded else text.rstrip("=")) == data


@given(st.text())
def test_decoded_of_anything_never_raises(data: str) -> None:
    assert answers.decoded(data) is None or isinstance(answers.decoded(data), bytes)


# --- listings -------------------------------------------------------------------------------------------------


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


# --- batches --------------------------------------------------------------------------------------------------


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


# --- changing -------------------------------------------------------------------------------------------------


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
    for remote_id in ("other", "m1"):
        server.on("GET", f"/messages/{remote_id}", Reply(200, message(remote_id)))
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
