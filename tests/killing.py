"""Kills workers of a running product and compares what two first syncs of a mailbox end in, row by row.

Used by the kill tests: a short one of every `make test`, a long one against real servers. `Load` are people who go on
using the product meanwhile.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
import psycopg

from simulator.visitor import Visitor
from tests.running import Product

WAIT_SECONDS = 120

ROWS = {
    "messages": """
        SELECT m.remote_id, stream, folder_ids, in_inbox, in_sent, in_archive, in_drafts, in_trash, in_spam, is_read,
               is_starred, message_id, subject, from_name, from_email, recipients::text, snippet, sent_at, received_at,
               size, has_attachments, defect, removed_at, content_key
        FROM email_sync_message m WHERE m.connection_id = %s""",
    "bodies": """
        SELECT m.remote_id, md5(row(text, html, headers::text, in_reply_to, "references", reply_to::text)::text)
        FROM email_sync_messagebody b JOIN email_sync_message m ON m.id = b.message_id WHERE m.connection_id = %s""",
    "search": """
        SELECT m.remote_id, s.received_at, cardinality(periods), md5(words::text || s.text)
        FROM email_sync_messagesearch s JOIN email_sync_message m ON m.id = s.message_id WHERE m.connection_id = %s""",
    "attachments": """
        SELECT m.remote_id, part_id, file_name, content_type, a.size, inline, content_id
        FROM email_sync_attachment a JOIN email_sync_message m ON m.id = a.message_id WHERE m.connection_id = %s""",
    "threads": """
        SELECT array_agg(m.remote_id ORDER BY m.remote_id), t.remote_id, t.message_count, t.unread_count,
               t.last_message_at, t.merged_into_id
        FROM email_sync_thread t JOIN email_sync_message m ON m.thread_id = t.id
        WHERE t.connection_id = %s GROUP BY t.id""",
    "counters": "SELECT role, total, unread FROM email_sync_foldercounter WHERE connection_id = %s",
    "folders": "SELECT remote_id, name, role FROM email_sync_folder WHERE connection_id = %s",
    "cursors": """
        SELECT stream, cursor <> '', backfill_token, backfill_done, reconcile, listed, total, held_reason
        FROM integrations_synccursor WHERE connection_id = %s""",
}
"""What a connection holds, in words that do not depend on our own ids and times."""

RUN = """
    SELECT id::text, status, fence, attempts, holder, error_code FROM integrations_syncrun WHERE connection_id = %s
    ORDER BY created_at DESC LIMIT 1
"""
FENCE = "SELECT fence FROM integrations_syncrun WHERE id = %s"
PROVIDER = "SELECT provider FROM integrations_connection WHERE id = %s"
TIME_PASSES = """
    UPDATE integrations_syncrun SET lease_until = now() - interval '1 second', rung_at = rung_at - interval '90 seconds'
    WHERE status = 'running'
