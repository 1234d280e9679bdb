"""A log as CSV and XLSX: the same rows, nothing run as a formula, flat memory, an end to what a reader may hold."""

from __future__ import annotations

import csv
import io
import re
import tracemalloc
import zipfile
from typing import Any
from xml.etree import ElementTree

import psycopg
import pytest
from django.db import connection as database

from email_logs import files
from email_logs.columns import COLUMNS
from email_logs.models import EmailLogTable
from email_logs.services import exporting
from email_logs.services.reading import Filters
from email_logs.states import State
from email_logs.tests.logs import API, entries, entry, many, rows, table_of
from workspaces.models import AuditEvent, Workspace
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

NAMES = [column.name for column in COLUMNS]


@pytest.fixture
def table(workspace: Workspace) -> EmailLogTable:
    return table_of(workspace)


def export(actor: Actor, table: EmailLogTable, **query: Any) -> Any:
    answer = actor.client.get(f"{API}/{table.pk}/export", query)
    assert answer.status_code == 200, answer.content
    return answer


def as_csv(actor: Actor, table: EmailLogTable, **query: Any) -> list[list[str]]:
    data = b"".join(export(actor, table, format="csv", **query))
    assert data.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))


SPACE = {"x": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}


def as_sheet(actor: Actor, table: EmailLogTable, **query: Any) -> list[dict[str, tuple[str, str]]]:
    """Rows: letter of the column → (type, value)."""
    answer = export(actor, table, format="xlsx", **query)
    data = b"".join(answer)
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        assert book.testzip() is None
        tree = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
    assert tree.findall(".//x:f", SPACE) == [], "a formula"
    found = []
    for row in tree.iterfind(".//x:row", SPACE):
        cells = {}
        for cell in row.iterfind("x:c", SPACE):
            value = cell.find("x:v", SPACE)
            text = "".join(part.text or "" for part in cell.iterfind(".//x:t", SPACE))
            letter = re.sub(r"\d", "", cell.attrib["r"])
            cells[letter] = (cell.attrib.get("t", "n"), text if value is None else value.text or "")
        found.append(cells)
    return found


def test_csv_has_the_rows_of_the_list_under_the_documents_names(admin: Actor, table: EmailLogTable) -> None:
    entries(table, 3)
    entry(table, 3, subject='A "quoted", line\nbroken one', to="ä@example.com", state=State.QUEUED, attachments=2)
    names, *found = as_csv(admin, table)
    assert names == NAMES
    listed = rows(admin, table)["data"]
    assert found == [["" if row[name] is None else str(row[name]) for name in NAMES] for row in listed]


def test_export_is_narrowed_and_sorted_as_the_list_is(admin: Actor, table: EmailLogTable) -> None:
    entries(table, 4)
    entry(table, 4, state=State.FAILED, source="Form Send", subject="Rare word")
    for query in (
        {"status": "failed"},
        {"source": "Form Send"},
        {"q": "rare"},
        {"sort": "sentAt"},
        {"to": "2026-03-01T00:02:00Z"},
        {"provider": "other"},
    ):
        expected = [row["Subject"] for row in rows(admin, table, **query)["data"]]
        assert [row[3] for row in as_csv(admin, table, **query)[1:]] == expected
        assert [row["D"][1] for row in as_sheet(admin, table, **query)[1:]] == expected


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://evil.example")']


@pytest.mark.parametrize("text", FORMULAS)
def test_formula_is_text_in_either_format(admin: Actor, table: EmailLogTable, text: str) -> None:
    entry(table, subject=text, error=text, to=text, message_id=text)
    [_, row] = as_csv(admin, table)
    assert {row[1], row[3], row[6], row[11]} == {f"'{text}"}
    assert not [cell for cell in row if cell.startswith(files.FORMULA)]
    [_, cells] = as_sheet(admin, table)
    assert cells["D"][0] in ("inlineStr", "s", "str")


