"""Surroundings of the tests that look at the whole product."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql


@pytest.fixture(autouse=True)
def _static_files_are_looked_up_when_asked_for(settings: Any) -> None:
    """Every test client is a web server of its own: that each of them lists all static files first is half the time of
    a suite that makes hundreds of clients."""
    settings.WHITENOISE_AUTOREFRESH = True


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
    """The real Redis, as broker and cache."""
    url = os.environ.get("TEST_REDIS_URL")
    if not url:
        pytest.fail("There is no Redis at REDIS_URL.")
    return url