"""
"""Whoever held the lease is dead: a minute and a half goes by, so that the lease and the last ring are over."""


IN_A_RUN = 3
"""Deaths of workers that write no page between them: more would fail the run, as they should."""


@dataclass(frozen=True)
class Run:
    """A row of a sync run at one moment."""

    id: str
    status: str
    fence: int
    attempts: int
    holder: str
    error: str

    def is_held_by(self, processes: list[psutil.Process]) -> bool:
        """Whether one of them works on it: the row names its process (`core.holder`)."""
        pid = self.holder.rpartition("/")[2].partition("@")[0]
        return self.status == "running" and pid in {str(process.pid) for process in processes}


@dataclass(frozen=True)
class Kill:
    """Which processes died, and of which run, claimed how often by then."""

    what: str
    run: str
    fence: int


@dataclass
class Scene:
    """A running product, its database, and a user of it."""

    product: Product
    database_url: str
    visitor: Visitor
    dice: random.Random = field(default_factory=lambda: random.Random(20))
    killed: list[Kill] = field(default_factory=list)

    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(sql, values or None)
            return cursor.fetchall() if cursor.description else []

    def wait_until(self, happened: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not happened():
            assert time.monotonic() < deadline, f"{what} did not happen\n{self.product.output[-5000:]}"
            threading.Event().wait(0.02)

    # --- runs and kills -------------------------------------------------------------------------------------------

    def run(self, connection: str) -> Run:
        """The newest."""
        [row] = self.ask(RUN, connection)
        return Run(*row)

    def ended(self, connection: str) -> bool:
        run = self.run(connection)
        assert run.status != "failed", run.error
        return run.status == "done"

    def kill_during(self, connection: str, *, within: float, whole_worker: bool) -> bool:
        """`kill -9` of the process that works on this connection's run, at a random point of a slice that no kill has
        hit yet, with pages written between kills; False where the run ended first. `whole_worker` takes the worker with
        all its pool and the supervisor brings it back, else the pool dies and the worker brings it back."""

        def at_work() -> bool:
            return self.ended(connection) or self._may_die(self.run(connection))

        while True:
            self.wait_until(at_work, "work on the run")
            threading.Event().wait(self.dice.uniform(0, within))
            if self.ended(connection):
                return False
            if self._kill(connection, whole_worker=whole_worker):
                return True

    def _may_die(self, run: Run) -> bool:
        hit = max((kill.fence for kill in self.killed if kill.run == run.id), default=0)
        return run.status == "running" and run.fence > hit and run.attempts <= IN_A_RUN

    def _kill(self, connection: str, *, whole_worker: bool) -> bool:
        """The worker's pool and what it started, or all of it. They stand still while one looks what they hold, so that
        the blow is known to hit this run; False where it would not, and nobody dies."""
        worker = self.product.children().get("sync")
        if worker is None:  # the supervisor is bringing it back
            return False
        family = worker.children(recursive=True)
        victims = [worker, *family] if whole_worker else family
        _signal(victims, signal.SIGSTOP)
        run = self.run(connection)
        if not (self._may_die(run) and run.is_held_by(victims)):
            _signal(victims, signal.SIGCONT)
            return False
        _signal(victims, signal.SIGKILL)
        self.killed.append(Kill("worker" if whole_worker else "pool", run.id, run.fence))
        assert psutil.wait_procs(victims, timeout=30)[1] == []
        self.ask(TIME_PASSES)
        return True

    def check_kills_hit(self) -> None:
        """After the ends of the runs: each that lost its worker was claimed again by another one."""
        for kill in self.killed:
            assert self.ask(FENCE, kill.run)[0][0] > kill.fence, f"a kill hit nothing: {kill}"

    def kill_web(self) -> None:
        """The processes that answer requests; gunicorn's first one starts others."""
        _signal(self.product.children()["web"].children(), signal.SIGKILL)

    # --- comparing ------------------------------------------------------------------------------------------------

    def undisturbed(self, connection: str) -> dict[str, list[str]]:
        """What a first sync that nobody disturbs ends in. The connection is removed with all of it."""
        self.wait_until(lambda: self.ended(connection), "the end of an undisturbed sync")
        rows, [(provider,)] = self.rows(connection), self.ask(PROVIDER, connection)
        self.visitor.call("DELETE", f"oauth/{provider}", connectionId=connection, purge="true")
        self.wait_until(lambda: not any(self.rows(connection).values()), "the end of its purge")
        return rows

    def rows(self, connection: str) -> dict[str, list[str]]:
        """All that the connection holds."""
        return {name: sorted(map(str, self.ask(sql, connection))) for name, sql in ROWS.items()}


LOOKS_EVERY_SECONDS = 0.4
"""Each of three: a token may ask ten times a second (`config.settings.api`)."""


@dataclass
class Load:
    """People who go on using the API meanwhile; what they were answered."""

    scene: Scene
    connection: str
    answers: Counter[str] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self.threads = [threading.Thread(target=self._ask, args=(path,)) for path in self._paths()]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(30)

    def _paths(self) -> tuple[str, ...]:
        return "email/inbox?limit=25", f"connections/{self.connection}/status", "email/folders/counts"

    def _ask(self, path: str) -> None:
        while not self.over.wait(LOOKS_EVERY_SECONDS):
            self.answers[self._answer(f"/api/v1/integrations/{path}")] += 1

    def _answer(self, target: str) -> str:
        """ "200", "503 later" where it says when, else what is wrong in words."""
        client = http.client.HTTPConnection("127.0.0.1", self.scene.product.port, timeout=20)
        try:
            client.request("GET", target, headers={"Authorization": f"Bearer {self.scene.visitor.token}"})
            answer = client.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            return f"no answer: {type(error).__name__}"
        finally:
            client.close()
        if answer.status == 503 and answer.getheader("Retry-After") and body.startswith(b'{"error"'):
            return "503 later"
        return str(answer.status)


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def scene(product: Product, database_url: str) -> Scene:
    """Of a product that runs."""
    product.wait_until_ready()
    token = re.search(r"API token\s+(\S+)", product.output)
    assert token, product.output
    return Scene(product, database_url, Visitor(f"http://127.0.0.1:{product.port}", token[1]))


def assert_same(disturbed: dict[str, list[str]], quiet: dict[str, list[str]]) -> None:
    """Row by row; the message names the first that differs."""
    for name in ROWS:
        assert quiet[name] or name in ("attachments",), f"nothing to compare: {name}"
        missing, extra = set(quiet[name]) - set(disturbed[name]), set(disturbed[name]) - set(quiet[name])
        first = json.dumps({"missing": sorted(missing)[:1], "extra": sorted(extra)[:1]})[:2000]
        assert disturbed[name] == quiet[name], f"{name}: {len(missing)} missing, {len(extra)} extra: {first}"
