"""Disconnect with purge: hidden at once, gone table by table, proved, and nobody else touched."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.db import connection as database
from django.db import models

from core.errors import LeaseLost
from email_sync.models import Excluded, LocalChange, Message, ScopeChange, Submission, Thread
from email_sync.services.locking import one_writer
from email_sync.tests.conftest import Account
from email_sync.tests.contract import mail
from email_sync.tests.factories import connect
from email_sync.tests.memory import Mailbox, Memory
from integrations.models import Connection, Event, OAuthState, Purge, SyncRun
from integrations.services import disconnecting, purging
from tests.world import fingerprint
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

ROOT = "/api/v1/integrations"


@pytest.fixture
def full(account: Account) -> Account:
    """A mailbox with rows in every table that mail can fill."""
    for number in range(12):
        account.box.append(mail(f"m{number}", attachment=b"x"), "inbox")
    account.sync()
    message = Message.objects.first()
    assert message is not None
    own: dict[str, Any] = {"connection": account.connection}
    LocalChange.objects.create(**own, message=message, kind="read", value=True)
    Submission.objects.create(**own, message_id="s@x", sender="a", recipients=["b"], thread=message.thread)
    Excluded.objects.create(**own, remote_id="out", stream="inbox", reason="age")
    ScopeChange.objects.create(**own)
    Thread.objects.create(**own, merged_into=message.thread)
    return account


def delete(account: Account, actor: Actor) -> int:
    path = f"{ROOT}/oauth/imap?purge=true&connectionId={account.connection.pk}"
    return actor.client.delete(path).status_code


def proof(account: Account, actor: Actor) -> Any:
    return actor.client.get(f"{ROOT}/connections/{account.connection.pk}/purge").json()


def test_every_table_with_a_way_to_the_connection_is_covered() -> None:
    """By another road than the code's: from each model up its foreign keys."""
    covered = {table.model for table in purging.tables()}

    def leads(model: type[models.Model], seen: frozenset[type[models.Model]] = frozenset()) -> bool:
        keys = [field for field in model._meta.concrete_fields if isinstance(field, models.ForeignKey)]
        return any(
            key.related_model is Connection
            or (
                key.remote_field.on_delete is models.CASCADE
                and key.related_model not in seen
                and leads(key.related_model, seen | {model})
            )
            for key in keys
        )

    expected = {model for model in apps.get_models() if model is not Connection and leads(model)}
    assert covered == expected
    assert {Message, Event, OAuthState, SyncRun} <= covered


def test_tables_that_refer_to_others_come_first() -> None:
    order = [table.model for table in purging.tables()]
    for place, model in enumerate(order):
        for field in model._meta.concrete_fields:
            if field.is_relation and field.related_model in order and field.related_model is not model:
                assert place < order.index(field.related_model), (model, field.name)


def test_purge_leaves_no_row_and_says_so(full: Account, member: Actor) -> None:
    before = purging.counts(full.connection.pk)
    assert delete(full, member) == 204
    shown = proof(full, member)
    assert shown["status"] == "done"
    tables = {row["table"]: (row["before"], row["after"]) for row in shown["tables"]}
    assert tables["email_sync.Message"] == (12, 0)
    assert tables["email_sync.Attachment"] == (12, 0)
    assert tables["integrations.Connection"] == (1, 0)
    assert {after for _, after in tables.values()} == {0}
    assert set(tables) == set(before)
    assert purging.counts(full.connection.pk) == dict.fromkeys(before, 0)
    event = AuditEvent.objects.get(action="connection.purge_finished")
    assert event.object_id == str(full.connection.pk)
    assert event.changes["before"]["email_sync.Message"] == 12
    assert set(event.changes["after"].values()) == {0}


def test_purge_leaves_nothing_of_the_mail_anywhere_in_the_database(full: Account, member: Actor) -> None:
    full.box.append(mail("marked", subject="zanzibar", body="zanzibar"), "inbox")
    full.sync()
    delete(full, member)
    with database.cursor() as cursor:
        for table in fingerprint():
            cursor.execute(f'SELECT count(*) FROM "{table}" AS row WHERE row::text ILIKE %s', ["%zanzibar%"])
            assert cursor.fetchone() == (0,), table


