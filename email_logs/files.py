"""Rows of a log as a file, CSV or XLSX, in pieces: what was written so far is a small `state` to go on with.

Pure; `services.exporting` streams the pieces, `services.exports` stores them. Nothing in a cell is run as a formula by
a spreadsheet (OWASP: CSV injection). An XLSX is a ZIP whose sheet is deflated piece by piece, so that it need not be
made at once: each piece ends on a whole byte and refers to none before it (RFC 1951), only sums and lengths go on.
"""

from __future__ import annotations

import base64
import csv
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO, StringIO
from typing import Any, Protocol
from zipfile import ZIP_DEFLATED, ZipFile

import xlsxwriter

from core.api.serializers import wire_time
from core.errors import TooLarge
from email_logs.columns import COLUMNS

XLSX_ROWS = 1_048_576 - 1
"""Below the row of names."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a cell begins with that a spreadsheet takes for a formula, in full width too."""

Cells = Sequence[Any]


class Writer(Protocol):
    """A file in the making."""

    state: dict[str, Any]
    """What another one of the same kind goes on with; JSON."""

    def begin(self) -> bytes:
        """What comes before the first row: the names of the columns."""

    def rows(self, rows: Iterable[Cells]) -> bytes:
        """The next rows."""

    def end(self) -> bytes:
        """What comes after the last row."""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file, who writes it, and the most rows it holds."""

    content_type: str
    writer: Callable[[Mapping[str, Any]], Writer]
    """Given the state it goes on with; an empty one for a new file."""
    most_rows: int | None = None


# --- CSV ----------------------------------------------------------------------------------------------------------


class CsvFile:
    """RFC 4180 in UTF-8, with the mark by which spreadsheets know that it is."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.state = dict(state)

    def begin(self) -> bytes:
        """The mark and the names."""
        return b"\xef\xbb\xbf" + _lines([[column.name for column in COLUMNS]])

    def rows(self, rows: Iterable[Cells]) -> bytes:
        """A line each, or more where a cell has some."""
        return _lines([_safe(cell) for cell in row] for row in rows)

    def end(self) -> bytes:
        """Nothing."""
        return b""


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

SHEET = "xl/worksheets/sheet1.xml"
MOST_BYTES = 0xFFFFFFFF
"""Of a sheet before it is deflated, and of the file: more needs ZIP64, and no spreadsheet opens it."""
TOO_LARGE = "A sheet cannot be this large: narrow it by from and to, or take csv."
_LOCAL, _CENTRAL, _SUMS, _END = "<4s5H3L2H", "<4s6H3L5H2L", "<4s3L", "<4s4H2LH"
_SUMS_FOLLOW, _DEFLATED, _VERSION, _TIME, _FIRST_OF_1980 = 0x08, 8, 20, 0, 0x21


class SheetFile:
    """A workbook of one sheet. XlsxWriter makes all of its XML; the ZIP around it is ours (PKWARE's APPNOTE 4.3)."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.state = dict(state)

    def begin(self) -> bytes:
        """Every part but the sheet, and the sheet as far as the row of names."""
        parts = _workbook(0, ())
        sheet = parts.pop(SHEET).decode()
        others, directory = _packed(parts)
        self.state = {
            "row": 1, "sum": 0, "length": 0, "packed": 0, "start": len(others), "parts": len(parts),
            "directory": base64.b64encode(directory).decode(),
        }  # fmt: skip
        head = re.sub(r'<dimension [^>]*>|<c r="[NO]1" [^>]*>', "", sheet.partition("</sheetData>")[0])  # rows: unknown
        fields = (_VERSION, _SUMS_FOLLOW, _DEFLATED, _TIME, _FIRST_OF_1980, 0, 0, 0, len(SHEET), 0)
        local = struct.pack(_LOCAL, b"PK\3\4", *fields) + SHEET.encode()
        return others + local + self._deflated(head.encode())

    def rows(self, rows: Iterable[Cells]) -> bytes:
        """Rows of XML, deflated."""
        given = list(rows)
        if not given:
            return b""
        sheet = _workbook(self.state["row"], given)[SHEET]
        self.state["row"] += len(given)
        return self._deflated(sheet.partition(b"</row>")[2].partition(b"</sheetData>")[0])

    def end(self) -> bytes:
        """The sheet's end and the directory of the parts."""
        data = self._deflated(b"</sheetData></worksheet>", zlib.Z_FINISH)
        state = self.state
        sums = (state["sum"], state["packed"], state["length"])
        data += struct.pack(_SUMS, b"PK\7\x08", *sums)
        fields = (_VERSION, _VERSION, _SUMS_FOLLOW, _DEFLATED, _TIME, _FIRST_OF_1980, *sums, len(SHEET), 0, 0, 0, 0, 0)
        central = struct.pack(_CENTRAL, b"PK\1\2", *fields, state["start"]) + SHEET.encode()
        directory, parts = base64.b64decode(state["directory"]) + central, state["parts"] + 1
        begins = state["start"] + struct.calcsize(_LOCAL) + len(SHEET) + state["packed"] + struct.calcsize(_SUMS)
        if begins > MOST_BYTES:
            raise TooLarge(TOO_LARGE)
        return data + directory + struct.pack(_END, b"PK\5\6", 0, 0, parts, parts, len(directory), begins, 0)

    def _deflated(self, data: bytes, how: int = zlib.Z_FULL_FLUSH) -> bytes:
        state = self.state
        if state["length"] + len(data) > MOST_BYTES:
            raise TooLarge(TOO_LARGE)
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        packed = packer.compress(data) + packer.flush(how)
        state["sum"] = zlib.crc32(data, state["sum"])
        state["length"], state["packed"] = state["length"] + len(data), state["packed"] + len(packed)
        return packed


def _workbook(first: int, rows: Sequence[Cells]) -> dict[str, bytes]:
    """Name → content of the parts of a workbook with the row of names and these rows from row `first` on."""
    file = BytesIO()
    book = xlsxwriter.Workbook(file, {"constant_memory": True, "remove_timezone": True})
    sheet = book.add_worksheet("Email Log")
    sheet.freeze_panes(1, 0)
    sheet.write_row(0, 0, [column.name for column in COLUMNS], book.add_format({"bold": True}))
    moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    text = book.add_format({"quote_prefix": True})
    for place, look in enumerate((moment, text), start=len(COLUMNS)):  # the first use numbers a format: always these
        sheet.write_blank(0, place, None, look)
    for number, row in enumerate(rows, start=first):
        _write(sheet, number, row, moment, text)
    book.close()
    with ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


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


def _packed(parts: Mapping[str, bytes]) -> tuple[bytes, bytes]:
    """These parts of a ZIP, and their part of its directory."""
    file = BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    data = file.getvalue()
    end = data[-struct.calcsize(_END) :]
    begins: int = struct.unpack(_END, end)[6]
    return data[:begins], data[begins : -len(end)]


FORMATS: Mapping[str, Format] = {
    "csv": Format("text/csv; charset=utf-8", CsvFile),
    "xlsx": Format("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", SheetFile, XLSX_ROWS),
}
