"""Rows of a log for tests that follow it."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from core.ids import uuid7
from email_logs.models import EmailLogEntry, EmailLogTable
from email_logs.states import State
from integrations.models.event import WRITING_TRANSACTION
from workspaces.models import Workspace


def log_table(workspace: Workspace, provider: str = "email-provider") -> EmailLogTable:
    return EmailLogTable.objects.create(workspace=workspace, provider=provider)


def new_entry(table: EmailLogTable, **columns: Any) -> EmailLogEntry:
    """Not saved."""
    given = {"to": "bob@x.example", "sender": "us@x.example", "subject": "Hello", "state": State.ACCEPTED}
    return EmailLogEntry(workspace_id=table.workspace_id, table=table, **{**given, **columns})


def entry(table: EmailLogTable, **columns: Any) -> EmailLogEntry:
    row = new_entry(table, **columns)
    row.save(force_insert=True)
    return row


def old_id(at: datetime) -> uuid.UUID:
    """An id as it was made then."""
    return uuid.UUID(int=(int(at.timestamp() * 1000) << 80) | (uuid7().int & ((1 << 80) - 1)))


def move(row: EmailLogEntry, state: str, **columns: Any) -> None:
    """As the product moves an entry."""
    EmailLogEntry.objects.filter(pk=row.pk).update(state=state, transaction=WRITING_TRANSACTION, **columns)
