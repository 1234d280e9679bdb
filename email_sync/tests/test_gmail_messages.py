"""Gmail's messages as records, also those that are none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as effort

from core.errors import RemoteMissing
from email_sync.providers.gmail import answers
from email_sync.providers.gmail.messages import MAX_TEXT_BYTES, message_of, state_of
from email_sync.records import ARCHIVE, DRAFTS, INBOX, SENT, TRASH, RemoteMessage
from email_sync.tests.gmail_server import OBJECTS, encoded, message


def no_body(attachment_id: str) -> bytes:
    raise AssertionError(f"{attachment_id} was not to be loaded")


def read(**fields: Any) -> RemoteMessage:
    """`message_of` a message with these fields."""
    return message_of("a1", message("a1", **fields), no_body)


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
