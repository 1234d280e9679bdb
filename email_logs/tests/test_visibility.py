"""Mail of users' own mailboxes in the log: colleagues see it as far as each mailbox's visibility allows."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from core.ids import uuid7
from email_logs.models import DeliveryEvent, EmailLogEntry, EmailLogTable
from email_logs.services import tables
from email_logs.states import State
from email_logs.tests.logs import API, entry, rows, subjects
from integrations.models import Connection
from integrations.tests.factories import ConnectionFactory
from workspaces.models import Role, Workspace
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db


def connect(actor: Actor, **columns: Any) -> Connection:
    made: Connection = ConnectionFactory(workspace=actor.workspace, user=actor.user, **columns)
    return made


@pytest.fixture
def colleague(workspace: Workspace) -> Actor:
    return make_actor(workspace=workspace, role=Role.ADMIN)


@pytest.fixture
def table(workspace: Workspace) -> EmailLogTable:
    return tables.of_mailboxes(workspace, "imap")


@pytest.fixture
def mailbox(member: Actor) -> Connection:
    return connect(member)


@pytest.fixture
def sent(table: EmailLogTable, mailbox: Connection) -> EmailLogEntry:
    """A mail of the member, which came back."""
    made = entry(
        table, connection_id=mailbox.pk, subject="Secret plan", bcc="hidden@example.com", attachments=3,
        error="550 hidden@example.com", state=State.BOUNCED,
    )  # fmt: skip
    DeliveryEvent.objects.create(
        workspace=table.workspace, table=table, entry_id=made.pk, event_key="1", kind="bounced", at=made.sent_at,
        recipients=["hidden@example.com"], words="550 hidden@example.com",
    )  # fmt: skip
    return made


def show(mailbox: Connection, visibility: str) -> None:
    Connection.objects.filter(pk=mailbox.pk).update(visibility=visibility)


QUERIES: list[dict[str, str]] = [
    {},
    {"q": "secret"},
    {"status": "failed"},
    {"source": "Workflow Email"},
    {"sort": "sentAt"},
]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("visibility", ["private", "metadata", "full"])
def test_owner_sees_their_own_whole(
    member: Actor, table: EmailLogTable, mailbox: Connection, sent: EmailLogEntry, query: Any, visibility: str
) -> None:
    show(mailbox, visibility)
    [row] = rows(member, table, **query)["data"]
    assert (row["BCC"], row["Attachments"], row["withheld"]) == ("hidden@example.com", 3, [])
    assert [step["words"] for step in row["history"] if step["what"] == "bounced"] == ["550 hidden@example.com"]


@pytest.mark.parametrize("query", QUERIES)
def test_colleague_sees_nothing_of_a_private_mailbox(
    colleague: Actor, table: EmailLogTable, sent: EmailLogEntry, query: Any
) -> None:
    answer = rows(colleague, table, **query)
    assert (answer["data"], answer["pagination"]["total"]) == ([], 0)
    missing = colleague.client.get(f"{API}/{table.pk}/rows/{uuid7()}")
    foreign = colleague.client.get(f"{API}/{table.pk}/rows/{sent.pk}")
    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert foreign.json()["error"]["message"] == missing.json()["error"]["message"]
    assert exported(colleague, table) == []


@pytest.mark.parametrize("query", QUERIES)
def test_colleague_sees_who_when_and_what_about_where_metadata_is_shared(
    colleague: Actor, table: EmailLogTable, mailbox: Connection, sent: EmailLogEntry, query: Any
) -> None:
    show(mailbox, "metadata")
    [row] = rows(colleague, table, **query)["data"]
    assert (row["Subject"], row["To"], row["Status"]) == ("Secret plan", "person0@example.com", "failed")
    assert row["withheld"] == ["BCC", "Error", "Attachments"]
    assert (row["BCC"], row["Error"], row["Attachments"]) == (None, None, None)
    assert "bounced" in [step["what"] for step in row["history"]]
    for answer in (row, colleague.client.get(f"{API}/{table.pk}/rows/{sent.pk}").json(), exported(colleague, table)):
        assert "hidden" not in str(answer)
    assert exported(colleague, table)[0]["Subject"] == "Secret plan"


def test_colleague_sees_all_of_a_mailbox_that_is_shared_whole(
    colleague: Actor, table: EmailLogTable, mailbox: Connection, sent: EmailLogEntry
) -> None:
    show(mailbox, "full")
    [row] = rows(colleague, table)["data"]
    assert (row["BCC"], row["withheld"]) == ("hidden@example.com", [])
    assert exported(colleague, table)[0]["BCC"] == "hidden@example.com"


def test_each_sees_their_own_and_what_is_shared(
    member: Actor, colleague: Actor, table: EmailLogTable, mailbox: Connection, sent: EmailLogEntry
) -> None:
    own = connect(colleague, visibility="full")
    entry(table, 1, connection_id=own.pk, subject="Open plan")
    assert subjects(member, table) == ["Open plan", "Secret plan"]
    assert subjects(colleague, table) == ["Open plan"]
    assert rows(colleague, table, q="plan")["pagination"]["total"] == 1


def test_purged_mailbox_shows_nothing_to_anybody(
    member: Actor, colleague: Actor, table: EmailLogTable, mailbox: Connection, sent: EmailLogEntry
) -> None:
    entry(table, 1, connection_id=None)
    show(mailbox, "full")
    mailbox.delete()
    for actor in (member, colleague):
        assert rows(actor, table)["data"] == []


def test_mailbox_of_another_workspace_is_not_seen(
    outsider: Actor, table: EmailLogTable, sent: EmailLogEntry, member: Actor
) -> None:
    elsewhere = tables.of_mailboxes(outsider.workspace, "imap")
    foreign = connect(outsider, visibility="full")
    entry(elsewhere, connection_id=foreign.pk)
    assert subjects(member, table) == ["Secret plan"]
    assert member.client.get(f"{API}/{elsewhere.pk}/rows").status_code == 404


def exported(actor: Actor, table: EmailLogTable) -> list[dict[str, str]]:
    answer = actor.client.get(f"{API}/{table.pk}/export")
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(b"".join(answer).decode("utf-8-sig"))))
