"""One action on many emails: all that are the caller's, each mailbox at once, the rest told by id."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection as database
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from core.ids import uuid7
from email_sync.models import ChangeKind, FolderCounter, LocalChange, Message, Thread
from email_sync.services import bulk_changes, changes
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.factories import MessageFactory, connect
from email_sync.tests.memory import Mailbox, Memory
from integrations.models import Connection, Event, SyncRun
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

URL = "/api/v1/integrations/email/bulk"


def act(actor: Actor, ids: list[str], action: str) -> Any:
    response = actor.client.post(URL, {"ids": ids, "action": action})
    assert response.status_code == 200, response.content
    return response.json()


@pytest.fixture
def emails(account: Account) -> list[Message]:
    """Five unread mails in the inbox, synced."""
    for number in range(5):
        account.box.append(mail(f"m{number}"), "inbox")
    account.sync()
    return list(Message.objects.select_related("connection").order_by("received_at"))


def ids_of(emails: list[Message]) -> list[str]:
    return [str(email.pk) for email in emails]


@pytest.mark.parametrize(
    ("action", "columns"),
    [
        ("read", {"is_read": True}),
        ("star", {"is_starred": True}),
        ("archive", {"in_archive": True, "in_inbox": False}),
    ],
)
def test_bulk_changes_every_email_and_the_provider_follows(
    account: Account, member: Actor, emails: list[Message], action: str, columns: dict[str, bool]
) -> None:
    assert act(member, ids_of(emails), action) == {"updated": 5, "unchanged": 0, "failed": []}
    assert Message.objects.filter(**columns).count() == 5
    assert SyncRun.objects.active().get().trigger == "change"
    account.sync()
    stored = [account.box.find(ident(f"m{number}")) for number in range(5)]
    assert {(s.read, s.starred, s.folder) for s in stored} == {
        (action == "read", action == "star", "archive" if action == "archive" else "inbox")
    }
    undo = {"read": "unread", "star": "unstar", "archive": "unarchive"}[action]
    assert act(member, ids_of(emails), undo)["updated"] == 5
    assert Message.objects.filter(in_inbox=True, is_read=False, is_starred=False).count() == 5


def test_bulk_keeps_counters_threads_and_queue_as_single_clicks_do(
    account: Account, member: Actor, emails: list[Message]
) -> None:
    changes.change(message=emails[0], kind=ChangeKind.READ, value=True)
    changes.change(message=emails[1], kind=ChangeKind.READ, value=True)
    changes.change(message=emails[1], kind=ChangeKind.READ, value=False)
    assert act(member, ids_of(emails), "read") == {"updated": 4, "unchanged": 1, "failed": []}
    assert FolderCounter.objects.get(connection=account.connection, role="inbox").unread == 0
    assert set(Thread.objects.values_list("unread_count", flat=True)) == {0}
    queue = {change.message_id: (change.value, change.version) for change in LocalChange.objects.all()}
    assert queue == {email.pk: (True, 1) for email in emails} | {emails[1].pk: (True, 3)}
    assert LocalChange.objects.order_by("id")[0].message_id == emails[0].pk  # what was clicked first goes first


def test_bulk_tells_what_it_could_not_do_and_does_the_rest(
    account: Account, member: Actor, outsider: Actor, owner: Actor, emails: list[Message]
) -> None:
    foreign = [MessageFactory(connection=connect(actor)) for actor in (outsider, owner)]
    gone = MessageFactory(connection=account.connection, removed_at=Now(), in_inbox=False)
    unknown = str(uuid7())
    asked = [unknown, "7", "7", *ids_of(foreign), str(gone.pk), *ids_of(emails)]
    answer = act(member, asked, "read")
    assert answer["updated"] == 5
    codes = {item["id"]: item["code"] for item in answer["failed"]}
    assert codes == {**dict.fromkeys([unknown, "7", *ids_of(foreign)], "not_found"), str(gone.pk): "removed"}
    words = {item["message"] for item in answer["failed"] if item["code"] == "not_found"}
    assert len(words) == 1
    assert not Message.objects.filter(pk__in=[row.pk for row in foreign], is_read=True).exists()
    assert not LocalChange.objects.exclude(connection=account.connection).exists()


def test_bulk_over_two_mailboxes_leaves_a_disconnected_one_alone(
    account: Account, member: Actor, emails: list[Message]
) -> None:
    second = Account(connect(member, "second@contract.test"), Mailbox())
    Memory.mailboxes["second@contract.test"] = second.box
    both = [MessageFactory(connection=second.connection), *emails]
    assert act(member, ids_of(both), "star")["updated"] == 6
    assert {run.connection_id for run in SyncRun.objects.active()} == {account.connection.pk, second.connection.pk}
    Connection.objects.filter(pk=second.connection.pk).update(credentials=None, disconnected_at=Now())
    answer = act(member, ids_of(both), "unstar")
    assert (answer["updated"], [item["code"] for item in answer["failed"]]) == (5, ["disconnected"])


def test_bulk_of_a_thousand_costs_as_many_statements_as_of_ten(account: Account, member: Actor) -> None:
    rows = [MessageFactory(connection=account.connection) for _ in range(60)]

    def statements(part: list[Message]) -> int:
        with CaptureQueriesContext(database) as captured:
            done = bulk_changes.change_all(
                user=member.user, workspace=member.workspace, ids=ids_of(part), kind=ChangeKind.READ, value=True
            )
        assert done.updated == len(part)
        return len(captured)

    assert statements(rows[:10]) == statements(rows[10:]) <= 14
    assert Event.objects.filter(type="email.updated").count() == 2


def test_bulk_of_more_than_one_batch_reaches_the_provider_in_one_run(
    account: Account, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "PUSH_BATCH", 10)
    for number in range(35):
        account.box.append(mail(f"m{number}"), "inbox")
    account.sync()
    act(member, ids_of(list(Message.objects.all())), "read")
    Event.objects.all().delete()
    account.box.calls.clear()
    account.sync()
    assert account.box.calls.count("set_flags") == 4
    assert {stored.read for stored in account.box.messages.values()} == {True}
    assert not LocalChange.objects.filter(status="pending").exists()
    told = [event.payload["changed"] for event in Event.objects.filter(type="email.updated")]
    assert sorted(len(ids) for ids in told) == [5, 10, 10, 10]  # who looks sees that nothing is pending any more


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"ids": [], "action": "read"}, "ids"),
        ({"ids": ["x"] * 1001, "action": "read"}, "ids"),
        ({"ids": ["x"], "action": "delete"}, "action"),
        ({"action": "read"}, "ids"),
        ({"ids": ["x"]}, "action"),
    ],
)
def test_bulk_with_a_bad_body_names_the_field(member: Actor, body: Any, field: str) -> None:
    response = member.client.post(URL, body)
    assert response.status_code == 400
    assert list(response.json()["error"]["fields"]) == [field]
