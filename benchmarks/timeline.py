"""Row `timeline`: an entity's timeline over 10,000 and over 1,000,000 messages, beside a colleague's shared copies.

Timed is what the database is asked for a page (`services.timelines` and `timeline_items`), statement by statement, as
the goal says: p95 under 20 ms over 1,000,000 messages, also where one address is in 200,000 threads, and far down.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from django.db import connection as database

from benchmarks import mailbox, plans
from benchmarks.mailbox import Mailbox
from benchmarks.measuring import Report, percentile, say
from core.api.pagination import PageQuery, encode_cursor
from email_sync.services import timeline_items, timelines
from entities.models import AddressMatch, DomainMatch
from integrations.models import Connection, Visibility
from workspaces.models import Role
from workspaces.services import members

PAGES, WARM = 100, 10
LIMIT = 50
DEEP = 10_000
GOAL_MS = 20
BLOCKS_OF_A_PAGE = 6_000
"""Some dozen an item, as each is joined with its copies; it does not follow the size of the mailbox."""

_FIGURES = """
    UPDATE email_sync_thread AS thread SET shown_count = shown.messages, shown_at = shown.latest
    FROM (SELECT thread_id, count(*) AS messages, max(received_at) AS latest FROM email_sync_message
          WHERE connection_id = %(connection)s AND NOT (in_drafts OR in_trash OR in_spam) GROUP BY thread_id) AS shown
    WHERE shown.thread_id = thread.id
"""
_PEOPLE = """
    INSERT INTO email_sync_threadparticipant (thread_id, connection_id, address_key, domain, shown_at)
    SELECT DISTINCT message.thread_id, message.connection_id, message.from_email,
           split_part(message.from_email, '@', 2), thread.shown_at
    FROM email_sync_message AS message JOIN email_sync_thread AS thread ON thread.id = message.thread_id
    WHERE message.connection_id = %(connection)s AND thread.shown_at IS NOT NULL
    UNION ALL
    SELECT id, connection_id, 'busy@busy.example', 'busy.example', shown_at FROM email_sync_thread
    WHERE connection_id = %(connection)s AND shown_at IS NOT NULL AND hashtext(id::text) %% 5 > -3
"""
_COPIES = """
    CREATE TEMP TABLE copied ON COMMIT DROP AS
    SELECT id, gen_random_uuid() AS copy FROM email_sync_thread
    WHERE connection_id = %(connection)s ORDER BY last_message_at DESC LIMIT %(threads)s;
    INSERT INTO email_sync_thread (id, connection_id, remote_id, subject, message_count, unread_count, last_message_at)
    SELECT copied.copy, %(colleague)s, '', subject, message_count, 0, last_message_at
    FROM copied JOIN email_sync_thread USING (id);
    INSERT INTO email_sync_message (
        id, connection_id, thread_id, remote_id, stream, content_key, folder_ids, in_inbox, in_sent, in_archive,
        in_drafts, in_trash, in_spam, is_read, is_starred, message_id, fingerprint, subject, from_name, from_email,
        recipients, snippet, sent_at, received_at, size, has_attachments, defect, removed_cause, updated_at,
        body_withheld)
    SELECT gen_random_uuid(), %(colleague)s, copied.copy, remote_id, stream, content_key, folder_ids, in_inbox, in_sent,
        in_archive, in_drafts, in_trash, in_spam, is_read, is_starred, message_id, fingerprint, subject, from_name,
        from_email, recipients, snippet, sent_at, received_at, size, has_attachments, defect, removed_cause, updated_at,
        body_withheld
    FROM copied JOIN email_sync_message AS message ON message.thread_id = copied.id;
