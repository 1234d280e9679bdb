"""A mailbox's months and years as numbers: "this mailbox in March 2026" is one key of the search index.

Pure; `services.indexing` writes the keys, `services.searching` walks them. A word's hits are looked for in the newest
months first, then year by year, so that a search costs what its page costs and neither old mail nor a neighbour's
mailbox is read (docs/adr/0011).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, timedelta

NEAR_MONTHS = 3
"""So many months are looked at one by one. A common word fills its page there; what does not is rare enough to be
looked for in a year at once."""
_PERIOD_BITS = 17
_MAILBOX_BITS = 46
"""Of the random end of a mailbox's id. Two mailboxes might share them: the message itself is asked whose it is."""


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of time, its key, and the half-open part of it that is meant."""

    key: int
    start: datetime
    end: datetime | None
    """None where it goes on to the end of time."""


def keys(mailbox: uuid.UUID, moment: datetime) -> list[int]:
    """The keys of a message received then: its month and its year."""
    return [_key(mailbox, moment.year, moment.month), _key(mailbox, moment.year)]


def walk(mailbox: uuid.UUID, newest: Sequence[datetime]) -> Iterator[Period]:
    """The periods to look at, newest first and without overlap. `newest` is the newest moment of interest of every year
    that has any, descending; nothing after the first of them is looked at."""
    if not newest:
        return
    end = newest[0] + timedelta(microseconds=1) if newest[0].year < MAXYEAR else None
    year, month = newest[0].year, newest[0].month
    for _ in range(NEAR_MONTHS):
        yield Period(_key(mailbox, year, month), end_of_near := _start(year, month), end)
        end = end_of_near
        year, month = (year, month - 1) if month > 1 else (max(year - 1, 1), 12)
    for moment in newest:
        start = _start(moment.year)
        if start < end_of_near:
            following = _start(moment.year + 1) if moment.year < end_of_near.year else end_of_near
            yield Period(_key(mailbox, moment.year), start, following)


def _start(year: int, month: int = 1) -> datetime:
    return datetime(year, month, 1, tzinfo=UTC)


def _key(mailbox: uuid.UUID, year: int, month: int = 0) -> int:
    """Fits PostgreSQL's bigint. Month 0 stands for the whole year."""
    return (mailbox.int & (1 << _MAILBOX_BITS) - 1) << _PERIOD_BITS | year * 13 + month
