"""Row `console`: the console's first page and the first page of a log, of 10,000,000 logged mails (`--full`; else
200,000), beside the same of 10,000; then the address book and what is to be decided in it, of 1,000,000 matches (else
20,000), sorted, searched and narrowed. Whole requests in this process, from the session to the last byte of HTML.

Rows are made by the server itself, with the counts by day that the product keeps; without the word index, which is of
no use to either page. Their statements are explained: none may read more of a table than it counts a list.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from django.db import connection as database
from django.test import Client

from benchmarks.measuring import Report, StatementClock, percentile, say, seconds
from benchmarks.plans import explained, nodes, recorded
from core.ids import uuid7
from email_logs.models import EmailLogTable
from email_logs.services import tables
from email_logs.sources import SOURCES
from integrations.models import Connection, Integration, SyncRun, SyncState
from workspaces.models import User
from workspaces.services import members

REQUESTS, WARM = 40, 5
GOAL_MILLISECONDS = 300
DAYS = 730
CONNECTIONS = 50
MOST_ROWS = 10_001
"""Of a big table, in any node of a plan: how far a list is counted; the first page reads 200."""
LOG = "email_logs_emaillogentry"
BIG = (LOG, "entities_addressmatch")
WORD_INDEX = "emaillogentry_words"

FILL = """
INSERT INTO email_logs_emaillogentry
    (id, workspace_id, table_id, sent_at, "to", cc, bcc, sender, subject, state, state_at, message_id, template_id,
     source, error, attachments)
SELECT (
        lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7000' || %(tail)s || lpad(to_hex(n), 12, '0')
    )::uuid, %(workspace)s, %(table)s, at, 'person' || n %% 50021 || '@org' || n %% 97 || '.example', '',
    '', 'noreply@bench.example', 'Your order ' || n, state, at, 'm' || n, '', (%(sources)s::text[])[1 + n %% %(count)s],
    CASE WHEN state IN ('bounced', 'failed') THEN '550 5.1.1 <person' || n || '@org.example>: unknown' ELSE '' END, 0
FROM (
    SELECT n, now() - interval '1 day' * (%(days)s::float * (%(size)s - n) / %(size)s) AS at,
        CASE n %% 100 WHEN 0 THEN 'bounced' WHEN 1 THEN 'failed' ELSE 'delivered' END AS state
    FROM generate_series(1, %(size)s) AS n
) AS made
"""
COUNT = """
INSERT INTO email_logs_emaillogday (table_id, day, state, count)
SELECT table_id, (sent_at AT TIME ZONE 'UTC')::date, state, count(*) FROM email_logs_emaillogentry
WHERE table_id = %s GROUP BY 1, 2, 3
"""
MATCH = """
INSERT INTO entities_addressmatch
    (id, workspace_id, entity_type, entity_id, address, address_key, created_at, source, source_id)
