"""`make test-services`: looks for the real servers, says plainly what it did not find, and runs what needs them.

PostgreSQL from DATABASE_URL, Redis from REDIS_URL (both default to this machine's), Dovecot, ClamAV and Chromium with
its driver from their packages, LocalStack from PyPI, emulate from npm. Tests of the database run here a second time, on
that PostgreSQL and with that Redis as cache, where that can make a difference: those that commit, and the modules that
`tests.real_servers` names with a reason each. The long forms are for `make chaos`. In CI (`CI=true`) nothing may be
missing but what is in MAY_BE_MISSING.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
import redis

from documents.tests import localstack
from tests import migrated
from tests.browsing import programs
from tests.real_servers import MARK, modules

DATABASE_URL = os.environ.get("DATABASE_URL") or "postgresql://postgres@127.0.0.1:5432/postgres"
REDIS_URL = os.environ.get("REDIS_URL") or "redis://127.0.0.1:6379/15"
SELECTED = f"(services or {MARK}) and not chaos"
ROOM = 400
"""Connections for four processes of tests, each with fifty callers or a whole product at once."""
EMULATE = "emulate@0.11.2"
"""Pinned: `latest` of this name is another program."""
ROOT = Path(__file__).resolve().parent.parent


def _postgresql() -> str:
    with psycopg.connect(DATABASE_URL, connect_timeout=5) as connection:
        version = connection.info.server_version // 10_000
        row = connection.execute("SELECT current_setting('max_connections')::int").fetchone()
    assert row is not None
    few = f", but only {row[0]} connections: fifty callers at once beside a product may be refused"
    return f"PostgreSQL {version}{few if row[0] < ROOM else ''}"


def _redis() -> str:
    with redis.Redis.from_url(REDIS_URL, socket_connect_timeout=5) as client:
        return f"Redis {client.info('server')['redis_version']}"


def _dovecot() -> str:
    path = shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise FileNotFoundError("install dovecot-imapd and dovecot-submissiond")
    return path


def _emulate() -> str:
    """From npm, once, into the virtual environment's folder; tests find it by EMULATE_BIN."""
    program = ROOT / ".venv" / "emulate" / "node_modules" / ".bin" / "emulate"
    if not program.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError("install nodejs and npm")
        command = [npm, "install", "--prefix", str(program.parents[2]), "--no-audit", "--no-fund", EMULATE]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    os.environ["EMULATE_BIN"] = str(program)
    return str(program)


def _localstack() -> str:
    """From PyPI, once, into an environment of its own inside the project's: it wants older packages than we do."""
    if not localstack.python():
        home = localstack.PYTHON.parents[1]
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, capture_output=True, timeout=120)
        pip = [str(localstack.PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        try:
            subprocess.run([*pip, "-r", str(localstack.PINS)], check=True, capture_output=True, timeout=600)
        except subprocess.SubprocessError:
            shutil.rmtree(home, ignore_errors=True)  # half of it would be taken for the whole next time
            raise
    return localstack.python()


def _chromium() -> str:
    browser, driver = programs()
    if not browser or not driver:
        raise FileNotFoundError("install chromium and chromium-driver")
    return browser


def _clamav() -> str:
    found = shutil.which("clamd") or shutil.which("clamd", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise FileNotFoundError("install clamav-daemon")
    return found


LOOKS: dict[str, Callable[[], str]] = {
    "PostgreSQL (DATABASE_URL)": _postgresql,
    "Redis (REDIS_URL)": _redis,
    "Dovecot": _dovecot,
    "LocalStack, an S3 that enforces signatures and policies": _localstack,
    "ClamAV": _clamav,
    "Chromium and its driver": _chromium,
    "emulate, a third party's imitation of Google, Microsoft and others": _emulate,
}

MAY_BE_MISSING = ("LocalStack, an S3 that enforces signatures and policies", "ClamAV", "Chromium and its driver")
"""Large downloads: a registry that is slow for once must not stop a change of something else. The run says so."""


def missing() -> list[str]:
    """What is not there; prints each look."""
    absent = []
    for name, look in LOOKS.items():
        try:
            print(f"found     {name}: {look()}")
        except (psycopg.Error, redis.RedisError, OSError, subprocess.SubprocessError) as error:
            print(f"NOT FOUND {name}: {str(error).splitlines()[0]}")
            absent.append(name)
    return absent


def where(arguments: Sequence[str]) -> list[str]:
    """The modules with tests for us, unless the arguments name a file or folder."""
    named = any((ROOT / argument.partition("::")[0]).exists() for argument in arguments if argument)
    return [] if named else sorted(modules())


def main() -> int:
    """Pytest's exit status; 1 where something is missing in CI."""
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)  # `config` sets it, and settings would be read before any conftest
    absent = missing()
    if "PostgreSQL (DATABASE_URL)" not in absent:
        os.environ["TEST_DATABASE_URL"] = DATABASE_URL
    if "Redis (REDIS_URL)" not in absent:
        os.environ["TEST_REDIS_URL"] = REDIS_URL
    with ExitStack() as stack:
        if server := os.environ.get("TEST_DATABASE_URL"):
            stack.enter_context(migrated.template(server))
        status = int(pytest.main(["-q", "-m", SELECTED, *sys.argv[1:], *where(sys.argv[1:])]))
    if absent:
        print(f"Not found, so not tested: {', '.join(absent)}.")
    grave = [name for name in absent if name not in MAY_BE_MISSING]
    return 1 if grave and os.environ.get("CI", "").lower() == "true" else status


if __name__ == "__main__":
    sys.exit(main())
