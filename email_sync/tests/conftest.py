"""Fixtures of the mail tests: a mailbox in memory, connected and synced."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest
from django.db.models.functions import Now

from email_sync.providers import MAIL_PROVIDERS
from email_sync.services.engine import EmailEngine
from email_sync.tests.factories import connect
from email_sync.tests.memory import Mailbox, Memory
from integrations.models import Connection, SyncRun
from integrations.services import sync_runs
from workspaces.tests.fixtures import Actor


@dataclass
class Account:
    """A member's mailbox in memory and its connection."""

    connection: Connection
    box: Mailbox = field(default_factory=Mailbox)

    def sync(self, trigger: str = "user") -> SyncRun:
        """One whole run, as a worker would do it. What it had to wait for is over."""
        run = sync_runs.start(connection=self.connection, type="email", trigger=trigger)
        SyncRun.objects.filter(pk=run.pk).update(next_attempt_at=Now())
        while sync_runs.execute(run.pk):
            pass
        run.refresh_from_db()
        self.connection.refresh_from_db()
        return run

    def slice(self, seconds: float = 30.0) -> bool:
        """One slice of the engine itself, errors included."""
        run = sync_runs.start(connection=self.connection, type="email", trigger="user")
        held = SyncRun.objects.claim(run.pk, lease_seconds=60)
        assert held is not None
        more = EmailEngine().run(held, deadline=time.monotonic() + seconds)
        held.finish()
        return more


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Password connections are mailboxes in memory."""
    monkeypatch.setitem(MAIL_PROVIDERS._loaded, Memory.key, Memory)
    monkeypatch.setattr(Memory, "mailboxes", {})


@pytest.fixture
def account(memory: None, member: Actor) -> Account:
    """The member's connected, empty mailbox."""
    connection = connect(member, "ada@contract.test")
    made = Account(connection)
    Memory.mailboxes[connection.account_email] = made.box
    return made
