"""Kills workers of a running product and compares what two first syncs of a mailbox end in, row by row.

Used by the kill tests: a short one of every `make test`, a long one against real servers.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
import psycopg

from simulator.visitor import Visitor
from tests.running import Product

WAIT_SECONDS = 60

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
        SELECT m.remote_id, s.connection_id = m.connection_id, month, md5(document::text)
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
    SELECT status, fence, error_code, done FROM integrations_syncrun WHERE connection_id = %s
    ORDER BY created_at DESC LIMIT 1
"""
PROVIDER = "SELECT provider FROM integrations_connection WHERE id = %s"
TIME_PASSES = """
    UPDATE integrations_syncrun SET lease_until = now() - interval '1 second', rung_at = rung_at - interval '90 seconds'
    WHERE status = 'running'
"""
"""Whoever held the lease is dead: a minute and a half goes by, so that the lease and the last ring are over."""


@dataclass
class Scene:
    """A running product, its database, and a user of it."""

    product: Product
    database_url: str
    visitor: Visitor
    dice: random.Random = field(default_factory=lambda: random.Random(20))
    killed: list[str] = field(default_factory=list)

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

    def run(self, connection: str) -> tuple[str, int, str, int]:
        """Status, fence, error and progress of the newest run."""
        [row] = self.ask(RUN, connection)
        status, fence, error, done = row
        return status, fence, error, done

    def ended(self, connection: str) -> bool:
        status, _, error, _ = self.run(connection)
        assert status != "failed", error
        return status == "done"

    def kill_during(self, connection: str, *, within: float, whole_worker: bool) -> bool:
        """`kill -9` at a random point of the next slice of this connection's run; False where the run ended first."""
        claimed = self.run(connection)[1]

        def at_work() -> bool:
            status, fence, _, _ = self.run(connection)
            return status == "done" or (status == "running" and (fence > claimed or not self.killed))

        self.wait_until(at_work, "work on the run")
        threading.Event().wait(self.dice.uniform(0, within))
        if self.ended(connection):
            return False
        self._kill(whole_worker=whole_worker)
        return True

    def _kill(self, *, whole_worker: bool) -> None:
        """The worker's pool and what it started; with `whole_worker` the worker itself, which the supervisor brings
        back."""
        worker = self.product.children()["sync"]
        family = worker.children(recursive=True)
        victims = [worker, *family] if whole_worker else family
        for process in victims:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        assert psutil.wait_procs(victims, timeout=5)[1] == []
        self.killed.append("worker" if whole_worker else "pool")
        self.ask(TIME_PASSES)

    def kill_web(self) -> None:
        """The processes that answer requests; gunicorn's first one starts others."""
        for process in self.product.children()["web"].children():
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    # --- comparing ------------------------------------------------------------------------------------------------

    def undisturbed(self, connection: str) -> dict[str, list[str]]:
        """What a first sync that nobody disturbs ends in. The connection is removed with all of it."""
        self.wait_until(lambda: self.ended(connection), "the end of an undisturbed sync")
        rows, [(provider,)] = self.rows(connection), self.ask(PROVIDER, connection)
        self.visitor.call("DELETE", f"oauth/{provider}", connectionId=connection, purge="true")
        assert not any(self.rows(connection).values())
        return rows

    def rows(self, connection: str) -> dict[str, list[str]]:
        """All that the connection holds."""
        return {name: sorted(map(str, self.ask(sql, connection))) for name, sql in ROWS.items()}


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
