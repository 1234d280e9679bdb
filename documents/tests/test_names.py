"""File names and content types as they come in, and as they go out in a header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from documents import names


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("contract.pdf", "contract.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\fakepath\\Brief an Käthe.docx", "Brief an Käthe.docx"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("a\r\nSet-Cookie: x=1.txt", "aSet-Cookie: x=1.txt"),
        ("\ufeff\u200bplan\u0000.txt", "plan.txt"),
        ("خانه\u200cها.pdf", "خانه\u200cها.pdf"),
        ("e\u0301te\u0301.txt", "été.txt"),
        ("  two   words .txt ", "two words .txt"),
        (".env", ".env"),
        ("/".join(["x" * 300, "short.txt"]), "short.txt"),
    ],
)
def test_clean_keeps_what_can_be_seen_of_the_last_part(given_name: str, kept: str) -> None:
    assert names.clean(given_name) == kept


@pytest.mark.parametrize("bad", ["", " ", ".", "..", "folder/", "a/..", "\u202e", "\x00", "x" * 256, "x" * 1000])
def test_clean_refuses_what_is_no_name_and_says_where(bad: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        names.clean(bad)
    assert list(refusal.value.fields) == ["fileName"]


@given(st.text(max_size=300))
def test_clean_of_anything_is_safe_or_refused(text: str) -> None:
    try:
        name = names.clean(text)
    except InvalidInput:
        return
    assert 0 < len(name) <= 255
    assert name not in (".", "..")
    assert not any(character in name for character in "/\\\x00\r\n\u202e\u2066")
    assert names.clean(name) == name
    header = names.disposition(name)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2


@pytest.mark.parametrize(
    ("given_type", "kept"),
    [
        ("Application/PDF", "application/pdf"),
        ("text/plain; charset=utf-8", "text/plain"),
        ("image/svg+xml", "image/svg+xml"),
    ],
)
def test_content_type_is_kept_without_parameters(given_type: str, kept: str) -> None:
    assert names.content_type(given_type) == kept


@pytest.mark.parametrize("bad", ["", "pdf", "a/b/c", "text/pl ain", "text/plain\r\nX: y", "*/*", "text/", "é/x"])
def test_content_type_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(InvalidInput):
        names.content_type(bad)


def test_disposition_has_the_exact_name_and_one_in_ascii() -> None:
    plain, exact = '"Brief _an_ Kathe 100_.pdf"', "Brief%20%22an%22%20K%C3%A4the%20100%25.pdf"
    header = names.disposition('Brief "an" Käthe 100%.pdf')
    assert header == f"attachment; filename={plain}; filename*=UTF-8''{exact}"
