"""Row `imap_sync`: a whole first sync from a real Dovecot beside a bare IMAPClient loop that throws everything away.

The product's side is everything: listing, fetching, parsing in the bounded child, threads, bodies, search rows, one
transaction a page. Then what follows a first sync: nothing changed, and a hundred new mails with a thousand changed
flags.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from django.db import connection as database
from imapclient import IMAPClient

from benchmarks import corpus
from benchmarks.measuring import ROUNDS, Missing, Report, say, seconds
from config.env import PROJECT
from email_sync.records import INBOX
from email_sync.services.reading import InboxQuery, inbox
from email_sync.tests.dovecot import PASSWORD, Dovecot, _mail_owner, missing
from integrations.models import Connection, SyncState
from workspaces.models import Membership
from workspaces.services import members

USER = "owner@bench.example"
NEW, FLAGGED = 100, 1_000
FIRST = 50
TABLES = ("email_sync_message", "email_sync_thread", "email_sync_folder", "email_sync_foldercounter")


def measure(options: argparse.Namespace, folder: Path, report: Report) -> None:
    """The row. Missing where Dovecot is not installed."""
    if missing():
        raise Missing(missing())
    server = Dovecot().start()
    try:
        say(f"writing {options.count:,} messages")
        sizes = sorted(deliver(server, corpus.mails(options.count)))
        report.add(
            "corpus", "mails", options.count, f"median {sizes[len(sizes) // 2]:,} bytes, {sum(sizes) / 1e6:,.0f} MB"
        )
        with Worker() as worker:
            _measure(server, worker, options.count, report)
    finally:
        server.stop()


def _measure(server: Dovecot, worker: Worker, count: int, report: Report) -> None:
    mailbox = Mailbox(server)
    say("warming up")
    bare_fetch(server)
    mailbox.first_sync(worker, count)
    bare, ours = [], []
    for number in range(ROUNDS):
        say(f"round {number + 1} of {ROUNDS}")
        bare.append(seconds(lambda: bare_fetch(server)))
        ours.append(mailbox.first_sync(worker, count))
    baseline = report.add(
        "bare IMAPClient loop", "msg/s", [count / s for s in bare], "UID FETCH 500 at a time, discarded"
    )
    rate = report.add("first sync", "msg/s", [count / run.seconds for run in ours], "searchable: all rows and indexes")
    report.ratio("ratio", rate, baseline)
    report.add("first 50 readable", "s", [run.first_page for run in ours], "from start to a full inbox page")
    report.add("worker peak memory", "MB", [run.answer["peak_mb"] for run in ours])
    report.add("parser peak memory", "MB", [run.answer["parser_mb"] for run in ours])
    report.add("no change", "s", [worker.sync(mailbox.connection)["seconds"] for _ in range(ROUNDS)])
    report.add(f"{NEW} new, {FLAGGED:,} flags", "s", [mailbox.changed_sync(worker, n) for n in range(ROUNDS)])


# --- the two sides ------------------------------------------------------------------------------------------------


def bare_fetch(server: Dovecot) -> None:
    """What a simple client does, without keeping anything."""
    client = IMAPClient("127.0.0.1", server.imap_port, ssl=False)
    client.plain_login(USER, PASSWORD)
    for _, _, name in client.list_folders():
        client.select_folder(name, readonly=True)
        uids = client.search("ALL")
        for start in range(0, len(uids), 500):
            client.fetch(uids[start : start + 500], ["FLAGS", "INTERNALDATE", "BODY.PEEK[]"])
    client.logout()


class Worker:
    """The worker process; use as a context manager."""

    def __enter__(self) -> Worker:
        command = [sys.executable, "-m", "benchmarks.worker"]
        self._process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._line()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def sync(self, connection: Connection) -> dict[str, float]:
        """One run to its end. RuntimeError where it did not succeed."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{connection.pk}\n")
        self._process.stdin.flush()
        answer = json.loads(self._line())
        if answer["status"] != "done":
            raise RuntimeError(f"The sync ended as {answer['status']}: {answer['error']}")
        return dict(answer)

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@dataclass(frozen=True, slots=True)
class FirstSync:
    """What one first sync took."""

    answer: dict[str, float]
    first_page: float

    @property
    def seconds(self) -> float:
        return self.answer["seconds"]


class Mailbox:
    """The account at the server and its connection here."""

    def __init__(self, server: Dovecot) -> None:
        self.server = server
        self.owner = _owner()
        self.connection = self._connect()

    def _connect(self) -> Connection:
        reached = self.server.account(USER)
        made = Connection.objects.create(
            workspace=self.owner.workspace, user=self.owner.user, provider="imap", account_id=USER,
            account_email=USER, options=dict(reached.settings), credentials=dict(reached.secrets),
        )  # fmt: skip
        SyncState.objects.create(connection=made, type="email")
        return made

    def first_sync(self, worker: Worker, count: int) -> FirstSync:
        """From nothing. The rows of an earlier one are dropped first, with their tables' bloat."""
        self.connection.delete()
        with database.cursor() as cursor:
            cursor.execute(f"TRUNCATE {', '.join(TABLES)} CASCADE")
            cursor.execute("CHECKPOINT")
        self.connection = self._connect()
        began = time.perf_counter()
        with self._first_page(began) as readable:
            answer = worker.sync(self.connection)
        if answer["added"] != count:
            raise RuntimeError(f"{answer['added']} of {count} messages arrived.")
        return FirstSync(answer, readable[0])

    @contextmanager
    def _first_page(self, began: float) -> Iterator[list[float]]:
        """Looks at the inbox, as a user would, until its first page is full."""
        readable: list[float] = []

        def look() -> None:
            try:
                while not readable:
                    page = inbox(user=self.owner.user, workspace=self.owner.workspace, query=InboxQuery(folder=INBOX))
                    if page.total >= FIRST:
                        readable.append(time.perf_counter() - began)
                    time.sleep(0.02)
            finally:
                database.close()

        looking = threading.Thread(target=look)
        looking.start()
        yield readable
        looking.join()

    def changed_sync(self, worker: Worker, number: int) -> float:
        """New mail and changed flags, then a sync."""
        with self.server.door(USER) as door:
            for mail in corpus.mails(NEW, seed=1_000 + number):
                door.append("INBOX", None, None, mail.raw.replace(b"\n", b"\r\n"))  # type: ignore[arg-type]
            door.select("INBOX")
            [found] = door.uid("SEARCH", "ALL")[1]
            chosen = random.Random(number).sample(found.split(), min(FLAGGED, len(found.split())))
            door.uid("STORE", b",".join(chosen).decode(), "+FLAGS.SILENT", f"(\\Flagged mark{number})")
            door.uid(
                "STORE", b",".join(chosen).decode(), "-FLAGS.SILENT" if number % 2 else "+FLAGS.SILENT", "(\\Seen)"
            )
        answer = worker.sync(self.connection)
        if answer["added"] != NEW:
            raise RuntimeError(f"{answer['added']} of {NEW} new messages arrived.")
        return float(answer["seconds"])


def _owner() -> Membership:
    found = Membership.objects.filter(user__email=USER).first()
    return found or members.create_workspace(by=None, name="Bench", owner_email=USER, owner_password=PASSWORD)


def deliver(server: Dovecot, mails: Iterator[corpus.Mail]) -> list[int]:
    """Put mail where the server looks for it; the sizes."""
    home = server.root / "home" / USER
    sizes = corpus.fill(home / "Maildir", mails)
    owner, group = _mail_owner()
    with suppress(PermissionError):
        for path in (home, *home.rglob("*")):
            shutil.chown(path, owner, group)
    return sizes
