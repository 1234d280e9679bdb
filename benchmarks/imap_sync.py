"""Row `imap_sync`: a whole first sync from a real Dovecot beside `mbsync` and `notmuch new`, one after the other.

The product's side is everything: listing, fetching, parsing in the bounded child, threads, bodies, one transaction a
page ("visible"), and then the search rows ("searchable"). mbsync runs as it comes (it waits for the disk after every
message) and without that. Then what follows a first sync: nothing changed, and a hundred new mails with a thousand
changed flags, both sides from the same server.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from django.db import connection as database

from benchmarks import corpus
from benchmarks.measuring import ROUNDS, Missing, Report, say, seconds
from benchmarks.peers import Mbsync, Notmuch, need
from benchmarks.processes import cpu_seconds, database_server
from config.env import PROJECT
from email_sync.records import INBOX, SPAM
from email_sync.services.reading import InboxQuery, inbox
from email_sync.tests.dovecot import PASSWORD, Dovecot, _mail_owner, missing
from integrations.models import Connection, SyncState
from workspaces.models import Membership
from workspaces.services import members

USER = "owner@bench.example"
NEW, FLAGGED = 100, 1_000
FIRST = 50
LARGE = 20_000
"""Messages. More of them are synced once, without a warm-up."""
DURABLE, CARELESS = "mbsync", "mbsync, no fsync"
NO_CHANGE_GOAL_SECONDS = 0.5
_COUNTED = """
    SELECT coalesce(sum(total), 0) FROM email_sync_foldercounter WHERE connection_id = %s AND role IN ('all', 'spam')
