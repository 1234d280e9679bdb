"""What a reader narrows a log by becomes a tsquery over the words and marks of its entries (migration `log_words`).

Called by `reading`. Words are folded by PostgreSQL, by the same function that folds what is stored: no accents, no
case, addresses and ids split.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection as database

from core.errors import InvalidInput
from email_logs.states import State

MAX_QUERY = 500
MAX_TERMS = 32
_TERM = re.compile(r'(?P<minus>-?)(?:"(?P<quoted>[^"]*)"?|(?P<word>[^\s"]+))')


@dataclass(frozen=True, slots=True)
class Term:
    """One thing that must be there, or must not: all of its words."""

    words: Sequence[str]
    prefix: bool
    """The last of them may go on."""
    negated: bool

    @property
    def tsquery(self) -> str:
        *others, last = map(quoted, self.words)
        both = all_of([*others, f"{last}:*" if self.prefix else last])
        return f"!{both}" if self.negated else both


def words(q: str) -> str:
    """The tsquery of a free text: every word must be there, `-word` must not, `word*` may go on. "" for no text.
    InvalidInput (field q) where there is nothing to look for. One query."""
    matches = list(_TERM.finditer(q))
    if len(matches) > MAX_TERMS:
        raise InvalidInput(fields={"q": [f"A search has at most {MAX_TERMS} words."]})
    terms = [
        Term(folded, prefix=(match["word"] or "").endswith("*"), negated=bool(match["minus"]))
        for match, folded in zip(
            matches, _folded(match["quoted"] or match["word"] or "" for match in matches), strict=True
        )
        if folded
    ]
    if matches and all(term.negated for term in terms):
        raise InvalidInput(fields={"q": ["Give a word to look for; it may be part of an address, subject or id."]})
    return all_of([term.tsquery for term in terms])


def _folded(texts: Iterable[str]) -> list[list[str]]:
    given = list(texts)
    if not given:
        return []
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT email_logs_words(text) FROM unnest(%s::text[]) WITH ORDINALITY AS q (text, place) ORDER BY place",
            [given],
        )
        return [found for (found,) in cursor.fetchall()]


def states(wanted: Collection[State]) -> str:
    """In one of these."""
    return any_of([quoted(f"S{state.value}") for state in sorted(wanted)])


def source(label: str) -> str:
    """Of this source."""
    return quoted(f"O{label}")


def mailboxes(ids: Iterable[UUID]) -> str:
    """Sent from one of these."""
    return any_of([quoted(f"C{pk}") for pk in ids])


def all_of(parts: Sequence[str]) -> str:
    """All of them; "" of none."""
    return f"({' & '.join(parts)})" if len(parts) > 1 else "".join(parts)


def any_of(parts: Sequence[str]) -> str:
    """One of them."""
    return f"({' | '.join(parts)})" if len(parts) > 1 else "".join(parts)


def quoted(word: str) -> str:
    """As a tsquery writes it."""
    inner = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{inner}'"
