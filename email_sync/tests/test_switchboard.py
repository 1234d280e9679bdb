"""The listening process: which mailboxes it holds, what it marks, what it does about servers that fail."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection as database
from django.db.models.functions import Now

from core.ids import uuid7
from email_sync.models import PushChannel
from email_sync.services import listening, push_standing, switchboard
from email_sync.services.switchboard import Limits, Switchboard
from email_sync.tests.factories import connect
from email_sync.tests.idle_server import IdleServer
from integrations.models import Connection, SyncRun, SyncState
from workspaces.services import periodic
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE_SECONDS = 15.0


@pytest.fixture
def server(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[IdleServer]:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    monkeypatch.setattr(switchboard, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(switchboard, "RETRY_BASE", 0.1)
    with IdleServer() as running:
        yield running


class Process:
    """A listening process in a thread."""

    def __init__(self, **limits: Any) -> None:
        self.rung: list[SyncRun] = []
        self.limits = Limits(**({"mailboxes": 100, "per_host": 100, "reissue_seconds": 60.0} | limits))
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._started = threading.Event()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.switchboard = Switchboard(self.limits, self.rung.extend)
        self._started.set()
        await self.switchboard.run(self._stop)

    def __enter__(self) -> Process:
        self._thread.start()
        self._started.wait(5)
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """As SIGTERM does."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()


def mailbox(actor: Actor, server: IdleServer, email: str = "ada@contract.test", **columns: Any) -> Connection:
    options = {"imap": {"host": "127.0.0.1", "port": server.port, "security": "none"}}
    made = connect(actor, email, options=options, **columns)
    made.credentials = {"imapPassword": "secret"}
    made.save()
    SyncState.objects.filter(connection=made).update(next_sync_at="2099-01-01T00:00Z")
    return made


def until(happened: Callable[[], Any]) -> float:
    began = time.monotonic()
    while not happened():
        assert time.monotonic() - began < PATIENCE_SECONDS, list(PushChannel.objects.values())
        time.sleep(0.02)
    return time.monotonic() - began


def long_ago() -> None:
    """The run that the log-in began is over, and a while back."""
    SyncRun.objects.update(status="done", created_at="2026-01-01T00:00Z")
    SyncState.objects.update(next_sync_at="2099-01-01T00:00Z")


def test_new_mail_is_a_run_at_once(server: IdleServer, member: Actor) -> None:
    ada = mailbox(member, server)
    with Process() as process:
        until(lambda: process.rung)  # what happened before it listened
        assert push_standing.of(ada).status == "active"
        assert PushChannel.objects.get().last_notified_at is None
        long_ago()
        process.rung.clear()
        server.tell(b"* 1 EXISTS")
        assert until(lambda: process.rung) < 1.0
        assert [(run.connection_id, run.trigger) for run in process.rung] == [(ada.pk, "push")]
        assert PushChannel.objects.get().last_notified_at is not None
    assert push_standing.of(ada).status == "off"


def test_a_storm_is_one_run(server: IdleServer, member: Actor) -> None:
    mailbox(member, server)
    with Process() as process:
        until(lambda: process.rung)
        long_ago()
        for _ in range(500):
            server.tell(rb"* 2 FETCH (FLAGS (\Seen))")
        until(lambda: SyncRun.objects.filter(status="queued").exists())
        assert SyncRun.objects.filter(status="queued").count() == 1


def test_mailboxes_are_followed_as_they_come_change_and_go(server: IdleServer, member: Actor, admin: Actor) -> None:
    ada = mailbox(member, server)
    with Process():
        until(lambda: server.idle() == 1)
        bob = mailbox(admin, server, "bob@contract.test")
        until(lambda: server.idle("bob@contract.test") == 1)
        bob.refresh_from_db()
        bob.save()  # as a renewal by its user does
        until(lambda: server.log_ins == 3 and server.idle("bob@contract.test") == 1)
        Connection.objects.filter(pk=ada.pk).update(paused=True)
        until(lambda: server.idle("ada@contract.test") == 0)
        assert push_standing.of(ada).status == "off"
        bob.delete()
        until(lambda: server.idle() == 0)


