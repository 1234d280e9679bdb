"""The places of a log's entries, in the order lists show them, by whatever they are narrowed. Called by `reading`.

Promised: the cost follows the entries that are shown, not the table. Without a filter, or with dates alone, the page
index answers, and so does the index of failures. With any other filter the nearest RECENT entries are looked at one by
one; what is so rare that they do not fill the page is asked of the word index period by period (`periods`), until there
is enough. States, sources and mailboxes are words of that index too, so that no combination reads what it leaves out.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection as database

from email_logs import periods
from email_logs.states import FAILED_WORD, STATUS_WORDS

RECENT = 2_000
"""So many are looked at before the word index: a source or a word that is frequent fills its page there."""
DENSE = 10
"""One in so many of the nearest: then the next ones are looked at one by one too."""
_ALWAYS = {"since": "-infinity", "until": "infinity"}
_NEWEST_FIRST, _OLDEST_FIRST = "sent_at DESC, id DESC", "sent_at ASC, id ASC"
_FAILED = f"state IN ({', '.join(repr(state.value) for state in sorted(STATUS_WORDS[FAILED_WORD]))})"
"""As the partial index of failures says it."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an entry stands in its table."""

    sent_at: datetime
    id: uuid.UUID


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for, as the database understands it."""

    table_id: uuid.UUID
    document: str = ""
    """A tsquery over words and marks; "" where nothing but the table and dates narrows it."""
    failed_only: bool = False
    since: datetime | None = None
    until: datetime | None = None
    after: Place | None = None
    """The place the list goes on from."""
    oldest_first: bool = False

    @property
    def values(self) -> dict[str, Any]:
        place = self.after
        return {
            "table": self.table_id, "document": self.document, "since": self.since or _ALWAYS["since"],
            "until": self.until or _ALWAYS["until"], "at": place and place.sent_at, "id": place and place.id,
        }  # fmt: skip

    @property
    def condition(self) -> str:
        """On `table_id`, `sent_at` and `id`: one stretch of the page index."""
        parts = ["table_id = %(table)s", "sent_at >= %(since)s", "sent_at < %(until)s"]
        if self.after is not None:
            parts.append(f"(sent_at, id) {'>' if self.oldest_first else '<'} (%(at)s, %(id)s)")
        if self.failed_only:
            parts.append(_FAILED)
        return " AND ".join(parts)

    @property
    def order(self) -> str:
        return _OLDEST_FIRST if self.oldest_first else _NEWEST_FIRST

    @property
    def backwards(self) -> str:
        return _NEWEST_FIRST if self.oldest_first else _OLDEST_FIRST


def places(wanted: Wanted, *, offset: int, count: int) -> Sequence[Place]:
    """`count` places after `offset` of them."""
    if not wanted.document:
        sql = "SELECT sent_at, id FROM email_logs_emaillogentry WHERE {condition} ORDER BY {order} OFFSET {0} LIMIT {1}"
        return [Place(*row) for row in _rows(wanted, sql, offset, count)]
    hits, last = _nearest(wanted, offset + count)
    if last is None:
        return hits[offset:]
    rows = _walk(wanted, last, _WALK, max(offset - len(hits), 0), offset + count - len(hits))
    return [*hits[offset:], *(Place(*row) for row in rows)]


def stretch(wanted: Wanted, count: int) -> tuple[Sequence[Place], Place | None]:
    """The next places, at most `count`, and the place from which to go on; None at the end. Walking all that is wanted
    reads each entry about once: those that lie close are looked at one by one, however many a day has, and the word
    index leads only over stretches where they are rare."""
    if not wanted.document:
        found = places(wanted, offset=0, count=count)
        return found, found[-1] if len(found) == count else None
    hits, last = _nearest(wanted, count)
    if last is None:
        return hits, hits[-1] if len(hits) == count else None
    if len(hits) * DENSE >= RECENT:
        return hits, last
    more = [Place(*row) for row in _walk(wanted, last, _WALK, 0, count)]
    return [*hits, *more], more[-1] if len(more) == count else None


def counted(wanted: Wanted, *, most: int) -> int:
    """How many there are, or `most` where there are at least so many."""
    if not wanted.document:
        sql = "SELECT count(*) FROM (SELECT FROM email_logs_emaillogentry WHERE {condition} LIMIT {0}) AS counted"
        return int(_rows(wanted, sql, most)[0][0])
    hits, last = _nearest(wanted, most)
    if last is None:
        return len(hits)
    rows = _walk(wanted, last, _COUNT, 0, most - len(hits))
    return len(hits) + int(rows[0][0])


def everything(wanted: Wanted, columns: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The statement of all entries that are wanted, in order, and its values."""
    words = " AND document @@ %(document)s::tsquery" if wanted.document else ""
    selected = ", ".join(f'"{column}"' for column in columns)
    rows = f"email_logs_emaillogentry WHERE {wanted.condition}{words}"
    return f"SELECT {selected} FROM {rows} ORDER BY {wanted.order}", wanted.values  # noqa: S608 - names of columns