def test_purge_touches_nobody_elses_rows(full: Account, member: Actor, owner: Actor) -> None:
    other = Account(connect(owner, "other@contract.test"), Mailbox())
    Memory.mailboxes["other@contract.test"] = other.box
    other.box.append(mail("theirs"), "inbox")
    other.sync()
    before = purging.counts(other.connection.pk)
    delete(full, member)
    assert purging.counts(other.connection.pk) == before


@pytest.fixture
def large(full: Account, monkeypatch: pytest.MonkeyPatch) -> Account:
    """As if it could not be purged within the request."""
    monkeypatch.setattr(purging, "INLINE_SECONDS", -1.0)
    monkeypatch.setattr(purging, "BATCH", 5)
    return full


def test_large_mailbox_is_hidden_at_once_and_goes_in_slices(large: Account, member: Actor) -> None:
    message = Message.objects.select_related("thread").filter(in_inbox=True).first()
    assert message is not None
    assert delete(large, member) == 204
    assert Message.objects.exists()
    for path in ("connections?includeDisconnected=true", "email/inbox"):
        assert member.client.get(f"{ROOT}/{path}").json()["data"] == []
    for path in (
        f"email/{message.pk}",
        f"email/thread/{message.thread_id}",
        f"connections/{large.connection.pk}/status",
    ):
        assert member.client.get(f"{ROOT}/{path}").status_code == 404
    shown = proof(large, member)
    assert shown["status"] == "queued"
    assert 0 < shown["progress"]["done"] < shown["progress"]["total"]
    slices = 1
    while purging.work(purging.due()[0], seconds=-1.0):
        slices += 1
    assert slices > 3
    assert proof(large, member)["status"] == "done"
    assert not Message.objects.exists()


def test_account_is_free_to_be_connected_anew_while_its_old_mail_goes(large: Account, member: Actor) -> None:
    delete(large, member)
    again = connect(member, large.connection.account_email)
    while purging.work(purging.due()[0], seconds=-1.0):
        pass
    assert Connection.objects.get() == again


def test_purge_taken_over_by_another_worker_ends_the_first(large: Account, member: Actor) -> None:
    delete(large, member)
    held = Purge.objects.claim(purging.due()[0], lease_seconds=60)
    assert held is not None
    Purge.objects.update(fence=held.fence + 1)
    with pytest.raises(LeaseLost):
        purging._delete_batch(held, purging.tables()[0])


def test_purge_that_died_is_taken_up_where_it_was(large: Account, member: Actor) -> None:
    delete(large, member)
    held = Purge.objects.claim(purging.due()[0], lease_seconds=-1)
    assert held is not None
    while purging.work(purging.due()[0], seconds=-1.0):
        pass
    assert proof(large, member)["status"] == "done"


def test_rows_written_meanwhile_are_found_before_it_is_called_done(large: Account, member: Actor) -> None:
    delete(large, member)
    while purging.work(purging.due()[0], seconds=-1.0) and Message.objects.exists():
        pass
    if not Connection.objects.exists():
        pytest.fail("it ended before the test could write")
    one_writer(large.connection.pk)
    Thread.objects.create(connection=large.connection, subject="late")
    while purging.work(purging.due()[0], seconds=-1.0):
        pass
    assert not Thread.objects.exists()
    assert not Connection.objects.exists()


def test_purge_of_a_colleague_is_not_found(full: Account, member: Actor, owner: Actor) -> None:
    delete(full, member)
    assert owner.client.get(f"{ROOT}/connections/{full.connection.pk}/purge").status_code == 404


def test_disconnect_without_purge_has_no_proof(full: Account, member: Actor) -> None:
    disconnecting.disconnect(full.connection, purge=False, by=member.user)
    assert member.client.get(f"{ROOT}/connections/{full.connection.pk}/purge").status_code == 404
    assert Message.objects.count() == 12
