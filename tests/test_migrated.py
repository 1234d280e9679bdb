"""The copy that tests and products begin with is what migrating from nothing makes."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from django.db.migrations.loader import MigrationLoader

from tests import migrated
from workspaces.runtime.embedded import EmbeddedServer


def test_copy_holds_every_migration_and_nobody(tmp_path: Path) -> None:
    migrated.put(tmp_path)
    server = EmbeddedServer(tmp_path, durable=False, dies_with_parent=True)
    server.use()
    _check(server.url)
    server.leave()


@pytest.mark.services
def test_copy_on_a_real_server_holds_every_migration_and_nobody(database_url: str) -> None:
    _check(database_url)


def _check(url: str) -> None:
    with psycopg.connect(url) as database:
        applied = set(database.execute("SELECT app, name FROM django_migrations").fetchall())
        people = database.execute("SELECT count(*) FROM workspaces_user").fetchone()
        cache = database.execute("SELECT count(*) FROM cache_entries").fetchone()
    assert applied == set(MigrationLoader(None).disk_migrations)
    assert (people, cache) == ((0,), (0,))
