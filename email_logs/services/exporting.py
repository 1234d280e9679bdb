"""A log table as a file, however many rows it has, streamed while it is made (`email_logs.files`).

Called by the API and, for what is small, by the console; `exports` makes a file in the background. Promised: memory
does not follow the rows (a server-side cursor); all rows are of one moment; an export that breaks off does not look
complete; and one whose reader sleeps holds neither a snapshot nor a place for long.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, NoReturn

from django.db import connection as database
from django.db import transaction
from django.utils import timezone

from core.errors import InvalidInput, ServiceBusy
from email_logs.columns import STORED, cells
from email_logs.files import FORMATS, Cells, Format, Writer
from email_logs.models import EmailLogTable
from email_logs.services import searching
from email_logs.services.reading import Filters, wanted_of
from email_logs.services.searching import Wanted
from email_logs.services.visibility import Sight, sight
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User

CHUNK = 2_000
"""Rows fetched and written at once."""
AT_ONCE = 4
"""Exports under way in all processes: each holds a connection to the database as long as its reader takes."""
LOCKS = 0x456C6F67
"""The class of the advisory locks that are their places."""
IDLE_SECONDS = 60
"""A reader that takes nothing for so long has lost its export."""
Rows = Generator[Sequence[Cells], None, None]
"""In chunks."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A file on its way."""

    file_name: str
    content_type: str
    chunks: Iterator[bytes]
    size: int | None = None
    """Bytes, where it is known before it is streamed."""

    @property
    def headers(self) -> dict[str, str]:
        """For whoever answers with it."""
        length = {} if self.size is None else {"Content-Length": str(self.size)}
        name = f'attachment; filename="{self.file_name}"'
        return {"Content-Disposition": name, "Cache-Control": "private, no-store", **length}


def export(*, table: EmailLogTable, by: User, filters: Filters, oldest_first: bool, format: str) -> Exported:
    """The rows that `by` sees. InvalidInput for a q that makes no sense or more rows than the format holds, ServiceBusy
    where too many exports are under way. The audit row is there before the first byte."""
    kind = FORMATS[format]
    seen = sight(table=table, user=by)
    wanted = wanted_of(table, seen, filters, oldest_first=oldest_first)
    count_rows(kind, wanted)
    rows = _begun(_rows(table, seen, wanted))
    audit.record(
        by=by, workspace=table.workspace, action="email_log.exported", target=table,
        changes={"format": format, **filters.told},
    )  # fmt: skip
    return Exported(file_name(table, timezone.now(), format), kind.content_type, _pieces(kind.writer({}), rows))


def count_rows(kind: Format, wanted: Wanted | None) -> int | None:
    """How many rows there are, where this kind of file does not hold any number; InvalidInput where it is too many."""
    if not kind.most_rows:
        return None
    count = searching.counted(wanted, most=kind.most_rows + 1) if wanted is not None else 0
    if count > kind.most_rows:
        refuse_rows(kind.most_rows)
    return count


def refuse_rows(most: int) -> NoReturn:
    """Raise InvalidInput: there are more rows than this kind of file holds."""
    words = f"A sheet holds {most:,} rows and this is more: narrow it by from and to, or take csv."
    raise InvalidInput(words, fields={"format": [words]})


def file_name(table: EmailLogTable, day: date, format: str) -> str:
    """What a file of this log is called."""
    return f"email-log-{table.provider}-{day:%Y-%m-%d}.{format}"


def _pieces(writer: Writer, rows: Rows) -> Iterator[bytes]:
    with closing(rows):
        yield writer.begin()
        for chunk in rows:
            yield writer.rows(chunk)
        if end := writer.end():
            yield end


# --- rows ---------------------------------------------------------------------------------------------------------


def _begun(rows: Rows) -> Rows:
    """What is refused is refused now, while the answer can still say so."""
    next(rows, None)
    return rows


def _rows(table: EmailLogTable, seen: Sight, wanted: Wanted | None) -> Rows:
    """All that is wanted, of one moment. The first chunk is empty: the export has begun."""
    if wanted is None:
        return
    sql, values = searching.everything(wanted, (*STORED, "connection_id"))
    with transaction.atomic():
        _take_a_place()
        with database.chunked_cursor() as cursor:
            cursor.execute(sql, values)
            yield []
            while found := cursor.fetchmany(CHUNK):
                yield [
                    cells(dict(zip(STORED, stored, strict=True)), table.provider, whole=seen.is_whole(mailbox))
                    for *stored, mailbox in found
                ]


def _take_a_place() -> None:
    """Until the transaction ends; PostgreSQL ends it where the reader sleeps."""
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT place FROM generate_series(1, %s) AS place WHERE pg_try_advisory_xact_lock(%s, place) LIMIT 1",
            [AT_ONCE, LOCKS],
        )
        if cursor.fetchone() is None:
            raise ServiceBusy("Other exports are under way. Try again in a moment.")
        cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
