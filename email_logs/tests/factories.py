"""Rows of this app for tests."""

from __future__ import annotations

from typing import Any

from email_logs.models import EmailLogEntry, EmailLogTable
from email_logs.services import tables
from email_logs.states import State
from integrations.models import Integration
from integrations.services import integrations
from workspaces.tests.fixtures import Actor

SENDER = "hub@mail.example"


def email_provider(actor: Actor, type: str, credentials: dict[str, str], **config: Any) -> Integration:
    """A workspace's email provider."""
    return integrations.create(
        workspace=actor.workspace,
        by=actor.user,
        name="Mail",
        type=type,
        config={"fromEmail": SENDER, **config},
        credentials=credentials,
    )


def entry(integration: Integration, **columns: Any) -> EmailLogEntry:
    """A mail its provider has taken, unless `columns` say otherwise."""
    return entry_in(tables.of_integration(integration), **columns)


def entry_in(table: EmailLogTable, **columns: Any) -> EmailLogEntry:
    """The same in a table."""
    usual = {
        "to": "ada@hub.example",
        "sender": SENDER,
        "subject": "Hello",
        "state": State.ACCEPTED,
        "message_id": "mail-1",
    }
    made = EmailLogEntry.objects.create(workspace_id=table.workspace_id, table=table, **{**usual, **columns})
    made.refresh_from_db()
    return made