"""
ENTITIES: dict[str, dict[str, list[str]]] = {
    "a contact": {"addresses": ["person7@org7.example"]},
    "a contact with 97 addresses": {"addresses": [f"person7@org{n}.example" for n in range(97)]},
    "an address in most threads": {"addresses": ["busy@busy.example"]},
    "a company": {"domains": ["org5.example"]},
}

LONG = ("an address in most threads", "a company")


def measure(options: argparse.Namespace, folder: Path, report: Report) -> None:
    """The row. AssertionError where a page reads more than its cost class allows."""
    sizes = (10_000, 50_000) if options.small else (10_000, 1_000_000)
    small, large = (_mailbox(size) for size in sizes)
    for name, entity in ENTITIES.items():
        for box in (small, large):
            _match(box, name, entity)
        _time(report, f"{name}, first page", small, large, name, deep=False, explain=options.explain)
        if name in LONG:
            _time(report, f"{name}, far down by cursor", small, large, name, deep=True, explain=options.explain)


def _mailbox(size: int) -> Mailbox:
    """A mailbox, and a colleague's that shows all, with copies of a tenth of it."""
    box = mailbox.make(size, searchable=False)
    owner = box.connection.user
    colleague = members.add(
        by=owner, workspace=box.connection.workspace, email=f"colleague-{size}@bench.example", role=Role.MEMBER
    )
    shared = Connection.objects.create(
        workspace=box.connection.workspace, user=colleague.user, provider="imap", account_id=f"colleague-{size}",
        account_email=f"colleague-{size}@bench.example", visibility=Visibility.FULL,
    )  # fmt: skip
    say(f"people of {size:,} messages and a colleague's copies")
    with database.cursor() as cursor:
        values = {"connection": box.connection.pk, "colleague": shared.pk, "threads": size // 30}
        for statement in _COPIES.split(";\n"):
            if statement.strip():
                cursor.execute(statement.replace("ON COMMIT DROP ", ""), values)
        cursor.execute("DROP TABLE copied")
        for connection_id in (box.connection.pk, shared.pk):
            cursor.execute(_FIGURES, {"connection": connection_id})
            cursor.execute(_PEOPLE, {"connection": connection_id})
        for table in ("message", "thread", "threadparticipant"):
            cursor.execute(f"VACUUM (ANALYZE) email_sync_{table}")
    return box


def _match(box: Mailbox, name: str, entity: dict[str, list[str]]) -> None:
    common: dict[str, Any] = {"workspace": box.connection.workspace, "entity_type": "bench", "entity_id": name}
    AddressMatch.objects.bulk_create(
        AddressMatch(address=key, address_key=key, **common) for key in entity.get("addresses", ())
    )
    DomainMatch.objects.bulk_create(DomainMatch(domain=domain, **common) for domain in entity.get("domains", ()))


def _time(report: Report, title: str, small: Mailbox, large: Mailbox, name: str, *, deep: bool, explain: bool) -> None:
    found = []
    for box in (small, large):
        page = partial(_page, box, name, _query(box, name, deep=deep))
        if explain and box is large:
            _explain(page)
        samples = [_in_database(page) for _ in range(WARM + PAGES)][WARM:]
        note = f"goal {GOAL_MS} ms"
        report.add(f"{title}, {box.size:,}: p50", "ms", percentile(samples, 0.5))
        found.append(report.add(f"{title}, {box.size:,}: p95", "ms", percentile(samples, 0.95), note))
    report.ratio(f"{title}: large ÷ small, p95", found[1], found[0])
    blocks = _blocks(partial(_page, large, name, _query(large, name, deep=deep)))
    report.add(f"{title}: blocks read", "", blocks, f"at {large.size:,}; at most {BLOCKS_OF_A_PAGE:,}")
    assert blocks <= BLOCKS_OF_A_PAGE, f"{title}: {blocks} blocks at {large.size:,}"


def _query(box: Mailbox, name: str, *, deep: bool) -> PageQuery:
    return PageQuery(limit=LIMIT, cursor=_deep_cursor(box, name) if deep else "")


def _page(box: Mailbox, name: str, paging: PageQuery) -> int:
    page, of = timelines.timeline(
        user=box.connection.user, workspace=box.connection.workspace, entity_type="bench", entity_id=name, paging=paging
    )
    return len(timeline_items.items(page.rows, of.seen))


def _deep_cursor(box: Mailbox, name: str) -> str:
    of = timelines.open_timeline(
        user=box.connection.user, workspace=box.connection.workspace, entity_type="bench", entity_id=name
    )
    found = timelines.candidates(of, None, DEEP)
    at, thread_id = found[len(found) * 9 // 10].place
    return encode_cursor([at.isoformat(), str(thread_id)])


def _in_database(work: Callable[[], int]) -> float:
    """What the statements of one page took together, seen from here, in milliseconds."""
    spent = 0.0

    def clock(execute: Callable[..., object], sql: str, values: Any, many: bool, context: object) -> object:
        nonlocal spent
        began = time.perf_counter()
        try:
            return execute(sql, values, many, context)
        finally:
            spent += (time.perf_counter() - began) * 1000

    with database.execute_wrapper(clock):
        shown = work()
    assert shown > 0
    return spent


def _blocks(work: Callable[[], object]) -> int:
    """How many blocks the statements of one page read."""
    total = 0
    for statement in plans.recorded(work):
        with database.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.sql}", statement.values)
            [answer] = cursor.fetchone() or [None]
        [found] = json.loads(answer) if isinstance(answer, str) else answer
        total += found["Plan"]["Shared Hit Blocks"] + found["Plan"]["Shared Read Blocks"]
    return total


def _explain(work: Callable[[], object]) -> None:
    for statement in plans.recorded(work):
        with database.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {statement.sql}", statement.values)
            lines = [line for (line,) in cursor.fetchall()]
        print(f"\n  {' '.join(statement.sql.split())[:100]} …\n    " + "\n    ".join(lines))
