"""A log table as a file, however many rows it has: CSV streamed, XLSX made aside and then streamed.

Called by the API. Promised: memory does not follow the rows (a server-side cursor; XlsxWriter's constant memory); all
rows are of one moment; nothing in a cell is run as a formula by a spreadsheet (OWASP: CSV injection); an export that
breaks off does not look complete; and one whose reader sleeps holds neither a snapshot nor a place for long.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from itertools import chain
from os import SEEK_END
from typing import IO, TYPE_CHECKING, Any

import xlsxwriter
from django.db import connection as database
from django.db import transaction
from django.utils import timezone

from core.api.serializers import wire_time
from core.errors import InvalidInput, ServiceBusy
from email_logs.columns import COLUMNS, STORED, cells
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
FILE_CHUNK = 256 * 1024
AT_ONCE = 4
"""Exports under way in all processes: each holds a connection to the database as long as its reader takes."""
LOCKS = 0x456C6F67
"""The class of the advisory locks that are their places."""
IDLE_SECONDS = 60
"""A reader that takes nothing for so long has lost its export."""
XLSX_ROWS = 1_048_576 - 1
"""Below the row of names."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a cell begins with that a spreadsheet takes for a formula, in full width too."""

Cells = Sequence[Any]
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


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file: `write` makes it of rows, the most it holds."""

    content_type: str
    write: Callable[[Rows], tuple[Iterator[bytes], int | None]]
    most_rows: int | None = None


def export(*, table: EmailLogTable, by: User, filters: Filters, oldest_first: bool, format: str) -> Exported:
    """The rows that `by` sees. InvalidInput for a q that makes no sense or more rows than the format holds, ServiceBusy
    where too many exports are under way. The audit row is there before the first byte."""
    kind = FORMATS[format]
    seen = sight(table=table, user=by)
    wanted = wanted_of(table, seen, filters, oldest_first=oldest_first)
    if wanted is not None and kind.most_rows and searching.counted(wanted, most=kind.most_rows + 1) > kind.most_rows:
        words = f"A sheet holds {kind.most_rows:,} rows and this is more: narrow it by from and to, or take csv."
        raise InvalidInput(fields={"format": [words]})
    rows = _begun(_rows(table, seen, wanted))
    asked = {name: value for name in Filters.__slots__ if (value := getattr(filters, name))}
    audit.record(
        by=by, workspace=table.workspace, action="email_log.exported", target=table, changes={"format": format, **asked}
    )
    chunks, size = kind.write(rows)
    name = f"email-log-{table.provider}-{timezone.now():%Y-%m-%d}.{format}"
    return Exported(name, kind.content_type, chunks, size)


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


# --- CSV ----------------------------------------------------------------------------------------------------------


def _csv(rows: Rows) -> tuple[Iterator[bytes], None]:
    return _csv_chunks(rows), None


def _csv_chunks(rows: Rows) -> Iterator[bytes]:
    """RFC 4180 in UTF-8, with the mark by which spreadsheets know that it is."""
    with closing(rows):
        yield b"\xef\xbb\xbf" + _lines([[column.name for column in COLUMNS]])
        for chunk in rows:
            yield _lines([_safe(cell) for cell in row] for row in chunk)


def _lines(rows: Iterable[Cells]) -> bytes:
    text = StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _safe(cell: Any) -> Any:
    """A text that would be a formula begins with an apostrophe instead."""
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(FORMULA) else cell
    return wire_time(cell) if isinstance(cell, datetime) else cell


# --- XLSX ---------------------------------------------------------------------------------------------------------


def _xlsx(rows: Rows) -> tuple[Iterator[bytes], int]:
    """Written into a file without a name first: a workbook cannot be streamed while it is made."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by whoever reads it
    with closing(rows), tempfile.TemporaryDirectory() as folder:
        book = xlsxwriter.Workbook(file, {"constant_memory": True, "tmpdir": folder, "remove_timezone": True})
        sheet = book.add_worksheet("Email Log")
        sheet.freeze_panes(1, 0)
        sheet.write_row(0, 0, [column.name for column in COLUMNS], book.add_format({"bold": True}))
        moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        text = book.add_format({"quote_prefix": True})
        for number, row in enumerate(chain.from_iterable(rows), start=1):
            _write(sheet, number, row, moment, text)
        book.close()
    size = file.seek(0, SEEK_END)
    file.seek(0)
    return _file_chunks(file), size


def _write(sheet: Any, number: int, row: Cells, moment: Any, text: Any) -> None:
    """Texts as texts, whatever they look like; what would be a formula is marked as text also for whoever edits it."""
    for place, cell in enumerate(row):
        if isinstance(cell, str):
            if cell:
                sheet.write_string(number, place, cell, text if cell.startswith(FORMULA) else None)
        elif isinstance(cell, datetime):
            sheet.write_datetime(number, place, cell, moment)
        elif cell is not None:
            sheet.write_number(number, place, cell)


def _file_chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(FILE_CHUNK):
            yield chunk


FORMATS: Mapping[str, Format] = {
    "csv": Format("text/csv; charset=utf-8", _csv),
    "xlsx": Format("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", _xlsx, XLSX_ROWS),
}