SELECT (lpad(to_hex(n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid, %(workspace)s, 'contact', n::text,
    address, address, now(), CASE WHEN by_hand THEN '' ELSE 'sync' END, CASE WHEN NOT by_hand THEN %(source)s::uuid END
FROM (
    SELECT n, 'person' || n %% (%(size)s * 98 / 100) || '@match.example' AS address, n %% 1000 = 0 AS by_hand
    FROM generate_series(1, %(size)s) AS n
) AS made
"""
"""Two in a hundred addresses are somebody else's too, one in a thousand was linked by hand; the triggers that keep
`shared` run as they do for a CRM."""
BOOK = {
    "address book": "", "from its end": "o=-0", "found often": "q=person1", "found once": "q=person1234@match",
    "found never": "q=nobody", "of an entity": "q=contact+4321", "by hand": "source=manual",
    "to decide": "confidence=asked", "to decide, found": "confidence=asked&q=person1",
}  # fmt: skip
"""Page → how it is asked for."""


def measure(options: argparse.Namespace, folder: Path, report: Report) -> None:
    """The row."""
    sizes = (10_000, 200_000) if options.small else (10_000, 10_000_000)
    for size in sizes:
        browser, table = _workspace(size)
        log = f"/admin/email_logs/emaillogentry/?log={table.pk}"
        pages = {"first page": "/admin/", "its middle": "/admin/overview", "log": log}
        _pages(browser, {f"{name}, {size:,}": address for name, address in pages.items()}, options, report)
    matches = 20_000 if options.small else 1_000_000
    took = seconds(lambda: _match(table.workspace_id, matches))
    say(f"{matches:,} matches in {took:.0f} s")
    book = {f"{name}, {matches:,}": f"/admin/entities/addressmatch/?{query}" for name, query in BOOK.items()}
    _pages(browser, book, options, report)


def _pages(browser: Client, pages: dict[str, str], options: argparse.Namespace, report: Report) -> None:
    for name, address in pages.items():
        statements = recorded(lambda: browser.get(address))  # noqa: B023 - called at once
        for statement in statements:
            _hold(explained(statement), statement, show=options.explain)
        report.add(f"{name}: statements", "", len(statements))
        whole, asked, busy = _times(browser, address)
        figure = report.add(f"{name}: p95", "ms", percentile(whole, 0.95))
        report.add(f"{name}: of it the database, p50", "ms", percentile(asked, 0.5))
        report.add(f"{name}: of it this process's processor, p50", "ms", percentile(busy, 0.5))
        report.within(f"{name}: share of its goal", figure, GOAL_MILLISECONDS)


def _times(browser: Client, address: str) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds of whole requests, of their statements, and of the processor, which a busy machine spoils least."""
    whole, asked, busy = [], [], []
    for _ in range(WARM + REQUESTS):
        began = time.process_time()
        with StatementClock() as clock:
            whole.append(seconds(lambda: browser.get(address)) * 1000)
        asked.append(clock.milliseconds)
        busy.append((time.process_time() - began) * 1000)
    return whole[WARM:], asked[WARM:], busy[WARM:]


def _hold(plan: dict[str, Any], statement: Any, *, show: bool) -> None:
    for node in nodes(plan):
        if show:
            rows = node["Actual Rows"] * node["Actual Loops"]
            read = " ".join(str(node.get(name, "")) for name in ("Node Type", "Relation Name", "Index Name"))
            print(f"    {read}: {rows:,.0f} rows")
        if node.get("Relation Name") in BIG:
            read = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            assert read <= MOST_ROWS, f"too much is read: {statement.sql}"


# --- rows ---------------------------------------------------------------------------------------------------------


def _workspace(size: int) -> tuple[Client, EmailLogTable]:
    """A workspace with so many logged mails, and its owner's browser."""
    owner = members.create_workspace(
        by=None, name="Bench", owner_email=f"console-{time.time_ns()}@bench.example", owner_password="typed by nobody"
    )
    provider = Integration.objects.create(workspace=owner.workspace, name="Bench", type="EMAIL_PROVIDER")
    table = tables.of_integration(provider)
    _connect(owner.user, owner.workspace)
    took = seconds(lambda: _fill(table, size))
    say(f"{size:,} mails in {took:.0f} s")
    browser = Client(headers={"host": "127.0.0.1"})
    browser.force_login(owner.user, backend="django.contrib.auth.backends.ModelBackend")
    return browser, table


def _connect(user: User, workspace: Any) -> None:
    rows = [
        Connection(
            workspace=workspace, user=user, provider="imap", account_id=f"{n}@bench.example",
            account_email=f"{n}@bench.example", needs_reauth=n % 10 == 0, last_error_code="" if n % 7 else "refused",
        )
        for n in range(CONNECTIONS)
    ]  # fmt: skip
    Connection.objects.bulk_create(rows)
    SyncState.objects.bulk_create([SyncState(connection=row, type="email", coverage_remote=9) for row in rows])
    SyncRun.objects.bulk_create([SyncRun(id=uuid7(), connection=row, type="email", total=100) for row in rows])


def _fill(table: EmailLogTable, size: int) -> None:
    with database.cursor() as cursor:
        cursor.execute(f"DROP INDEX IF EXISTS {WORD_INDEX}")
        cursor.execute(FILL, _values(table, size))
        cursor.execute(COUNT, [table.pk])
        cursor.execute("VACUUM (ANALYZE) email_logs_emaillogentry")
        cursor.execute("VACUUM (ANALYZE) email_logs_emaillogday")


def _match(workspace_id: object, size: int) -> None:
    with database.cursor() as cursor:
        cursor.execute(MATCH, {"workspace": workspace_id, "size": size, "source": uuid7()})
        cursor.execute("VACUUM (ANALYZE) entities_addressmatch")


def _values(table: EmailLogTable, size: int) -> dict[str, Any]:
    named = {"workspace": table.workspace_id, "table": table.pk, "tail": table.pk.hex[-4:]}
    return {**named, "sources": list(SOURCES), "count": len(SOURCES), "days": DAYS, "size": size}
