"""Rows of mail for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import factory
from factory.django import DjangoModelFactory

from core.ids import uuid7
from email_sync.models import Message, MessageBody, Thread
from integrations.models import Connection, SyncState
from workspaces.tests.fixtures import Actor


def connect(actor: Actor, email: str = "", **columns: Any) -> Connection:
    """A password mailbox of this actor, as `connect_imap` would have left it."""
    address = email or f"{uuid7().hex}@contract.test"
    connection = Connection.objects.create(
        workspace=actor.workspace,
        user=actor.user,
        provider=columns.pop("provider", "imap"),
        account_id=address,
        account_email=address,
        credentials={"imapPassword": "secret", "smtpPassword": "secret"},
        **columns,
    )
    SyncState.objects.create(connection=connection, type="email")
    return connection


class ThreadFactory(DjangoModelFactory[Thread]):
    """A thread; give `connection`."""

    class Meta:
        model = Thread

    subject = "About lunch"


class MessageFactory(DjangoModelFactory[Message]):
    """A message in the inbox with a body; give `connection`. Later ones are newer."""

    class Meta:
        model = Message
        skip_postgeneration_save = True

    thread = factory.SubFactory(ThreadFactory, connection=factory.SelfAttribute("..connection"))
    remote_id = factory.Sequence(lambda n: f"made/1/{n}")
    stream = "inbox"
    folder_ids = ["inbox"]
    in_inbox = True
    message_id = factory.Sequence(lambda n: f"{n}@contract.test")
    subject = factory.Sequence(lambda n: f"Message {n}")
    from_name = "Ada"
    from_email = "ada@example.com"
    recipients = {"to": [["Bob", "bob@example.com"]], "cc": [], "bcc": []}
    received_at = factory.Sequence(lambda n: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=n))
    sent_at = factory.SelfAttribute("received_at")

    @factory.post_generation
    def body(self: Message, create: bool, extracted: dict[str, Any] | None, **_: Any) -> None:
        """`body={"text": …}` sets what the page of the message shows."""
        MessageBody.objects.create(message=self, **(extracted or {"text": "Good morning."}))
