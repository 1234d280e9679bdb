"""Where an outbound mail stands, and in which direction it may move.

Pure. A state only moves forward: events of providers come late, twice and in any order, and the furthest one wins. Of a
mail to several people the worst that happened to any of them is shown; the history tells who.
"""

from __future__ import annotations

from django.db import models


class State(models.TextChoices):
    """The true state (DESIGN 7)."""

    QUEUED = "queued"
    """Ours still: it was not handed over, or was surely not taken, and is tried again."""
    UNKNOWN = "unknown"
    """The provider did not say whether it took it; it is never sent again, an event may tell."""
    ACCEPTED = "accepted"
    """The provider took it."""
    DEFERRED = "deferred"
    """The provider tries again: the recipient's server refuses for now."""
    FAILED = "failed"
    """It will not be delivered: refused by the provider, dropped, suppressed, or given up."""
    DELIVERED = "delivered"
    """The recipient's server took it."""
    BOUNCED = "bounced"
    """The recipient's server refused it for good, at once or later."""
    COMPLAINED = "complained"
    """It arrived, and the recipient called it spam."""


ORDER = tuple(State)
"""From the first to the furthest: a mail never moves to the left."""

DELIVERED_WORD, FAILED_WORD = "delivered", "failed"
STATUS_WORDS: dict[str, frozenset[State]] = {
    DELIVERED_WORD: frozenset({State.ACCEPTED, State.DEFERRED, State.DELIVERED, State.COMPLAINED}),
    FAILED_WORD: frozenset({State.FAILED, State.BOUNCED}),
}
"""The source document's two words for `Status`. Accepted reads "delivered" until an event says otherwise; of a mail
that has not left, or of which nobody knows, neither word is true."""


def is_forward(before: str, after: str) -> bool:
    """Whether a mail may move from one to the other."""
    return ORDER.index(State(after)) > ORDER.index(State(before))


def status_word(state: str) -> str | None:
    """What the column `Status` shows; None where neither word is true yet."""
    return next((word for word, states in STATUS_WORDS.items() if state in states), None)
