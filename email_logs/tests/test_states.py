"""States of outbound mail: their direction and the document's two words."""

from __future__ import annotations

from itertools import pairwise

import pytest

from email_logs.states import ORDER, State, is_forward, status_word


@pytest.mark.parametrize(("before", "after"), list(pairwise(ORDER)))
def test_mail_moves_forward_and_never_back(before: State, after: State) -> None:
    assert is_forward(before, after)
    assert not is_forward(after, before)
    assert not is_forward(before, before)


def test_bounce_after_delivery_counts_and_delivery_after_bounce_does_not() -> None:
    assert is_forward(State.DELIVERED, State.BOUNCED)
    assert not is_forward(State.BOUNCED, State.DELIVERED)


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (State.QUEUED, None),
        (State.UNKNOWN, None),
        (State.ACCEPTED, "delivered"),
        (State.DEFERRED, "delivered"),
        (State.FAILED, "failed"),
        (State.DELIVERED, "delivered"),
        (State.BOUNCED, "failed"),
        (State.COMPLAINED, "delivered"),
    ],
)
def test_status_is_one_of_the_documents_words_where_it_is_true(state: State, word: str | None) -> None:
    assert status_word(state) == word


def test_every_state_has_been_given_its_word() -> None:
    assert len(ORDER) == 8