def test_connection_that_breaks_is_made_again_and_looked_at(server: IdleServer, member: Actor) -> None:
    mailbox(member, server)
    with Process() as process:
        until(lambda: process.rung)
        long_ago()
        process.rung.clear()
        server.hang_up()
        until(lambda: server.idle() == 1 and process.rung)


def test_refused_log_in_is_left_to_the_sync_and_not_repeated(server: IdleServer, member: Actor) -> None:
    ada = mailbox(member, server)
    ada.credentials = {"imapPassword": "wrong"}
    ada.save()
    with Process():
        until(lambda: push_standing.of(ada).status == "failed")
        time.sleep(0.5)
        assert server.log_ins == 1
        ada.refresh_from_db()
        assert not ada.needs_reauth
        ada.credentials = {"imapPassword": "secret"}
        ada.save()
        until(lambda: push_standing.of(ada).status == "active")


def test_server_without_idle_is_polled_only_and_says_so(server: IdleServer, member: Actor) -> None:
    server.capabilities = b"IMAP4rev1 AUTH=PLAIN"
    ada = mailbox(member, server)
    with Process():
        until(lambda: "does not offer IDLE" in push_standing.of(ada).message)
        assert push_standing.of(ada).status == "off"


def test_one_server_is_listened_to_for_so_many_mailboxes(server: IdleServer, member: Actor) -> None:
    for index in range(3):
        mailbox(member, server, f"m{index}@contract.test")
    with Process(per_host=2):
        until(lambda: PushChannel.objects.filter(message=switchboard.WAITING).count() == 1)
        until(lambda: server.idle() == 2)
        [held, *_] = PushChannel.objects.filter(status="active")
        Connection.objects.filter(pk=held.connection_id).update(paused=True)
        until(lambda: PushChannel.objects.filter(status="active").count() == 2)


def test_two_processes_share_the_mailboxes_and_the_second_takes_over(server: IdleServer, member: Actor) -> None:
    for index in range(3):
        mailbox(member, server, f"m{index}@contract.test")
    with Process(mailboxes=10) as first:
        until(lambda: server.idle() == 3)
        with Process(mailboxes=10) as second:
            time.sleep(0.6)
            assert (server.idle(), second.switchboard.listening) == (3, 0)
            first.stop()
            until(lambda: second.switchboard.listening == 3 and server.idle() == 3)


def test_take_leaves_what_another_holds_until_its_lease_ends(server: IdleServer, member: Actor) -> None:
    ada = mailbox(member, server)
    first, second = uuid7(), uuid7()
    assert [row.connection_id for row in listening.take(first, limit=10)] == [ada.pk]
    assert listening.take(second, limit=10) == []
    PushChannel.objects.update(lease_until=Now())
    assert [row.connection_id for row in listening.take(second, limit=10)] == [ada.pk]
    assert listening.take(first, limit=10) == []
    listening.release(second)
    assert len(listening.take(first, limit=10)) == 1


def test_take_stops_at_its_limit(server: IdleServer, member: Actor) -> None:
    for index in range(3):
        mailbox(member, server, f"m{index}@contract.test")
    assert len(listening.take(uuid7(), limit=2)) == 2
    assert len(listening.take(uuid7(), limit=2)) == 1


def test_database_that_breaks_off_costs_no_mark(server: IdleServer, member: Actor) -> None:
    mailbox(member, server)
    with Process() as process:
        until(lambda: process.rung)
        long_ago()
        process.rung.clear()
        with database.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        server.tell(b"* 1 EXISTS")
        until(lambda: process.rung)
        assert server.log_ins == 1


def test_process_shows_that_it_lives(server: IdleServer) -> None:
    with Process():
        until(lambda: periodic.seconds_since_beat(name="idle") is not None)
