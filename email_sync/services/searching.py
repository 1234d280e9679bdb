"""The newest messages that a search finds, mailbox by mailbox. Called by `reading`.

Promised: the cost follows the hits that are shown. The index is asked period by period, newest first (`periods`), until
there are enough; the folder's own page index says which years there are; flags and folder are asked of the message.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection as database
from django.db.models import Q

from email_sync import periods
from email_sync.models import Message
from email_sync.search import FIELDS, Query

RECENT = 2_000
"""Where no whole word must be there, so many of the newest messages are looked at one by one before the index."""
FURTHER = 50_000
"""Where there is nothing for the index, so many are next, and then all."""


@dataclass(frozen=True, slots=True, order=True)
class Hit:
    """A message that was found, as lists sort them."""

    received_at: datetime
    message_id: uuid.UUID


def newest_hits(mailbox: uuid.UUID, query: Query, within: Q, flags: Q, count: int) -> list[Hit]:
    """Up to `count` hits, newest first. `within` is what the folder's page index answers: the folder and bounds of the
    receiving time; `flags` is what else the message must be."""
    wanted = _condition(mailbox, within & flags)
    if not query.begins_with_a_word:
        for only in (RECENT,) if query.has_a_positive_term else (RECENT, FURTHER, None):
            hits = _among_the_newest(wanted, query, count, only)
            if len(hits) == count or only is None:
                return hits
    return _walk(mailbox, _years(_condition(mailbox, within)), wanted, query, count)


@dataclass(frozen=True, slots=True)
class Condition:
    """As SQL, with the values it asks for."""

    sql: str
    values: tuple[Any, ...]


def _condition(mailbox: uuid.UUID, condition: Q) -> Condition:
    rows = Message.objects.filter(condition, connection_id=mailbox).order_by().values("pk")
    sql, values = rows.query.sql_with_params()
    return Condition(sql.partition(" WHERE ")[2], tuple(values))


def said(query: Query) -> Condition:
    """What a query's terms ask of a search row; there is at least one term."""
    words, texts = query.tsquery(), _of_texts(query)
    if not words:
        return texts
    return Condition(" AND ".join(filter(None, ("words @@ %s::tsquery", texts.sql))), (words, *texts.values))


_TEXTS = {"": "text"} | {mark: f"split_part(text, E'\\n', {line})" for line, mark in enumerate(FIELDS, 1)}


def _of_texts(query: Query) -> Condition:
    """What phrases ask beyond their words; "" without any."""
    asked = [f"strpos({_TEXTS[term.field]}, %s) {'=' if term.negated else '>'} 0" for term in query.phrases]
    return Condition(" AND ".join(asked), tuple(term.phrase for term in query.phrases))


def _rows(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    with database.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())


# --- the walk -----------------------------------------------------------------------------------------------------

_YEARS = """
    WITH RECURSIVE newest (moment) AS (
        (SELECT received_at FROM email_sync_message WHERE {condition} ORDER BY received_at DESC LIMIT 1)
        UNION ALL
        SELECT (
            SELECT received_at FROM email_sync_message
            WHERE {condition} AND received_at < date_trunc('year', newest.moment, 'UTC')
            ORDER BY received_at DESC LIMIT 1
        ) FROM newest WHERE newest.moment IS NOT NULL
    )
    SELECT moment FROM newest WHERE moment IS NOT NULL
"""


def _years(within: Condition) -> list[datetime]:
    """The newest moment of every year that has any: a probe of the folder's page index for each."""
    return [moment for (moment,) in _rows(_YEARS.format(condition=within.sql), within.values * 2)]


# The lateral queries keep the planner to the walk: OFFSET 0 is a fence, so that no period is read before it is needed,
# a text only until there are enough hits, and the message is asked only about what the search row has.
_WALK = """
    SELECT hit.received_at, hit.message_id
    FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[]) AS period (key, first, last)
    CROSS JOIN LATERAL (
        SELECT found.received_at, found.message_id
        FROM {found} AS found
        CROSS JOIN LATERAL (SELECT FROM email_sync_message WHERE {condition} AND id = found.message_id OFFSET 0) AS kept
        LIMIT %s
    ) AS hit
    LIMIT %s
"""
_FOUND = """(
            SELECT received_at, message_id, ctid AS place FROM email_sync_messagesearch
            WHERE periods @> ARRAY[period.key] AND words @@ %s::tsquery
              AND received_at >= period.first AND received_at < coalesce(period.last, 'infinity')
            ORDER BY received_at DESC, message_id DESC
            OFFSET 0
        )"""
_FOUND_AND_READ = f"""(
            SELECT named.received_at, named.message_id FROM {_FOUND} AS named
            CROSS JOIN LATERAL (
                SELECT FROM email_sync_messagesearch WHERE ctid = named.place AND {{texts}} OFFSET 0
            ) AS said
            OFFSET 0
        )"""  # noqa: S608 - texts of this module
"""By its place: the row was read a moment ago, in the same statement."""


def _walk(mailbox: uuid.UUID, years: Sequence[datetime], wanted: Condition, query: Query, count: int) -> list[Hit]:
    stretches, texts = list(periods.walk(mailbox, years)), _of_texts(query)
    bounds = [[s.key for s in stretches], [s.start for s in stretches], [s.end for s in stretches]]
    found = _FOUND_AND_READ.format(texts=texts.sql) if texts.sql else _FOUND
    values = [*bounds, query.tsquery(), *texts.values, *wanted.values, count, count]
    return [Hit(*row) for row in _rows(_WALK.format(condition=wanted.sql, found=found), values)]


# --- what the index cannot begin with -----------------------------------------------------------------------------

_AMONG_THE_NEWEST = """
    SELECT newest.received_at, newest.id
    FROM (
        SELECT id, received_at FROM email_sync_message WHERE {condition} ORDER BY received_at DESC, id DESC LIMIT %s
    ) AS newest
    CROSS JOIN LATERAL (
        SELECT FROM email_sync_messagesearch WHERE message_id = newest.id AND {said} OFFSET 0
    ) AS kept
    LIMIT %s
"""


def _among_the_newest(wanted: Condition, query: Query, count: int, only: int | None) -> list[Hit]:
    """Look at messages one by one, the newest first: only so many, or all where that is None. A search for what must
    not be there hits nearly everything; the start of a word may begin half of all words, and the index would fetch the
    hits of each."""
    asked = said(query)
    sql = _AMONG_THE_NEWEST.format(condition=wanted.sql, said=asked.sql)
    return [Hit(*row) for row in _rows(sql, [*wanted.values, only, *asked.values, count])]
