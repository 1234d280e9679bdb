"""Attachments that come in pieces are the same bytes as those that come whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import RemoteMissing
from email_sync.parsing.text import decode_pieces, decode_transfer
from email_sync.providers.imap import Imap, fetching
from email_sync.tests.scripted import ScriptedImap, fetch_answer
from email_sync.tests.scripted import account as imap_account

DONE = b"%T OK done\r\n"

# --- decoding -----------------------------------------------------------------------------------------------------

ENCODED = st.lists(
    st.sampled_from([b"QUJD", b"QQ==", b"Q", b"=", b"\r\n", b"\n", b"=3D", b"=\r\n", b"a b", b"\x00", b"-_", b"\xff"]),
    max_size=40,
).map(b"".join) | st.binary(max_size=200)
ENCODINGS = ["base64", " BASE64 ", "quoted-printable", "x-uuencode", "7bit", "8bit", "", "unheard-of"]


@given(data=ENCODED, size=st.integers(1, 50), encoding=st.sampled_from(ENCODINGS))
def test_pieces_of_any_size_are_decoded_as_the_whole_is(data: bytes, size: int, encoding: str) -> None:
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert b"".join(decode_pieces(pieces, encoding)) == decode_transfer(data, encoding)


def test_uuencoded_pieces_are_decoded_as_the_whole_is() -> None:
    data = b"begin 644 a.txt\n#86)C\n`\nend\n"
    pieces = [data[start : start + 3] for start in range(0, len(data), 3)]
    assert b"".join(decode_pieces(pieces, "x-uuencode")) == decode_transfer(data, "x-uuencode") == b"abc"


# --- from an IMAP server ------------------------------------------------------------------------------------------


def ranged(number: int, start: int, piece: bytes | None) -> tuple[str, bytes]:
    section = b"BODY[2]<%d>" % start
    return (
        rf"UID FETCH 1 \(UID BODY.PEEK\[2\]<{start}.{number}>\)",
        fetch_answer(1, piece, section=section) + DONE,
    )


@pytest.mark.parametrize(
    ("ranges", "content"),
    [
        ([(0, b"AAEC\r\nAw"), (8, b"==\r\n")], b"\x00\x01\x02\x03"),
        ([(0, b"AAECAwQF"), (8, b"")], b"\x00\x01\x02\x03\x04\x05"),
        ([(0, b"")], b""),
    ],
    ids=["two", "ends with a range", "empty"],
)
def test_part_of_a_large_message_is_fetched_in_ranges(
    settings: Any, monkeypatch: pytest.MonkeyPatch, ranges: list[tuple[int, bytes]], content: bytes
) -> None:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    monkeypatch.setattr(fetching, "PIECE", 8)
    header = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    with (
        ScriptedImap(
            (r"UID FETCH 1 \(UID RFC822.SIZE\)", b"* 1 FETCH (UID 1 RFC822.SIZE 90000000)\r\n%T OK done\r\n"),
            (r"UID FETCH 1 \(UID BODY.PEEK\[2.MIME\]", fetch_answer(1, header, section=b"BODY[2.MIME]") + DONE),
            *(ranged(8, start, piece) for start, piece in ranges),
        ) as server,
        Imap(imap_account(server.port)) as provider,
    ):
        assert b"".join(provider.attachment_pieces("7/1/INBOX", "2")) == content
    assert len([command for command in server.seen if "BODY.PEEK[2]<" in command]) == len(ranges)


def test_part_that_goes_away_between_two_ranges_is_missing(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    monkeypatch.setattr(fetching, "PIECE", 4)
    header = b"Content-Transfer-Encoding: base64\r\n\r\n"
    with (
        ScriptedImap(
            (r"UID FETCH 1 \(UID RFC822.SIZE\)", b"* 1 FETCH (UID 1 RFC822.SIZE 90000000)\r\n%T OK done\r\n"),
            (r"UID FETCH 1 \(UID BODY.PEEK\[2.MIME\]", fetch_answer(1, header, section=b"BODY[2.MIME]") + DONE),
            ranged(4, 0, b"AAEC"),
            ranged(4, 4, None),
        ) as server,
        Imap(imap_account(server.port)) as provider,
        pytest.raises(RemoteMissing),
    ):
        list(provider.attachment_pieces("7/1/INBOX", "2"))