def _rows(wanted: Wanted, sql: str, *numbers: int, **values: Any) -> list[tuple[Any, ...]]:
    with database.cursor() as cursor:
        text = sql.format(
            *map(int, numbers), condition=wanted.condition, order=wanted.order, backwards=wanted.backwards
        )
        cursor.execute(text, {**wanted.values, **values})
        return list(cursor.fetchall())


# --- what a filter leaves -----------------------------------------------------------------------------------------

_NEAREST = """
    WITH nearest AS MATERIALIZED (
        SELECT sent_at, id, document, row_number() OVER () AS number
        FROM (SELECT * FROM email_logs_emaillogentry WHERE {condition} ORDER BY {order} LIMIT {0}) AS looked
    )
    (SELECT sent_at, id, number FROM nearest WHERE document @@ %(document)s::tsquery ORDER BY number LIMIT {1})
    UNION ALL
    (SELECT sent_at, id, -number FROM nearest ORDER BY number DESC LIMIT 1)
"""
"""The hits, and with a number below zero the last that was looked at."""
# The lateral queries keep the planner to the walk: OFFSET 0 is a fence, so that no period is read before it is needed
# and the entry is asked only about what the index found.
_WALK = """
    SELECT hit.sent_at, hit.id
    FROM unnest(%(keys)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
        AS period (key, start, finish)
    CROSS JOIN LATERAL (
        SELECT sent_at, id
        FROM (
            SELECT table_id, sent_at, id FROM email_logs_emaillogentry
            WHERE email_logs_periods(table_id, sent_at) @> ARRAY[period.key] AND document @@ %(document)s::tsquery
            OFFSET 0
        ) AS found
        WHERE {condition} AND sent_at >= period.start AND sent_at < period.finish
        ORDER BY {order} LIMIT {1}
    ) AS hit
    OFFSET {0} LIMIT {1} - {0}
"""
_COUNT = f"SELECT count(*) FROM ({_WALK}) AS counted"  # noqa: S608 - put together from constants
_FURTHEST = """
    SELECT sent_at FROM email_logs_emaillogentry WHERE {condition} ORDER BY {backwards} LIMIT 1
"""


def _nearest(wanted: Wanted, count: int) -> tuple[list[Place], Place | None]:
    """Up to `count` hits among the nearest entries, and the last that was looked at; None where the hits are enough or
    there are no further entries."""
    rows = _rows(wanted, _NEAREST, RECENT, count)
    hits = [Place(at, pk) for at, pk, number in rows if number > 0]
    further = [Place(at, pk) for at, pk, number in rows if number == -RECENT]
    return hits, further[0] if further and len(hits) < count else None


def _walk(wanted: Wanted, last: Place, sql: str, start: int, end: int) -> list[tuple[Any, ...]]:
    """Hits from the place on where looking at single entries stopped."""
    wanted, begin = replace(wanted, after=last), last.sent_at
    found = _rows(wanted, _FURTHEST)
    stretches = list(periods.walk(wanted.table_id, begin, found[0][0] if found else begin))
    bounds = {
        "keys": [period.key for period in stretches],
        "starts": [period.start for period in stretches],
        "ends": [period.end for period in stretches],
    }
    return _rows(wanted, sql, start, end, **bounds)
