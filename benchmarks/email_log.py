"""Row `email_log`: pages of a log table of 10,000,000 rows (`--full`; else 200,000), beside the same of 10,000 and
`.values()[:50]`; how fast rows come in with and without the word index; the export of 200,000 rows.

Timed is what the database is asked for a page (`services.reading`), statement by statement. Loaded by COPY.
"""

from __future__ import annotations

import argparse
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from django.db import connection as database

from benchmarks.corpus import vocabulary, words
from benchmarks.measuring import Figure, Report, StatementClock, percentile, say, seconds
from core.api.pagination import PageQuery
from email_logs.files import FORMATS
from email_logs.models import EmailLogEntry, EmailLogTable
from email_logs.services import exporting, tables
from email_logs.services.exporting import Filters
from email_logs.services.reading import RowsQuery, listed
from email_logs.sources import SOURCES
from integrations.models import Integration
from workspaces.models import User
from workspaces.services import members

PAGES, WARM, LIMIT = 40, 5, 50
DAYS = 730
INSERTED = 20_000
EXPORTED = 200_000
ROWS_AT_ONCE = 5_000
RARE = "zirconium"
INDEX = "emaillogentry_words"
COLUMNS = (
    'id, workspace_id, table_id, sent_at, "to", cc, bcc, sender, subject, state, state_at, message_id, template_id, '
    "source, error, attachments"
)


def measure(options: argparse.Namespace, folder: Path, report: Report) -> None:
    """The row."""
    sizes = (10_000, 200_000) if options.small else (10_000, 10_000_000)
    _time_inserts(report)
    (small, user), (large, owner) = (_table(size) for size in sizes)
    plain = _times(lambda: list(EmailLogEntry.objects.filter(table=large).order_by("-sent_at", "-id").values()[:LIMIT]))
    baseline = report.add(f".values()[:{LIMIT}] of {sizes[1]:,}: p50", "ms", percentile(plain, 0.5))
    for title, filters, page in asked():
        found = []
        for size, table, reader in ((sizes[0], small, user), (sizes[1], large, owner)):
            number = min(page, size // LIMIT - 1)
            query = RowsQuery(filters=filters, paging=PageQuery(page=number, limit=LIMIT))
            samples = _times(partial(listed, table=table, user=reader, query=query))
            found.append(report.add(f"{title}, {size:,}: p50", "ms", percentile(samples, 0.5)))
        report.ratio(f"{title}: large ÷ small", found[1], found[0])
        report.ratio(f"{title}: ÷ .values()", found[1], baseline)
    _time_exports(report, large, owner)


def asked() -> list[tuple[str, Filters, int]]:
    """Name, filters and page of each list."""
    common, medium = vocabulary()[5], vocabulary()[1_500]
    return [
        ("page 1", Filters(), 1),
        ("page 1000", Filters(), 1_000),
        ("failed", Filters(status="failed"), 1),
        ("rare source", Filters(source=SOURCES[-1]), 1),
        ("rare state", Filters(state="complained"), 1),
        ("common word", Filters(q=common), 1),
        ("medium word", Filters(q=medium), 1),
        ("rare word", Filters(q=RARE), 1),
        ("absent word", Filters(q="zzzabsent"), 1),
        ("address", Filters(q="person77@org7.example"), 1),
        ("common word of a rare source", Filters(q=common, source=SOURCES[-1]), 1),
    ]


def _times(work: Callable[[], object]) -> list[float]:
    """Milliseconds of the database."""
    found = []
    for _ in range(WARM + PAGES):
        with StatementClock() as clock:
            work()
        found.append(clock.milliseconds)
    return found[WARM:]


# --- rows ---------------------------------------------------------------------------------------------------------


def _empty() -> tuple[EmailLogTable, User]:
    address = f"log-{time.time_ns()}@bench.example"
    owner = members.create_workspace(
        by=None, name="Bench", owner_email=address, owner_password="a password nobody types"
    )
    provider = Integration.objects.create(workspace=owner.workspace, name="Bench", type="EMAIL_PROVIDER")
    return tables.of_integration(provider), owner.user


def _table(size: int) -> tuple[EmailLogTable, User]:
    table, user = _empty()
    took = seconds(lambda: _copy(table, size))
    say(f"{size:,} rows in {took:.0f} s")
    with database.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE) email_logs_emaillogentry")
    return table, user


