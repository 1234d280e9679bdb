"""Reading values out of Gmail's JSON."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ProviderUnavailable
from email_sync.providers.gmail import answers
from email_sync.tests.gmail_server import OBJECTS


@given(st.binary(), st.booleans())
def test_decoded_gives_the_bytes_with_padding_or_without(data: bytes, padded: bool) -> None:
    text = base64.urlsafe_b64encode(data).decode()
    assert answers.decoded(text if padded else text.rstrip("=")) == data


@given(st.text())
def test_decoded_of_anything_never_raises(data: str) -> None:
    assert answers.decoded(data) is None or isinstance(answers.decoded(data), bytes)


# --- values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 7, True, 1.5, [], {}, ["x"]])
def test_text_of_anything_else_is_empty(value: object) -> None:
    assert answers.text({"key": value}, "key") == ""


@pytest.mark.parametrize(
    ("value", "number"),
    [(7, 7), ("7", 7), (0, 0), (-1, 0), ("-1", 0), (True, 0), (1.5, 0), ("x", 0), (None, 0), ([], 0), ("\u0661", 0)],
)
def test_number_reads_numbers_and_int64_as_text(value: object, number: int) -> None:
    assert answers.number({"key": value}, "key") == number


@pytest.mark.parametrize("value", [10**30, "9" * 40])
def test_number_that_fits_no_column_is_capped(value: object) -> None:
    assert answers.number({"key": value}, "key") == answers.MAX_NUMBER


def test_identifiers_leave_out_what_is_no_id() -> None:
    assert answers.identifiers({"labelIds": ["INBOX", None, "a b", "\ud800", "", "x" * 256, 7]}, "labelIds") == (
        "INBOX",
    )


@given(OBJECTS)
def test_children_are_objects_or_unavailable(holder: dict[str, Any]) -> None:
    for key in holder:
        with suppress(ProviderUnavailable):
            assert all(isinstance(item, dict) for item in answers.children(holder, key))
