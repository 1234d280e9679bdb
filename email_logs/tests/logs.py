"""Tables and entries of logs for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from email_logs.models import EmailLogEntry, EmailLogTable
from email_logs.services import tables
from email_logs.states import State
from integrations.models import Integration
from workspaces.models import Workspace
from workspaces.tests.fixtures import Actor

API = "/api/tables"
FIRST = datetime(2026, 3, 1, tzinfo=UTC)


def provider(workspace: Workspace, type: str = "EMAIL_PROVIDER", **columns: Any) -> Integration:
    """An email provider, as if nobody had told of it."""
    return Integration.objects.create(workspace=workspace, type=type, **{"name": "Production Email", **columns})


def table_of(workspace: Workspace, type: str = "EMAIL_PROVIDER") -> EmailLogTable:
    """The table of a new provider."""
    return tables.of_integration(provider(workspace, type))


def entry(table: EmailLogTable, number: int = 0, **columns: Any) -> EmailLogEntry:
    """Entry `number` is sent so many minutes after the first."""
    sent_at = FIRST + timedelta(minutes=number)
    given = {
        "to": f"person{number}@example.com", "sender": "noreply@acme.example", "subject": f"Letter {number}",
        "state": State.DELIVERED, "message_id": f"id-{number}", "source": "Workflow Email", "sent_at": sent_at,
        "state_at": sent_at,
    }  # fmt: skip
    return EmailLogEntry.objects.create(workspace=table.workspace, table=table, **{**given, **columns})


def entries(table: EmailLogTable, count: int, **columns: Any) -> list[EmailLogEntry]:
    """Oldest first."""
    return [entry(table, number, **columns) for number in range(count)]


def many(table: EmailLogTable, count: int) -> None:
    """So many delivered mails, at once."""
    EmailLogEntry.objects.bulk_create(
        [
            EmailLogEntry(workspace=table.workspace, table=table, to=f"person{n}@example.com", sender="a@b.example",
                          subject=f"Letter {n} {'x' * 100}", state=State.DELIVERED, message_id=f"id-{n}")
            for n in range(count)
        ],
        batch_size=5_000,
    )  # fmt: skip


def rows(actor: Actor, table: EmailLogTable, **query: Any) -> dict[str, Any]:
    """A page of rows."""
    answer = actor.client.get(f"{API}/{table.pk}/rows", query)
    assert answer.status_code == 200, answer.content
    body: dict[str, Any] = answer.json()
    return body


def subjects(actor: Actor, table: EmailLogTable, **query: Any) -> list[str]:
    """Of a page, in its order."""
    return [row["Subject"] for row in rows(actor, table, **query)["data"]]