def _copy(table: EmailLogTable, size: int) -> None:
    lines = _lines(table, size)
    with database.cursor() as cursor, cursor.copy(f"COPY email_logs_emaillogentry ({COLUMNS}) FROM STDIN") as door:
        while chunk := list(islice(lines, ROWS_AT_ONCE)):
            door.write("".join(chunk))


def _lines(table: EmailLogTable, size: int) -> Iterator[str]:
    """Oldest first, evenly over two years; each hundredth bounced, each next one failed."""
    chance = random.Random("email log")
    subjects = [" ".join(words(chance, 7)) for _ in range(5_000)]
    span, end = DAYS * 86_400_000, time.time_ns() // 1_000_000
    tail = table.pk.hex[-4:]
    for n in range(size):
        moment = end - span + span * n // size
        mixed = n * 2_654_435_761 & 0xFFFFFFFF
        state = {0: "bounced", 1: "failed"}.get(n % 100, "complained" if n % 2_000 == 7 else "delivered")
        source = SOURCES[-1] if n % 1_000 == 5 else SOURCES[mixed % 7]
        subject = subjects[mixed % 5_000] + (f" {RARE}" if n % 5_003 == 3 else "")
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment // 1000)) + f".{moment % 1000:03}+00"
        message = f"{mixed:08x}-{n & 0xFFFF:04x}-4{mixed & 0xFFF:03x}-8{n >> 4 & 0xFFF:03x}-{mixed ^ 0xFFFFFF:012x}"
        to = f"person{mixed % 50_021}@org{n % 97}.example"
        yield (
            f"{moment:012x}7000{tail}{n:012x}\t{table.workspace_id}\t{table.pk}\t{at}\t{to}\t\t\tnoreply@bench.example\t"
            f"{subject}\t{state}\t{at}\t{message}\t\t{source}\t\t0\n"
        )


def _time_inserts(report: Report) -> None:
    """COPY into an empty table, with the word index and without."""
    found: list[Figure] = []
    for name, without in (("without the word index", True), ("with it", False)):
        table, _ = _empty()
        with database.cursor() as cursor:
            cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [INDEX])
            [(definition,)] = cursor.fetchall()
            if without:
                cursor.execute(f"DROP INDEX {INDEX}")
            rate = INSERTED / seconds(partial(_copy, table, INSERTED))
            if without:
                cursor.execute(definition)
        found.append(report.add(f"rows coming in, {name}", "/s", rate, "COPY"))
        EmailLogEntry.objects.filter(table=table).delete()
    report.ratio("rows coming in: with ÷ without", found[1], found[0])


# --- exports ------------------------------------------------------------------------------------------------------


def _time_exports(report: Report, table: EmailLogTable, user: User) -> None:
    """The newest EXPORTED rows, and the most memory that Python had for them."""
    since = _since(table)
    for format in FORMATS:
        given: dict[str, Any] = {"table": table, "by": user, "filters": Filters(since=since), "oldest_first": False}
        took = seconds(lambda: _drain(format, given))  # noqa: B023 - called at once
        tracemalloc.start()
        size = _drain(format, given)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        report.add(f"export of {EXPORTED:,} rows, {format}", "s", took, f"{size / 1e6:.0f} MB")
        report.add(f"export of {EXPORTED:,} rows, {format}: most memory", "MB", peak / 1e6)


def _drain(format: str, given: dict[str, Any]) -> int:
    return sum(map(len, exporting.export(format=format, **given).chunks))


def _since(table: EmailLogTable) -> Any:
    newest = EmailLogEntry.objects.filter(table=table).order_by("-sent_at").values_list("sent_at", flat=True)
    return newest[EXPORTED - 1]
