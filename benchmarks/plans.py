"""The plans of the inbox's queries, held to their cost class. Called by `inbox`.

The queries are those the product sends: recorded while `services.reading` works, then explained with the same values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection as database

from benchmarks.mailbox import Mailbox
from benchmarks.measuring import Report
from core.api.pagination import PageQuery, encode_cursor
from email_sync.models import Message
from email_sync.services.reading import InboxQuery, inbox

LIMIT = 50
DEEP = 1_000
LARGE_TABLES = ("email_sync_message", "email_sync_thread", "email_sync_messagesearch")
ROWS_OF_A_PAGE = 4 * LIMIT
"""No node of a page's plan may bring more rows than this."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A statement and its values."""

    sql: str
    values: Any


def check(report: Report, small: Mailbox, large: Mailbox, *, explain: bool) -> None:
    """Report what a page reads at both sizes. AssertionError where it depends on the mailbox's size."""
    for name, wanted in (("inbox page", _first), ("page by cursor", _deep), ("unread page", _unread)):
        blocks = [_blocks(box, wanted(box), explain=explain) for box in (small, large)]
        note = f"{blocks[0]} at {small.size:,}; no table scan, no sort over the mailbox"
        report.add(f"{name}: blocks read", "", blocks[1], note)
        assert blocks[1] <= 2 * blocks[0] + LIMIT, f"{name}: {blocks[1]} blocks at {large.size:,}, {note}"


def _first(box: Mailbox) -> InboxQuery:
    return InboxQuery(paging=PageQuery(limit=LIMIT))


def _deep(box: Mailbox) -> InboxQuery:
    return InboxQuery(paging=PageQuery(limit=LIMIT, cursor=deep_cursor(box)))


def _unread(box: Mailbox) -> InboxQuery:
    return InboxQuery(paging=PageQuery(limit=LIMIT), unread=True)


def deep_cursor(box: Mailbox) -> str:
    """The cursor that the page before page DEEP hands out; in a smaller inbox the middle's."""
    inbox = Message.objects.filter(connection=box.connection, in_inbox=True)
    place = min((DEEP - 1) * LIMIT, inbox.count() // 2)
    last = inbox.order_by("-received_at", "-id").values("received_at", "id")[place - 1]
    return encode_cursor([last["received_at"].isoformat(), str(last["id"])])


def _blocks(box: Mailbox, wanted: InboxQuery, *, explain: bool) -> int:
    own = {"user": box.connection.user, "workspace": box.connection.workspace}
    total = 0
    for statement in recorded(lambda: inbox(query=wanted, **own)):
        plan = explained(statement)
        _hold(plan, statement)
        total += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        if explain:
            show(statement, f"at {box.size:,}")
    return total


def recorded(work: Callable[[], object]) -> list[Recorded]:
    """What `work` asks the database."""
    found: list[Recorded] = []

    def note(execute: Callable[..., object], sql: str, values: Any, many: bool, context: object) -> object:
        found.append(Recorded(sql, values))
        return execute(sql, values, many, context)

    with database.execute_wrapper(note):
        work()
    return found


def explained(statement: Recorded) -> dict[str, Any]:
    """Its plan, with what it read and how many rows each node brought."""
    with database.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.sql}", statement.values)
        [answer] = cursor.fetchone()
    found = json.loads(answer) if isinstance(answer, str) else answer
    return dict(found[0]["Plan"])


def show(statement: Recorded, note: str) -> None:
    """Print its plan."""
    with database.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {statement.sql}", statement.values)
        lines = [line for (line,) in cursor.fetchall()]
    print(f"\n  {note}: {' '.join(statement.sql.split())[:100]} …\n    " + "\n    ".join(lines))


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The plan's own and all below."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def _hold(plan: dict[str, Any], statement: Recorded) -> None:
    for node in nodes(plan):
        rows = node["Actual Rows"] * node["Actual Loops"]
        scanned = node["Node Type"] == "Seq Scan" and node["Relation Name"] in LARGE_TABLES
        assert not scanned, f"a scan over {node['Relation Name']}: {statement.sql}"
        assert rows <= ROWS_OF_A_PAGE, f"{node['Node Type']} brings {rows:,.0f} rows: {statement.sql}"
