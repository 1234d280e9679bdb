"""The cache in PostgreSQL: shared, atomic, one statement per operation."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache.backends.base import BaseCache
from django.core.management import call_command
from django.db import connection

from config.cache import PostgresCache

pytestmark = pytest.mark.django_db


@pytest.fixture
def table() -> BaseCache:
    call_command("createcachetable", "cache_of_tests", verbosity=0)
    return PostgresCache("cache_of_tests", {})


def _expire(table: BaseCache, key: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE cache_of_tests SET expires = now() WHERE cache_key = %s", [table.make_key(key)])


@pytest.mark.parametrize("value", [0, -3, 2**40, True, None, "7", "text", {"a": [1, 2]}, b"\x00p"])
def test_set_value_comes_back_as_it_was(table: BaseCache, value: Any) -> None:
    table.set("key", value)
    assert table.get("key", "absent") == value
    assert type(table.get("key")) is type(value)


def test_set_overwrites(table: BaseCache) -> None:
    table.set("key", 1)
    table.set("key", 2)
    assert table.get("key") == 2


def test_get_expired_value_is_absent(table: BaseCache) -> None:
    table.set("key", 1)
    _expire(table, "key")
    assert table.get("key") is None


def test_add_keeps_what_is_there_and_replaces_what_expired(table: BaseCache) -> None:
    assert table.add("key", 1)
    assert not table.add("key", 2)
    _expire(table, "key")
    assert table.add("key", 3)
    assert table.get("key") == 3


def test_incr_counts_and_refuses_what_is_absent_or_no_number(table: BaseCache) -> None:
    table.set("key", 1)
    assert table.incr("key") == 2
    assert table.incr("key", -5) == -3
    table.set("words", "7")
    for key in ("absent", "words"):
        with pytest.raises(ValueError, match="holds no number"):
            table.incr(key)


def test_every_operation_is_one_statement(table: BaseCache, django_assert_num_queries: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("random.randrange", lambda _: 1)
    for work in (lambda: table.set("a", 1), lambda: table.add("a", 1), lambda: table.incr("a"), lambda: table.get("a")):
        with django_assert_num_queries(1):
            work()


def test_write_now_and_then_removes_what_expired(table: BaseCache, monkeypatch: Any) -> None:
    table.set("old", 1)
    _expire(table, "old")
    monkeypatch.setattr("random.randrange", lambda _: 0)
    table.set("new", 1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM cache_of_tests")
        assert cursor.fetchone() == (1,)
