"""The whole product on one machine, from nothing to a clean stop. Called by `manage.py up`.

One start per DATA_DIR: a lock of the kernel, so a killed one leaves none behind. The embedded PostgreSQL belongs to
this process while it runs and ends with it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from core.errors import InvalidInput
from workspaces.runtime.console import Console
from workspaces.runtime.embedded import EmbeddedServer
from workspaces.runtime.supervisor import Program, Supervisor
from workspaces.services import bootstrap

HOST = "127.0.0.1"


class CannotStart(Exception):
    """Something outside must change first; the message says what."""


def run(console: Console) -> None:
    """Prepare, start everything, stay until SIGTERM or SIGINT, stop everything."""
    with alone(settings.DATA_DIR):
        _port_is_free(settings.PORT)
        try:
            _prepare_database(console)
            connection.close()
            Supervisor(
                programs(_surroundings()),
                folder=settings.BASE_DIR,
                console=console,
                look_after=partial(_mend_embedded, console),
            ).run()
        finally:
            connection.close()
            _stop_embedded(console)


def programs(environment: Mapping[str, str]) -> list[Program]:
    """Web, three Celery workers (long slices of syncs; webhooks, which wait for others' servers; everything that must
    not wait behind them), beat, and the process that listens to mail servers."""
    run_folder = settings.DATA_DIR / "run"
    run_folder.mkdir(exist_ok=True)
    python = [sys.executable, "-m"]
    gunicorn = [*python, "gunicorn", "config.wsgi:application", "--config", "python:config.web"]
    gunicorn += ["--bind", f"{HOST}:{settings.PORT}", "--workers", str(settings.WEB_WORKERS)]
    gunicorn += ["--no-control-socket", "--worker-tmp-dir", str(run_folder)]
    celery = [*python, "celery", "--app", "config", "--quiet"]
    worker = [*celery, "worker", "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
    sync = [*worker, "--queues", "sync", "--concurrency", str(settings.WORKER_CONCURRENCY), "--hostname", "sync@%h"]
    sync += ["--pool", "threads" if _broker_in_folder() else "prefork"]
    quick = [*worker, "--queues", "quick", "--pool", "threads", "--concurrency", "4", "--hostname", "quick@%h"]
    deliver = [*worker, "--queues", "deliver", "--pool", "threads", "--hostname", "deliver@%h"]
    deliver += ["--concurrency", str(settings.DELIVERY_CONCURRENCY)]
    beat = [*celery, "beat", "--schedule", str(run_folder / "beat-schedule"), "--pidfile", "", "--loglevel", "INFO"]
    return [
        Program("web", gunicorn, environment),
        # SIGQUIT is Celery's cold stop: an orphan must not outlive us by a task.
        Program("sync", sync, environment, orphan_signal=signal.SIGQUIT),
        Program("quick", quick, environment, orphan_signal=signal.SIGQUIT),
        Program("deliver", deliver, environment, orphan_signal=signal.SIGQUIT),
        Program("beat", beat, environment),
        Program("idle", [sys.executable, "manage.py", "idle"], environment),
    ]


def _broker_in_folder() -> bool:
    """Without a broker that celery can wait on, its prefork pool shares one queue under one lock: a process killed
    while it waits there (kill -9, the kernel out of memory) takes the lock along, and no other ever works again."""
    return str(settings.CELERY_BROKER_URL).startswith("filesystem:")


@contextlib.contextmanager
def alone(data_dir: Path) -> Iterator[None]:
    """Hold the lock of this data folder, or say who holds it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "up.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise CannotStart(
                f"Patchbay already runs on {data_dir} (process {holder}). Stop it first, or choose another DATA_DIR."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _port_is_free(port: int) -> None:
    """Before anything else is started, so that the message is the last line and not lost among logs."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            why = "is in use by another program" if error.errno == errno.EADDRINUSE else f"cannot be used: {error}"
            raise CannotStart(f"Port {port} {why}. Set PORT to a free one.") from error


def _prepare_database(console: Console) -> None:
    server = _embedded()
    if server is not None:
        server.dies_with_parent = True
        console.line("up", "starting the embedded PostgreSQL")
    connection.ensure_connection()
    console.line("up", "bringing the database up to date")
    call_command("migrate", interactive=False, verbosity=0)
    call_command("createcachetable", verbosity=0)
    _announce(console, _first_start())


def _first_start() -> bootstrap.FirstStart | None:
    try:
        return bootstrap.first_start()
    except InvalidInput as error:
        words = " ".join(chain.from_iterable(error.fields.values()))
        settings_to_mend = " and ".join(f"OWNER_{name.upper()}" for name in error.fields)
        raise CannotStart(f"The owner cannot be made: {words} Mend {settings_to_mend}.") from error


def _announce(console: Console, first: bootstrap.FirstStart | None) -> None:
    """The addresses on every start; log-in and token on the very first one and never again."""
    where = [("Console", f"{settings.PUBLIC_URL}/admin/"), ("API docs", f"{settings.PUBLIC_URL}/api/docs")]
    if first is None:
        console.line("up", f"console {where[0][1]} · API docs {where[1][1]}")
        return
    password = [("Password", first.password)] if first.password else []
    rows = [*where, ("Log-in", first.email), *password, ("API token", first.token)]
    console.box("Patchbay is ready. Keep this: it is shown only once.", rows)


def _surroundings() -> dict[str, str]:
    """What children need to find the same data and, where it is ours, the same server."""
    server = _embedded()
    shared = {"DATA_DIR": str(settings.DATA_DIR), "PYTHONUNBUFFERED": "1"}
    return {**shared, "DATABASE_URL": server.url} if server is not None else shared


def _embedded() -> EmbeddedServer | None:
    server: EmbeddedServer | None = connection.settings_dict.get("EMBEDDED")
    return server


def _mend_embedded(console: Console) -> None:
    server = _embedded()
    if server is not None and server.mend():
        console.line("up", "the embedded PostgreSQL had died and was started again")


def _stop_embedded(console: Console) -> None:
    server = _embedded()
    if server is not None and server.postmaster() is not None:
        console.line("up", "stopping the embedded PostgreSQL")
        server.stop()
