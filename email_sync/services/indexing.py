"""The text search row of a message. Called by the writer, inside its transaction.

The vector is made here and not by `to_tsvector`: the text is folded to plain words already (`search.fold`), so the
database's parser would only find the same words again, at twice the cost of reading them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain, repeat

from email_sync import search
from email_sync.models import MessageSearch
from email_sync.records import ParsedMessage
from email_sync.services import bulk

LAST_PLACE = 16_383
"""PostgreSQL counts no further (its manual, 12.11)."""
_PLACES = {weight: [f"{number}{weight}" for number in range(1, LAST_PLACE + 1)] for weight in ("A", "B", "C", "")}


def index(connection_id: uuid.UUID, messages: Iterable[tuple[uuid.UUID, datetime, ParsedMessage]]) -> None:
    """Make messages, given as (id, received at, parsed), findable."""
    bulk.copy(
        MessageSearch,
        ("message", "connection", "month", "document"),
        (
            (message_id, connection_id, received_at.year * 12 + received_at.month, vector(*texts(parsed)))
            for message_id, received_at, parsed in messages
        ),
    )


def texts(parsed: ParsedMessage) -> tuple[str, str, str, str]:
    """What is searched, folded, in the order of the weights A to D."""
    recipients = " ".join(f"{a.name} {a.email}" for a in (*parsed.to, *parsed.cc, *parsed.bcc))
    return search.document(parsed.subject, f"{parsed.sender.name} {parsed.sender.email}", recipients, parsed.text)


def vector(subject: str, sender: str, recipients: str, body: str) -> str:
    """A tsvector as text: every word with its places, counted through from the subject on. Words are folded: letters
    and digits, which a tsvector takes unquoted."""
    places: dict[str, str] = {}
    count = 0
    for weight, text in (("A", subject), ("B", sender), ("C", recipients), ("", body)):
        words = text.split()
        for word, place in zip(words, _places(weight, count, len(words)), strict=False):
            places[word] = f"{places[word]},{place}" if word in places else place
        count += len(words)
    return " ".join(map(":".join, places.items()))


def _places(weight: str, after: int, count: int) -> Iterator[str]:
    """`count` places after the first so many; the last one stands for all that would follow."""
    numbered = _PLACES[weight]
    return chain(numbered[after : after + count], repeat(numbered[-1]))
