"""Ids, cursors and keys of the IMAP provider."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import CursorExpired, RemoteMissing
from email_sync.providers.imap import naming
from email_sync.providers.imap.naming import EPOCH, Cursor, Location
from email_sync.records import ARCHIVE, INBOX, SENT, RemoteFolder


@given(st.integers(1, 2**32 - 1), st.integers(1, 2**32 - 1), st.text(min_size=1, max_size=470))
def test_place_is_the_inverse_of_remote_id_and_short_enough(uidvalidity: int, uid: int, folder: str) -> None:
    text = naming.remote_id(uidvalidity, uid, folder)
    assert naming.place(text) == (uidvalidity, uid, folder)
    assert len(text) <= 500


@pytest.mark.parametrize("text", ["", "1", "1/2", "1/2/", "x/2/INBOX", "1/-2/INBOX", "18c0ffee"])
def test_place_of_a_foreign_id_names_nothing(text: str) -> None:
    with pytest.raises(RemoteMissing):
        naming.place(text)


def test_cursor_survives_as_text() -> None:
    for cursor in (Cursor(7, 12, 3, 99), Cursor(7, 12, 3, 0, "1:3", "2", "")):
        assert Cursor.load(cursor.dump()) == cursor


@pytest.mark.parametrize("text", ["", "12345", "{}", "[]", '{"uidvalidity": 1, "other": 2}', "null"])
def test_cursor_of_foreign_text_expires(text: str) -> None:
    with pytest.raises(CursorExpired):
        Cursor.load(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"05-Jan-2026 10:00:00 +0000", datetime(2026, 1, 5, 10, tzinfo=UTC)),
        (b" 5-jan-2026 10:00:00 +0230", datetime(2026, 1, 5, 7, 30, tzinfo=UTC)),
        (b"31-Dec-2025 23:30:60 -0100", datetime(2026, 1, 1, 0, 30, 59, tzinfo=UTC)),
        (b"31-Foo-2025 23:30:00 -0100", EPOCH),
        (b"99-Jan-2025 23:30:00 -0100", EPOCH),
        (b"01-Jan-0001 00:00:00 +1400", EPOCH),
        (b"yesterday", EPOCH),
        (None, EPOCH),
    ],
)
def test_received_at_is_utc_or_the_epoch(text: bytes | None, expected: datetime) -> None:
    assert naming.received_at(text) == expected


@pytest.mark.parametrize(
    "raw",
    [
        b"Message-ID: <a@b>\r\nSubject: x\r\n\r\nMessage-ID: <body@b>\r\n",
        b"message-id:<a@b>\r\n\r\n",
        b"Subject: x\r\nMESSAGE-ID:\r\n <a@b>\r\nMessage-ID: <second@b>\r\n\r\n",
    ],
)
def test_message_id_is_the_first_of_the_header(raw: bytes) -> None:
    assert naming.message_id(raw) == b"<a@b>"


def test_message_id_in_the_body_only_is_none() -> None:
    assert naming.message_id(b"Subject: x\r\n\r\nMessage-ID: <body@b>\r\n") == b""


def test_content_key_is_the_same_from_the_whole_message_and_from_its_header_line() -> None:
    whole = naming.content_key(b"From: x\r\nMessage-ID:\r\n <a@b>\r\n\r\nhello", EPOCH, b"70")
    line = naming.content_key(b"Message-ID:\r\n <a@b>\r\n\r\n", EPOCH, b"70")
    assert whole == line
    assert len(whole) == 64


def test_content_key_differs_by_size_and_time_and_is_empty_without_a_message_id() -> None:
    header = b"Message-ID: <a@b>\r\n\r\n"
    later = datetime(2026, 1, 1, tzinfo=UTC)
    keys = {naming.content_key(header, when, size) for when in (EPOCH, later) for size in (b"1", b"2")}
    assert len(keys) == 4
    assert naming.content_key(b"Subject: x\r\n\r\n", EPOCH, b"1") == ""


def test_state_in_a_folder_has_the_folders_role_and_flags_without_case() -> None:
    state = Location(7, RemoteFolder("Sent", "Sent", SENT)).state(5, {"FLAGS": [b"\\SEEN", b"\\Flagged"]})
    assert (state.remote_id, state.folder_ids, state.roles) == ("7/5/Sent", ("Sent",), frozenset({SENT}))
    assert (state.is_read, state.is_starred) == (True, True)


def test_state_under_labels_is_placed_by_them_and_archived_without() -> None:
    everything = RemoteFolder("[Gmail]/All Mail", "All Mail")
    inbox, work = RemoteFolder("INBOX", "INBOX", INBOX), RemoteFolder("Work", "Work")
    location = Location(7, everything, {b"\\Inbox": inbox, b"Work": work})
    shown = location.state(5, {"FLAGS": [], "X-GM-LABELS": [b"\\Inbox", b"Work", b"\\Important"]})
    assert (shown.roles, shown.folder_ids) == (frozenset({INBOX}), ("[Gmail]/All Mail", "INBOX", "Work"))
    assert location.state(5, {"FLAGS": [], "X-GM-LABELS": [b"Work"]}).roles == {ARCHIVE}