"""
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
            _measure(server, worker, options, report, folder)
    finally:
        server.stop()


def _measure(server: Dovecot, worker: Worker, options: argparse.Namespace, report: Report, folder: Path) -> None:
    """A large mailbox is synced once: notmuch alone takes nine minutes for 100,000."""
    count, is_large = options.count, options.count > LARGE
    rounds = options.rounds or (1 if is_large else ROUNDS)
    mailbox, peers = Mailbox(server), _peers(server, folder)
    if options.after_first or not is_large:
        say("warming up")
        mailbox.first_sync(worker, count)
    if not options.after_first:
        _compare_first(report, count, *_first_syncs(worker, mailbox, peers, count, rounds))
    _compare_next(report, worker, mailbox, peers.pulls[DURABLE], rounds)


def _first_syncs(
    worker: Worker, mailbox: Mailbox, peers: Peers, count: int, rounds: int
) -> tuple[dict[str, list[float]], list[float], list[FirstSync]]:
    """Seconds of each mbsync and of notmuch, and what ours took, a round after the other."""
    pulls: dict[str, list[float]] = {name: [] for name in peers.pulls}
    indexed: list[float] = []
    ours: list[FirstSync] = []
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for name, mbsync in peers.pulls.items():
            mbsync.wipe()
            pulls[name].append(seconds(mbsync.pull))
        peers.notmuch.wipe()
        indexed.append(seconds(peers.notmuch.new))
        ours.append(mailbox.first_sync(worker, count))
    return pulls, indexed, ours


def _compare_first(
    report: Report, count: int, pulls: dict[str, list[float]], indexed: list[float], ours: list[FirstSync]
) -> None:
    pulled = {name: report.add(name, "msg/s", [count / s for s in took]) for name, took in pulls.items()}
    both = [pull + index for pull, index in zip(pulls[DURABLE], indexed, strict=True)]
    report.add("notmuch new", "msg/s", [count / s for s in indexed])
    baseline = report.add(f"{DURABLE}, then notmuch new", "msg/s", [count / s for s in both])
    rate = report.add("first sync, searchable", "msg/s", [count / run.seconds for run in ours])
    visible = report.add("first sync, visible", "msg/s", [count / run.visible for run in ours])
    report.ratio("searchable: ratio", rate, baseline, at_least=8)
    report.ratio("visible: ratio", visible, pulled[DURABLE], at_least=1)
    report.ratio("visible: ratio, no fsync", visible, pulled[CARELESS])
    for name in ours[0].work[0]:
        for until, which in (("visible", 0), ("searchable", 1)):
            spent = [run.work[which][name] / count * 1e6 for run in ours]
            report.add(f"{name} until {until}", "µs", spent, "CPU a message")
    report.add("first 50 readable", "s", [run.first_page for run in ours], "from start to a full inbox page")
    report.add("worker peak memory", "MB", [run.answer["peak_mb"] for run in ours])
    report.add("parser peak memory", "MB", [run.answer["parser_mb"] for run in ours])


def _compare_next(report: Report, worker: Worker, mailbox: Mailbox, mbsync: Mbsync, rounds: int) -> None:
    """Both sides look at the same server, in turns."""
    idle: list[tuple[float, float]] = []
    changed: list[tuple[float, float]] = []
    mbsync.pull()
    for number in range(rounds):
        idle.append((worker.sync(mailbox.connection)["seconds"], seconds(mbsync.pull)))
        mailbox.change(number)
        changed.append((mailbox.changed_sync(worker), seconds(mbsync.pull)))
    for name, took, at_most in (("no change", idle, math.inf), (f"{NEW} new, {FLAGGED:,} flags", changed, 5)):
        ours = report.add(name, "s", [our for our, _ in took])
        theirs = report.add(f"{name}, mbsync", "s", [their for _, their in took])
        report.ratio(f"{name}: ratio", ours, theirs, at_most=at_most)
        if at_most == math.inf:
            report.within(f"{name}: goal", ours, NO_CHANGE_GOAL_SECONDS)


# --- the two sides ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Peers:
    """mbsync by how it treats the disk, and notmuch over what it pulled last."""

    pulls: dict[str, Mbsync]
    notmuch: Notmuch


def _peers(server: Dovecot, folder: Path) -> Peers:
    need("mbsync", "notmuch")
    pulls = {}
    for name in (CARELESS, DURABLE):
        (home := folder / f"peer-{len(pulls)}").mkdir()  # a blank would end a path in its settings
        pulls[name] = Mbsync(home, port=server.imap_port, user=USER, password=PASSWORD, fsync=name == DURABLE)
        pulls[name].wipe()
    return Peers(pulls, Notmuch(folder, pulls[DURABLE].store))


class Worker:
    """The worker process; use as a context manager."""

    def __enter__(self) -> Worker:
        command = [sys.executable, "-m", "benchmarks.worker"]
        self._process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._line()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    @property
    def pid(self) -> int:
        return self._process.pid

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
    visible: float
    """Seconds until every message was in a folder's count."""
    work: tuple[dict[str, float], dict[str, float]]
    """CPU seconds of each process until then, and in all."""

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
        before, began = self._spent(worker), time.perf_counter()
        with self._watched(began, worker, count) as (seen, spent):
            answer = worker.sync(self.connection)
        if answer["added"] != count:
            raise RuntimeError(f"{answer['added']} of {count} messages arrived.")
        visible, whole = ({name: at[name] - before[name] for name in at} for at in (*spent, self._spent(worker)))
        return FirstSync(answer, first_page=seen[0], visible=seen[1], work=(visible, whole))

    def _spent(self, worker: Worker) -> dict[str, float]:
        own = cpu_seconds(worker.pid, alone=True)
        return {
            "worker": own,
            "parser": cpu_seconds(worker.pid) - own,
            "PostgreSQL": cpu_seconds(database_server()),
            "Dovecot": cpu_seconds(self.server.pid),
        }

    @contextmanager
    def _watched(
        self, began: float, worker: Worker, count: int
    ) -> Iterator[tuple[list[float], list[dict[str, float]]]]:
        """Looks at the inbox, as a user would: when its first page is full, and when all mail is there. In between at
        the folder's figures alone: a page that is read fifty times a second takes a fifth of the machine's work."""
        seen: list[float] = []
        spent: list[dict[str, float]] = []
        over = threading.Event()

        def see(there: Callable[[], bool]) -> None:
            while not there():
                if over.wait(0.02) and not there():
                    raise RuntimeError("The sync ended and its mail is not to be seen.")
            seen.append(time.perf_counter() - began)

        def look() -> None:
            try:
                see(lambda: self._shown(INBOX) >= FIRST)
                see(lambda: self._counted() >= count and self._shown("all") + self._shown(SPAM) >= count)
                spent.append(self._spent(worker))
            finally:
                database.close()

        with ThreadPoolExecutor(1, "look") as thread:
            looking = thread.submit(look)
            try:
                yield seen, spent
            finally:
                over.set()  # also where the worker broke: nobody is waited for then
            looking.result()

    def _shown(self, folder: str) -> int:
        return inbox(query=InboxQuery(folder=folder), user=self.owner.user, workspace=self.owner.workspace).total

    def _counted(self) -> int:
        with database.cursor() as cursor:
            cursor.execute(_COUNTED, [self.connection.pk])
            return int(cursor.fetchone()[0])

    def change(self, number: int) -> None:
        """New mail and changed flags at the server."""
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

    def changed_sync(self, worker: Worker) -> float:
        """A sync after `change`; its seconds."""
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
