"""`column__any_of=values`: what `column__in` asks, as one array. Used where syncs ask for a page of ids at a time.

`IN` makes a parameter of every value, which Django, psycopg and PostgreSQL each look at one by one; all three take an
array in one piece. Values go to the database as they are, so they must be what the column holds.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql.compiler import SQLCompiler

from email_sync import arrays


class AnyOf(models.Lookup):
    """The lookup. Nothing is asked where there are no values."""

    lookup_name = "any_of"
    prepare_rhs = False

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        values = list(self.rhs)
        if not values:
            raise EmptyResultSet
        column, parameters = self.process_lhs(compiler, connection)
        if isinstance(self.lhs.output_field, models.UUIDField):
            return f"{column} = ANY(%s::uuid[])", (*parameters, arrays.of_ids(values))
        return f"{column} = ANY(%s::text[])", (*parameters, arrays.of_values(values))


def register() -> None:
    """On the kinds of columns that hold ids. Called when the models are loaded."""
    for kind in (models.CharField, models.TextField, models.UUIDField):
        kind.register_lookup(AnyOf)
