"""Reading IMAP responses and sequence sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from email_sync.providers.imap import wire


def test_fetched_of_messages_with_literals_gives_fields_by_uid() -> None:
    collected: list[wire.Piece] = [
        (b'1 (UID 5 FLAGS (\\Seen $Forwarded) INTERNALDATE " 5-Jan-2026 10:00:00 +0000" BODY[] {5}', b"he\r\nl"),
        b")",
        (b"2 (BODY[] {0}", b""),
        b" UID 9)",
    ]
    found = wire.fetched(collected)
    assert found == {
        5: {
            "UID": b"5",
            "FLAGS": [b"\\Seen", b"$Forwarded"],
            "INTERNALDATE": b" 5-Jan-2026 10:00:00 +0000",
            "BODY[]": b"he\r\nl",
        },
        9: {"UID": b"9", "BODY[]": b""},
    }
    assert found.garbled == 0


def test_fetched_with_unsolicited_answers_between_keeps_what_belongs_to_a_uid() -> None:
    collected: list[wire.Piece] = [
        b"3 (FLAGS (\\Deleted))",
        (b"1 (UID 5 BODY[] {2}", b"hi"),
        b")",
        b"1 (FLAGS (\\Seen) UID 5)",
    ]
    assert wire.fetched(collected) == {5: {"UID": b"5", "BODY[]": b"hi", "FLAGS": [b"\\Seen"]}}


def test_fetched_with_a_garbled_answer_counts_it_and_keeps_the_others() -> None:
    found = wire.fetched([b"1 (UID 5 FLAGS (\\Seen)", b"2 (UID 6 FLAGS ())", b'3 (UID 7 X "open)', b"4 (UID x)", b"5"])
    assert found == {6: {"UID": b"6", "FLAGS": []}}
    assert found.garbled == 4


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"NIL", None),
        (b"nil", None),
        (b'"NIL"', b"NIL"),
        (b'"a \\"b\\" \\\\ c"', b'a "b" \\ c'),
        (b'""', b""),
        (b"()", []),
        (b"((a) b)", [[b"a"], b"b"]),
        (b"BODY[HEADER.FIELDS (MESSAGE-ID DATE)]<0>", b"BODY[HEADER.FIELDS (MESSAGE-ID DATE)]<0>"),
        (b"odd]flag", b"odd]flag"),
        (b"{9}x", b"{9}x"),
    ],
)
def test_tokens_of_one_value(text: bytes, value: wire.Value) -> None:
    assert wire.tokens([text]) == [value]


@pytest.mark.parametrize("text", [b"(", b")", b'"open', b"(a))"])
def test_tokens_of_what_is_no_imap_are_garbled(text: bytes) -> None:
    with pytest.raises(wire.Garbled):
        wire.tokens([text])


@given(
    st.lists(st.one_of(st.binary(max_size=60), st.tuples(st.binary(max_size=30), st.binary(max_size=30))), max_size=6)
)
def test_fetched_of_any_bytes_never_fails(collected: list[wire.Piece]) -> None:
    found = wire.fetched(collected)
    assert all(uid > 0 for uid in found)


@given(st.sets(st.integers(1, 4_294_967_295), max_size=60) | st.sets(st.integers(1, 90), max_size=60))
def test_compress_and_expand_are_each_others_inverse(uids: set[int]) -> None:
    text = wire.compress(uids)
    assert list(wire.expand(wire.ranges(text))) == sorted(uids)
    assert wire.size(wire.ranges(text)) == len(uids)


def test_compress_names_runs_as_ranges() -> None:
    assert wire.compress([9, 1, 2, 3, 5]) == "1:3,5,9"


def test_ranges_of_a_reversed_pair_are_ascending() -> None:
    assert wire.ranges("9:5,2") == [(5, 9), (2, 2)]


@pytest.mark.parametrize("text", ["9" * 5000, "*", "1:*", "a", "1,,2", "-1"])
def test_ranges_of_what_is_no_set_of_numbers_are_garbled(text: str) -> None:
    with pytest.raises(wire.Garbled):
        wire.ranges(text)


def test_below_cuts_a_set_at_a_bound() -> None:
    assert wire.below([(1, 3), (5, 9), (12, 20)], 7) == [(1, 3), (5, 6)]


def test_quote_escapes_and_refuses_line_ends() -> None:
    assert wire.quote('a"b\\c') == b'"a\\"b\\\\c"'
    assert wire.quote("ä") == b'"\xc3\xa4"'
    for text in ("a\r\nb", "a\0b"):
        with pytest.raises(ValueError, match="line end"):
            wire.quote(text)
