"""`idle`: what a listening process costs with a thousand mailboxes, and how soon it marks what a server says.

The process is `manage.py idle` as it runs in production, over rows in the benchmark's database; the server is a small
one in a process of its own, over TLS. Memory is how much the unique set size grows from no mailbox to all.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.imap_sync import _owner
from benchmarks.measuring import Report
from config.env import PROJECT
from email_sync.models import PushChannel
from integrations.models import Connection, SyncRun, SyncState
from workspaces.services import periodic

PATIENCE_SECONDS = 240.0
TOLD = 40


def measure(options: argparse.Namespace, folder: Path, report: Report) -> None:
    """The figures of the row."""
    mailboxes = 200 if options.small else 1000
    with _server(folder) as (server, port), _listening(folder) as process:
        _until(lambda: periodic.seconds_since_beat(name="idle") is not None)
        before = process.memory_full_info().uss
        began = time.monotonic()
        _connect(mailboxes, port)
        _until(lambda: PushChannel.objects.filter(status="active").count() == mailboxes)
        took = time.monotonic() - began
        threading.Event().wait(3.0)
        grown = process.memory_full_info().uss - before
        report.add("memory of one idle mailbox", "KB", grown / mailboxes / 1024, f"{mailboxes} mailboxes over TLS")
        report.add("memory of the process without any", "MB", before / 2**20)
        report.add("to listen to all of them", "s", took)
        spent = process.cpu_times()
        threading.Event().wait(20.0)
        after = process.cpu_times()
        report.add("processor while nothing happens", "%", (after.user + after.system - spent.user - spent.system) * 5)
        report.add("from the server's word to the mark", "ms", [_told(server) * 1000 for _ in range(TOLD)], "median")


def _connect(mailboxes: int, port: int) -> None:
    """Rows as `connect_imap` leaves them, none due, nothing to be synced."""
    owner = _owner()
    options = {"imap": {"host": "127.0.0.1", "port": port, "security": "tls"}}
    for number in range(mailboxes):
        address = f"m{number}@bench.test"
        made = Connection.objects.create(
            workspace=owner.workspace,
            user=owner.user,
            provider="imap",
            account_id=address,
            account_email=address,
            options=options,
            credentials={"imapPassword": "secret"},
        )
        SyncState.objects.create(connection=made, type="email", next_sync_at="2099-01-01T00:00Z")


def _told(server: subprocess.Popen[str]) -> float:
    """Seconds from a word to one of the idle connections until its mailbox's run stands in the table."""
    SyncRun.objects.all().delete()
    assert server.stdin is not None and server.stdout is not None  # noqa: PT018 - pipes were asked for
    server.stdin.write("\n")
    server.stdin.flush()
    began = time.monotonic()
    _until(SyncRun.objects.exists, pause=0.001)
    took = time.monotonic() - began
    server.stdout.readline()
    return took


def _until(happened: Callable[[], bool], pause: float = 0.1) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            states = list(PushChannel.objects.values_list("status", "message").distinct())
            raise TimeoutError(f"it did not happen; mailboxes are {states}")
        threading.Event().wait(pause)


@contextmanager
def _server(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "email_sync.tests.idle_server", str(folder)]
    with subprocess.Popen(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.terminate()


@contextmanager
def _listening(folder: Path) -> Iterator[psutil.Process]:
    """`manage.py idle`, which trusts the server's certificate."""
    wide = {"IDLE_PER_HOST": "5000", "SSL_CERT_FILE": str(folder / "certificate.pem")}
    with subprocess.Popen([sys.executable, "manage.py", "idle"], cwd=PROJECT, env={**os.environ, **wide}) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
