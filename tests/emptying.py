"""What a test that commits leaves goes before the next one: all rows, as with Django's `flush`.

Django truncates every table, which makes each one's files anew, and then writes all content types and permissions
again. Here rows are deleted, and content types and permissions stay as migrations made them.
"""

from __future__ import annotations

from functools import cache

from django.db import connection
from django.test import TransactionTestCase

STAY = frozenset({"django_content_type", "auth_permission"})
"""No test changes them, and Django caches their ids."""
LARGE = 512 * 1024
"""Bytes of a table that is truncated: deleted rows keep their room until somebody clears them up."""

EMPTY = """
DO $$
DECLARE
    name text;
BEGIN
    LOCK TABLE {tables} IN EXCLUSIVE MODE;  -- whoever still writes comes to an end first
    SET LOCAL session_replication_role = replica;  -- neither foreign keys nor triggers, as with TRUNCATE
    FOREACH name IN ARRAY ARRAY[{names}] LOOP
        EXECUTE format('DELETE FROM %I', name);
        IF pg_relation_size(quote_ident(name)::regclass) > {large} THEN
            EXECUTE format('TRUNCATE %I CASCADE', name);
        END IF;
    END LOOP;
END $$
"""

_as_django_does = TransactionTestCase._fixture_teardown


def after_a_test(case: TransactionTestCase) -> None:
    """In place of `TransactionTestCase._fixture_teardown`; where that is asked for something else, it is done."""
    if case.available_apps is not None or case.serialized_rollback or not _may():
        _as_django_does(case)
        return
    with connection.cursor() as cursor:
        cursor.execute(_statement())


@cache
def _may() -> bool:
    """Only a superuser tells triggers to keep out."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        return bool(cursor.fetchone()[0])


@cache
def _statement() -> str:
    tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - STAY
    quoted, names = (sorted(map(form, tables)) for form in ('"{}"'.format, "'{}'".format))
    return EMPTY.format(tables=", ".join(quoted), names=", ".join(names), large=LARGE)
