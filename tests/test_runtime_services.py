"""The same product on real servers: PostgreSQL, and Redis as broker and cache."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg
import pytest
import redis
from psycopg import sql

from tests.running import Product

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """A database of our own on the real server."""
    server = os.environ.get("TEST_DATABASE_URL")
    if not server:
        pytest.fail("There is no PostgreSQL at DATABASE_URL.")
    name = f"patchbay_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def redis_url() -> str:
    url = os.environ.get("TEST_REDIS_URL")
    if not url:
        pytest.fail("There is no Redis at REDIS_URL.")
    return url


@pytest.fixture(scope="module")
def product(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("up") / "data"
    running = Product(folder, DATABASE_URL=database_url, CELERY_BROKER_URL=redis_url, REDIS_URL=redis_url)
    running.start()
    yield running
    running.stop()


def test_up_with_real_servers_starts_no_database_of_its_own(product: Product, database_url: str) -> None:
    checks = product.wait_until_ready()["checks"]
    assert checks["broker"]["message"] == "redis"
    assert "postgres" not in product.children()
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM workspaces_user").fetchone()
    assert row == (1,)


def test_up_with_redis_keeps_the_throttles_there(product: Product, redis_url: str) -> None:
    product.wait_until_ready()
    token = re.search(r"API token\s+(\S+)", product.output)
    assert token
    assert product.get("/api/v1/integrations/connections", token.group(1))[0] == 200
    with redis.Redis.from_url(redis_url) as client:
        assert list(client.scan_iter("patchbay:*throttle*", count=1000))


def _last_beat(database_url: str) -> datetime:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT max(at) FROM workspaces_heartbeat").fetchone()
    assert row is not None
    return row[0]


def test_up_with_redis_survives_a_flushed_broker(product: Product, database_url: str, redis_url: str) -> None:
    product.wait_until_ready()
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    before = _last_beat(database_url)
    assert product.wait_until(lambda: _last_beat(database_url) > before), product.output


def test_up_with_redis_survives_a_killed_worker(product: Product, database_url: str) -> None:
    product.wait_until_ready()
    worker = product.children()["quick"]
    worker.kill()
    psutil.wait_procs([worker], timeout=10)
    before = _last_beat(database_url)
    assert product.wait_until(lambda: _last_beat(database_url) > before), product.output


def test_doctor_finds_nothing_wrong_with_real_servers(product: Product) -> None:
    product.wait_until_ready()
    doctor = product.command("doctor", "--json")
    findings = json.loads(doctor.communicate(timeout=30)[0])
    assert [finding for finding in findings if finding["level"] == "error"] == []
    assert doctor.returncode == 0
