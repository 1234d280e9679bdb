"""The cache where no Redis is given: a table in PostgreSQL, so that throttles hold across all processes.

Django's own DatabaseCache reads, counts rows and writes in several statements, and its counters lose steps when two
processes step at once. Here every operation but the occasional culling is one statement, and `incr` is atomic.
"""

from __future__ import annotations

import base64
import pickle
import random
from datetime import UTC, datetime
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.db import DatabaseCache
from django.db import connections, router

NEVER = datetime(9999, 12, 31, tzinfo=UTC)
UPSERT = (
    "INSERT INTO {table} (cache_key, value, expires) VALUES (%s, %s, %s) ON CONFLICT (cache_key) "
    "DO UPDATE SET value = excluded.value, expires = excluded.expires RETURNING cache_key"
)
INSERT = UPSERT.replace("RETURNING", "WHERE {table}.expires <= now() RETURNING")
CULL_ONE_IN = 512
"""One write in so many removes what has expired."""


class PostgresCache(DatabaseCache):
    """Numbers lie as digits, so that PostgreSQL can count them; anything else as Django pickles it."""

    _table: str

    def get_many(self, keys: Any, version: int | None = None) -> dict[Any, Any]:
        """One statement, whatever the number of keys."""
        wanted = {self.make_and_validate_key(key, version=version): key for key in keys}
        sql = "SELECT cache_key, value FROM {table} WHERE cache_key = ANY(%s) AND expires > now()"
        return {wanted[key]: _loads(value) for key, value in self._execute(sql, [list(wanted)])}

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """Insert or overwrite."""
        self._write(UPSERT, key, value, timeout, version)

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Insert where there is none, or only an expired one; whether it did."""
        return bool(self._write(INSERT, key, value, timeout, version))

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add to a number that is there; ValueError where it is not."""
        sql = (
            "UPDATE {table} SET value = (value::bigint + %s)::text "
            "WHERE cache_key = %s AND expires > now() AND value ~ '^-?[0-9]+$' RETURNING value"
        )
        rows = self._execute(sql, [delta, self.make_and_validate_key(key, version=version)])
        if not rows:
            raise ValueError(f"Key {key!r} holds no number")
        return int(rows[0][0])

    def _write(self, sql: str, key: Any, value: Any, timeout: Any, version: int | None) -> list[tuple[Any, ...]]:
        at = self.get_backend_timeout(timeout)
        expires = NEVER if at is None else datetime.fromtimestamp(at, tz=UTC)
        name = self.make_and_validate_key(key, version=version)
        if random.randrange(CULL_ONE_IN) == 0:  # noqa: S311 - no secret
            self._execute("DELETE FROM {table} WHERE expires <= now() RETURNING 1", [])
        return self._execute(sql, [name, _dumps(value), expires])

    def _execute(self, sql: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
        connection = connections[router.db_for_write(self.cache_model_class)]
        with connection.cursor() as cursor:
            cursor.execute(sql.replace("{table}", connection.ops.quote_name(self._table)), parameters)
            return list(cursor.fetchall())


def _dumps(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return "p" + base64.b64encode(pickle.dumps(value, pickle.HIGHEST_PROTOCOL)).decode("ascii")


def _loads(text: str) -> Any:
    """What `_dumps` wrote: the table is ours alone, as with Django's own database cache."""
    if text.startswith("p"):
        return pickle.loads(base64.b64decode(text[1:]))  # noqa: S301 - written by us
    return int(text)
