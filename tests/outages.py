"""A PostgreSQL and a Redis of one's own from this machine's programs, to be struck: restarted at once, emptied.

For `test_outages`. They lie in a temporary folder, listen on loopback only and end with the test.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import redis

WAIT_SECONDS = 30
POSTGRES_FOLDERS = "/usr/lib/postgresql/*/bin"
SETTINGS = ("-c", "listen_addresses=127.0.0.1", "-c", "max_connections=100", "-c", "unix_socket_directories=")


def missing() -> str:
    """What this machine lacks, in a sentence; "" where it has both."""
    if _postgres_program("initdb") is None:
        return "There are no PostgreSQL server programs on this machine."
    return "" if shutil.which("redis-server") else "There is no redis-server on this machine."


class OwnPostgres:
    """A cluster with a password-free superuser. PostgreSQL refuses to run as root, so root starts it as `postgres`."""

    def __init__(self, folder: Path) -> None:
        self.data, self.port = folder / "data", _free_port()
        folder.chmod(0o755)
        self.data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(self.data, "postgres")
        self._run("initdb", "-D", str(self.data), "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        self.process = self._start()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def restart(self) -> None:
        """At once, without a word to anybody, as `pg_ctl restart -m immediate`: what is not on the disk is gone."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(WAIT_SECONDS)
        self.process = self._start()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(WAIT_SECONDS)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [str(_postgres_program("postgres")), "-D", str(self.data), "-p", str(self.port), *SETTINGS]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, **_identity())
        _until(self._answers, "PostgreSQL")
        return process

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run([str(_postgres_program(program)), *arguments], check=True, capture_output=True, **_identity())


class OwnRedis:
    """Keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        quiet = ("--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--dir", str(folder))
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), *quiet],
            stdout=subprocess.DEVNULL,
        )
        self.client = redis.Redis(port=self.port)
        _until(self._answers, "Redis")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def flush(self) -> None:
        """Every wake-up, every binding of a queue, every counter is gone."""
        self.client.flushdb()

    def stop(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(WAIT_SECONDS)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False


@contextmanager
def own_servers() -> Iterator[tuple[OwnPostgres, OwnRedis]]:
    """Both, for as long as the block."""
    with tempfile.TemporaryDirectory(prefix="patchbay-outages-") as folder:  # pytest's own folders are closed to others
        database = OwnPostgres(Path(folder))
        broker = OwnRedis(Path(folder))
        try:
            yield database, broker
        finally:
            broker.stop()
            database.stop()


def _postgres_program(name: str) -> Path | None:
    """The newest version's."""
    found = sorted(Path("/").glob(POSTGRES_FOLDERS.lstrip("/") + f"/{name}"))
    on_path = shutil.which(name)
    return found[-1] if found else Path(on_path) if on_path else None


def _identity() -> dict[str, Any]:
    return {"user": "postgres", "group": "postgres", "cwd": "/"} if os.geteuid() == 0 else {"cwd": "/"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not start.")
        time.sleep(0.05)