def test_sheet_has_dates_numbers_and_texts(admin: Actor, table: EmailLogTable) -> None:
    entry(table, attachments=2, message_id="0012", subject="http://example.com")
    names, cells = as_sheet(admin, table)
    assert [value for _, value in names.values()] == NAMES
    assert cells["A"] == ("n", "46082")
    assert cells["M"] == ("n", "2")
    assert cells["G"] == ("inlineStr", "0012")
    assert cells["D"] == ("inlineStr", "http://example.com")


def test_export_says_what_it_is(admin: Actor, table: EmailLogTable) -> None:
    answer = export(admin, table)
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(
        r'attachment; filename="email-log-email-provider-[\d-]{10}\.csv"', answer.headers["Content-Disposition"]
    )
    assert "no-store" in answer.headers["Cache-Control"]
    b"".join(answer)


def test_export_leaves_a_line_in_the_audit_trail(admin: Actor, table: EmailLogTable) -> None:
    b"".join(export(admin, table, format="xlsx", status="failed", q="somebody@their.example"))
    event = AuditEvent.objects.get(action="email_log.exported")
    assert (event.actor, event.object_id) == (admin.user, str(table.pk))
    assert event.changes == {"format": "xlsx", "status": "failed", "searched": True}  # never what for


@pytest.mark.parametrize("query", [{"format": "pdf"}, {"format": "csv", "source": "x"}, {"q": "-x"}])
def test_bad_export_is_400_and_not_in_the_trail(admin: Actor, table: EmailLogTable, query: dict[str, str]) -> None:
    assert admin.client.get(f"{API}/{table.pk}/export", query).status_code == 400
    assert not AuditEvent.objects.filter(action="email_log.exported").exists()


def test_export_is_for_admins(member: Actor, table: EmailLogTable) -> None:
    assert member.client.get(f"{API}/{table.pk}/export").status_code == 403


def test_more_rows_than_a_sheet_holds_are_refused(
    admin: Actor, table: EmailLogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries(table, 3)
    few = files.Format("application/x", files.SheetFile, 2)
    monkeypatch.setitem(files.FORMATS, "xlsx", few)
    answer = admin.client.get(f"{API}/{table.pk}/export", {"format": "xlsx"})
    assert answer.status_code == 400
    assert "csv" in answer.json()["error"]["fields"]["format"][0]
    assert len(as_sheet(admin, table, to="2026-03-01T00:02:00Z")) == 3


def test_places_are_few_and_a_taken_one_is_503(admin: Actor, table: EmailLogTable) -> None:
    settings = database.get_connection_params()
    keys = ("host", "port", "user", "password", "dbname")
    with psycopg.connect(**{key: settings[key] for key in keys if key in settings}) as other:
        for place in range(1, exporting.AT_ONCE + 1):
            other.execute("SELECT pg_advisory_xact_lock(%s, %s)", [exporting.LOCKS, place])
        answer = admin.client.get(f"{API}/{table.pk}/export")
        assert answer.status_code == 503
        assert "Retry-After" in answer.headers
    b"".join(export(admin, table))


@pytest.mark.parametrize("read", [0, 1])
def test_file_that_nobody_reads_on_holds_nothing_once_it_is_closed(
    admin: Actor, table: EmailLogTable, read: int
) -> None:
    """Not even until garbage is collected: that may be in the middle of a statement of the same connection, which then
    waits for itself for ever."""
    entries(table, 3)
    given: dict[str, Any] = {"filters": Filters(), "oldest_first": False, "format": "csv"}
    made = exporting.export(table=table, by=admin.user, **given)
    for _ in range(read):
        next(made.chunks)
    assert _cursors() == 1
    made.chunks.close()
    assert _cursors() == 0


def _cursors() -> int:
    """Of the server's, that are open."""
    with database.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_cursors WHERE name <> ''")
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize("format", ["csv", "xlsx"])
def test_memory_does_not_follow_the_rows(admin: Actor, table: EmailLogTable, format: str) -> None:
    """Ten times the rows may not need more than a little more."""
    peaks = []
    for count in (1_500, 13_500):
        many(table, count)
        tracemalloc.start()
        size = sum(map(len, export(admin, table, format=format)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert size > 250_000
    assert peaks[1] < peaks[0] * 1.5 + 1_000_000
