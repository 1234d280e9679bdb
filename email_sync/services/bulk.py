"""Many rows at once: COPY for new ones, one UPDATE for known ones. Called by the writer, inside its transaction.

Several times faster than `bulk_create` and `bulk_update` (reference/performance.md, "PostgreSQL writes"), because no
model and no field is asked about a value. So nothing is filled in: a column without a database default must be given,
`auto_now` included, and JSON comes as text.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, cast

from django.contrib.postgres.fields import ArrayField
from django.db import connection as database
from django.db import models

from email_sync import arrays


def copy(model: type[models.Model], columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Insert `rows`, each in the order of `columns` (names of model fields). IntegrityError where one is there."""
    names = ", ".join(_column(model, name) for name in columns)
    spell = [_spelling(_field(model, name)) for name in columns]
    statement = f"COPY {_table(model)} ({names}) FROM STDIN"
    with database.wrap_database_errors, database.cursor() as cursor, cursor.copy(statement) as sink:
        for row in rows:
            sink.write_row([how(v) if how and v is not None else v for how, v in zip(spell, row, strict=True)])


def _spelling(field: models.Field[Any, Any]) -> Callable[[Any], str] | None:
    """How a column's values are written where psycopg would do it in Python, at ten times the cost."""
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    if isinstance(field, models.UUIDField):
        return _hex
    if isinstance(field, models.DateTimeField):
        return datetime.isoformat
    return arrays.of_values if isinstance(field, ArrayField) else None


_hex = operator.attrgetter("hex")


def update(columns: Sequence[str], rows: Sequence[models.Model]) -> None:
    """Write these columns of these rows of one model, in one statement."""
    if not rows:
        return
    model = type(rows[0])
    fields = [_field(model, name) for name in ("id", *columns)]
    values = [{field.column: getattr(row, field.attname) for field in fields} for row in rows]
    shape = ", ".join(f"{_column(model, field.name)} {field.db_type(database)}" for field in fields)
    changes = ", ".join(f"{name} = fresh.{name}" for name in (_column(model, name) for name in columns))
    with database.cursor() as cursor:
        cursor.execute(
            f"UPDATE {_table(model)} AS kept SET {changes} "  # noqa: S608 - names of our own models
            f"FROM jsonb_to_recordset(%s::jsonb) AS fresh ({shape}) WHERE kept.id = fresh.id",
            [json.dumps(values, default=str)],
        )


def _table(model: type[models.Model]) -> str:
    return database.ops.quote_name(model._meta.db_table)


def _field(model: type[models.Model], name: str) -> models.Field[Any, Any]:
    return cast("models.Field[Any, Any]", model._meta.get_field(name))


def _column(model: type[models.Model], name: str) -> str:
    return database.ops.quote_name(str(_field(model, name).column))
