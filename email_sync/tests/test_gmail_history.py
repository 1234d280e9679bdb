"""Gmail's history as changes: order, repetition, contradiction, garbage."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as effort

from core.errors import CursorExpired, ProviderUnavailable
from email_sync.providers.gmail.history import Cursor, change_page
from email_sync.records import ARCHIVE, ChangePage
from email_sync.tests.gmail_server import OBJECTS


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
