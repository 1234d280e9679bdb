"""What a mailbox tells: mail that is news, what is otherwise now, sends; not the history a first sync brings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from core.errors import ProviderRejected
from email_sync.models import ChangeKind, Message
from email_sync.services import changes, store, telling
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.test_sending import post
from email_sync.tests.test_store import incoming
from integrations.models import Event, SyncCursor
from integrations.services import events

pytestmark = pytest.mark.django_db


def told(type: str) -> list[dict[str, Any]]:
    return [event.payload for event in Event.objects.filter(type=type).order_by("id")]


def ids_of(*names: str) -> list[str]:
    rows = {row.message_id: str(row.pk) for row in Message.objects.all()}
    return [rows[ident(name)] for name in names]


@pytest.fixture
def synced(account: Account) -> Account:
    """Two old mails, synced; what is appended from now on is received now."""
    account.box.append(mail("old0"), "inbox")
    account.box.append(mail("old1"), "inbox")
    account.sync()
    account.box.begun = datetime.now(UTC)
    return account


def test_first_sync_tells_nothing_of_the_history_it_brings(synced: Account) -> None:
    assert Message.objects.count() == 2
    assert not Event.objects.exists()


def test_new_mail_is_told_once_to_its_owner_without_its_content(synced: Account) -> None:
    synced.box.append(mail("new", subject="Salary"), "inbox")
    synced.sync()
    synced.sync()
    [event] = Event.objects.all()
    assert (event.type, event.payload) == ("email.received", {"emailId": ids_of("new")[0]})
    assert (event.user_id, event.workspace_id) == (synced.connection.user_id, synced.connection.workspace_id)
    assert event.connection_id == synced.connection.pk


def test_mail_that_arrives_while_the_first_listing_runs_is_news(account: Account) -> None:
    """The listing brings it, not the changes since the cursor."""
    account.box.append(mail("old"), "inbox")

    def arrive(name: str) -> None:
        if name == "list_ids" and account.box.begun < datetime.now(UTC) - timedelta(minutes=30):
            account.box.begun = datetime.now(UTC)
            account.box.append(mail("meanwhile"), "inbox")

    account.box.before_call = arrive
    account.sync()
    assert told("email.received") == [{"emailId": ids_of("meanwhile")[0]}]


def test_copy_of_a_sent_mail_and_a_draft_are_no_received_mail(synced: Account) -> None:
    synced.box.append(mail("sent"), "sent", read=True)
    synced.box.append(mail("draft"), "drafts")
    synced.sync()
    assert told("email.received") == []
    added = [email_id for payload in told("email.updated") for email_id in payload["added"]]
    assert sorted(added) == sorted(ids_of("sent", "draft"))


def test_flags_and_removals_elsewhere_are_told_as_ids(synced: Account) -> None:
    [read, gone] = ids_of("old0", "old1")
    synced.box.flag(synced.box.find(ident("old0")).remote_id, read=True)
    synced.box.remove(synced.box.find(ident("old1")).remote_id)
    synced.sync()
    payloads = told("email.updated")
    assert [payload.get("changed") for payload in payloads if "changed" in payload] == [[read]]
    assert [payload.get("removed") for payload in payloads if "removed" in payload] == [[gone]]


def test_click_is_told_at_once_and_what_the_provider_undoes_again(
    synced: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = Message.objects.select_related("connection").order_by("id")[0]
    changes.change(message=message, kind=ChangeKind.READ, value=True)
    changes.change(message=message, kind=ChangeKind.READ, value=True)  # nothing to do
    assert told("email.updated") == [{"changed": [str(message.pk)]}]

    def refuse(*_: object, **__: object) -> None:
        raise ProviderRejected("Read-only.")

    monkeypatch.setattr("email_sync.tests.memory.Memory.set_flags", refuse)
    synced.sync()
    assert told("email.updated") == [{"changed": [str(message.pk)]}] * 2


def test_page_of_200_new_mails_costs_two_statements_for_its_events(synced: Account) -> None:
    page = [incoming(synced.box.append(mail(f"n{number}"), "inbox")) for number in range(200)]
    with CaptureQueriesContext(database) as captured:
        store.write_page(connection=synced.connection, stream="inbox", messages=page)
    of_events = [
        q["sql"] for q in captured if "integrations_event" in q["sql"] or "integrations_synccursor" in q["sql"]
    ]
    assert len(of_events) == 2
    assert Event.objects.filter(type="email.received").count() == 200


def test_change_of_a_thousand_mails_is_two_events_that_name_each_once(synced: Account) -> None:
    ids = [SyncCursor().pk for _ in range(1000)]
    telling.changed(synced.connection, ids)
    payloads = told("email.updated")
    assert [len(payload["changed"]) for payload in payloads] == [500, 500]
    assert [email_id for payload in payloads for email_id in payload["changed"]] == [str(email_id) for email_id in ids]


def test_send_is_told_once_when_it_left_and_once_when_it_failed(account: Account) -> None:
    sent = post(account)
    assert told("email.sent") == [{"submissionId": str(sent.pk), "threadId": str(sent.thread_id)}]
    account.box.refuse_next_send = True
    failed = post(account)
    [payload] = told("email.failed")
    assert (payload["submissionId"], payload["code"]) == (str(failed.pk), failed.error_code)
    assert Event.objects.filter(type__startswith="email.").count() == 2


@pytest.mark.django_db(transaction=True)
def test_page_that_is_rolled_back_tells_nothing(synced: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    before = events.now()

    def broken(*_: object) -> None:
        raise RuntimeError("killed")

    synced.box.append(mail("new"), "inbox")
    monkeypatch.setattr("email_sync.services.engine.MailboxSync._count", broken)
    synced.sync()
    assert not Message.objects.filter(message_id=ident("new")).exists()
    assert events.read_after(before, limit=10, user_id=synced.connection.user_id) == []
