"""A database after every migration, made once and copied: what tests and the products they start begin with.

Migrating from nothing takes seconds, and a run of all tests wants some twenty databases. Whatever is copied is migrated
as well, which then finds nothing to do; a product that starts from nothing is in `test_runtime`. The embedded server's
data are kept between runs, under the digest of what they are made of. A real server's template is one run's.

`python -m tests.migrated` migrates the database that DATABASE_URL names.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import django
import psycopg
from django.core.management import call_command
from psycopg import sql

from config.env import PROJECT, VARIABLES
from workspaces.runtime.embedded import EmbeddedServer

MADE_OF = (
    "requirements.txt",
    "*/migrations/*.py",
    "config/settings/*.py",
    "core/*.py",
    "workspaces/runtime/embedded.py",
)
KEPT_SECONDS = 7 * 86_400
"""For so long after the last use."""
TEMPLATE = "TEST_DATABASE_TEMPLATE"
"""The variable that names a migrated database of the server of TEST_DATABASE_URL, where there is one."""


def put(data_dir: Path) -> None:
    """The data of an embedded server into this DATA_DIR, as a first start leaves them: migrated, and no owner yet."""
    data_dir.mkdir(parents=True, exist_ok=True)
    _copy(_made() / "postgres", data_dir / "postgres")


def create(server: str) -> str:
    """A migrated database on that server (or an empty one, where the run has no template), its address."""
    name = f"patchbay_{uuid.uuid4().hex[:12]}"
    template = os.environ.get(TEMPLATE) or "template1"
    with psycopg.connect(server, autocommit=True) as connection:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    return _address(server, name)


def drop(server: str, url: str) -> None:
    """That database, whoever is connected to it."""
    name = urlsplit(url).path.strip("/")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def template(server: str) -> Iterator[None]:
    """For the block and all it starts, a migrated database on that server to copy."""
    os.environ.pop(TEMPLATE, None)
    url = create(server)
    try:
        _migrate(url)
        os.environ[TEMPLATE] = urlsplit(url).path.strip("/")
        yield
    finally:
        os.environ.pop(TEMPLATE, None)
        drop(server, url)


def _made() -> Path:
    """Where the data are kept; made unless they are there."""
    home = _home()
    made = home / f"migrated-{_digest()}"
    with (home / "migrated.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for old in home.glob("migrated-*"):
            if old != made and time.time() - old.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        if not made.exists():
            _make(made)
        os.utime(made)
    return made


def _home() -> Path:
    """The user's cache, or a folder among temporary files where they have none."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "patchbay"
    with suppress(OSError):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(home, os.W_OK):
        home = Path(tempfile.gettempdir()) / f"patchbay-migrated-{os.geteuid()}"
        home.mkdir(mode=0o700, exist_ok=True)
    return home


def _make(made: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="patchbay-migrated-") as folder:
        server = EmbeddedServer(Path(folder), durable=False, dies_with_parent=True)
        server.use()
        try:
            _migrate(server.url)
        finally:
            server.leave()
        fresh = made.with_name(f"{made.name}.fresh")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        _copy(server.data, fresh / "postgres")
        fresh.rename(made)


def _copy(source: Path, target: Path) -> None:
    """Owners included: the server refuses a folder that is not its user's."""
    subprocess.run(["cp", "-a", "--", str(source), str(target)], check=True)


@cache
def _digest() -> str:
    files = sorted(path for pattern in MADE_OF for path in PROJECT.glob(pattern))
    parts = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (*files, Path(__file__))]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def _migrate(url: str) -> None:
    """In a process of its own: this one may have its settings already."""
    bare = {name: value for name, value in os.environ.items() if name not in {v.name for v in VARIABLES}}
    with tempfile.TemporaryDirectory(prefix="patchbay-migrated-") as folder:
        own = {"DATABASE_URL": url, "DATA_DIR": folder, "ENV_FILE": "", "DJANGO_SETTINGS_MODULE": "config.settings"}
        subprocess.run([sys.executable, "-m", "tests.migrated"], cwd=PROJECT, env=bare | own, check=True)


def _address(server: str, name: str) -> str:
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


if __name__ == "__main__":
    django.setup()
    call_command("migrate", interactive=False, verbosity=0)
    call_command("createcachetable", verbosity=0)
