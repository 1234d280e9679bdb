"""Tables that benchmarks fill with SQL of their own: each statement names every column that has to be given, so that a
migration cannot end a row that nobody runs every day."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from django.db import connection as database

import benchmarks

STATEMENTS = re.compile(r"(?:INSERT INTO|COPY) (\w+)\s*\(([^()]+)\)")
MADE_HERE = {"bench_phrases"}
"""Temporary tables of a benchmark's own."""


def _statements() -> list[tuple[str, str, str]]:
    """Module, table and the columns that a statement of it names."""
    found = []
    for path in sorted(Path(benchmarks.__file__).parent.glob("*.py")):
        for table, columns in STATEMENTS.findall(path.read_text()):
            if columns == "{COLUMNS}":
                columns = importlib.import_module(f"benchmarks.{path.stem}").COLUMNS
            if table not in MADE_HERE:
                found.append((path.stem, table, columns))
    return found


def test_there_are_such_statements() -> None:
    assert {"documents", "email_log", "mailbox", "timeline", "console"} <= {module for module, *_ in _statements()}


@pytest.mark.django_db
@pytest.mark.parametrize(("module", "table", "columns"), _statements())
def test_a_fill_names_every_column_that_has_to_be_given(module: str, table: str, columns: str) -> None:
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, is_nullable = 'NO' AND column_default IS NULL AND is_generated = 'NEVER' "
            "AND is_identity = 'NO' FROM information_schema.columns WHERE table_name = %s",
            [table],
        )
        needed = dict(cursor.fetchall())
    named = {column.strip().strip('"') for column in columns.split(",")}
    assert named <= needed.keys(), f"{module}: {table} has no {named - needed.keys()}"
    missing = {column for column, must in needed.items() if must} - named
    assert not missing, f"{module} fills {table} without {missing}"
