"""Where a benchmark runs: a folder, a database and settings of its own, gone afterwards.

The database is an embedded PostgreSQL with the product's own settings (durable), or a new database on the server that
DATABASE_URL names, dropped at the end. The developer's other settings do not count. Called by `__main__`, before any
module that needs Django is imported.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import django
import psycopg
from django.core.management import call_command
from django.db import connections

from email_sync.tests.smtp_sink import free_port
from tests.bare import forget_the_developers_settings
from workspaces.runtime.embedded import EmbeddedServer


@contextmanager
def surroundings() -> Iterator[Path]:
    """Django set up over an empty, migrated database; the folder for everything else."""
    server = os.environ.get("DATABASE_URL", "")
    forget_the_developers_settings()
    folder = Path(tempfile.mkdtemp(prefix="patchbay-bench-"))
    folder.chmod(0o755)  # Dovecot reads mail there as another user
    os.environ |= {"DATA_DIR": str(folder / "data"), "PORT": str(free_port()), "LOG_LEVEL": "WARNING"}
    os.environ["EGRESS_ALLOW_CIDRS"] = "127.0.0.0/8"
    try:
        with _own_database(server) if server else _embedded(folder / "data") as url:
            os.environ["DATABASE_URL"] = url
            django.setup()
            call_command("migrate", verbosity=0)
            call_command("createcachetable", verbosity=0)
            yield folder
            connections.close_all()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _embedded(data: Path) -> Iterator[str]:
    server = EmbeddedServer(data, dies_with_parent=True)
    server.use()
    try:
        yield server.url
    finally:
        server.leave()


@contextmanager
def _own_database(server: str) -> Iterator[str]:
    name = f"patchbay_bench_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as door:
        door.execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        finally:
            door.execute(f"DROP DATABASE {name} WITH (FORCE)")
