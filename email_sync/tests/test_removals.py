"""What an engine believes of removals and vanished folders, and how one bad folder is kept from the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.test.utils import CaptureQueriesContext

from core.errors import ProviderRejected, RemoteMissing
from core.work import WorkStatus
from email_sync.models import Message
from email_sync.records import ChangePage, RemoteFolder, Stream
from email_sync.services import engine, store
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.memory import Mailbox, Memory
from email_sync.tests.test_engine import check_counters, fill, picture, truth
from integrations.models import SyncCursor
from integrations.services import sync_runs

pytestmark = pytest.mark.django_db


def lose(box: Mailbox, count: int) -> None:
    for remote_id in list(box.messages)[:count]:
        box.remove(remote_id)


def held() -> str:
    return SyncCursor.objects.get(stream="inbox").held_reason


def rename(box: Mailbox, old: str, new: str) -> None:
    """As a server does it: the messages keep their times, and are under a new name with new numbers."""
    for stored in [m for m in box.messages.values() if m.folder == old]:
        box.messages.pop(stored.remote_id)
        moved = replace(stored, folder=new, remote_id=stored.remote_id.replace(old, new, 1))
        box.messages[moved.remote_id] = moved


def test_removal_that_is_held_stays_held_when_a_small_one_follows(account: Account) -> None:
    fill(account.box, 120)
    account.sync()
    lose(account.box, 100)
    account.sync()
    assert "100 of 120" in held()
    lose(account.box, 1)
    account.sync()
    assert "100 of 120" in held()
    assert Message.objects.present().count() == 119
    account.sync(trigger=sync_runs.ACCEPT_REMOVALS)
    assert held() == ""
    assert picture(account) == truth(account.box)
    check_counters(account)


def test_mailbox_that_lists_no_folder_is_not_believed(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(account.box, 5)
    account.sync()
    monkeypatch.setattr(Memory, "folders", lambda self: [])
    assert account.sync().status == WorkStatus.QUEUED
    assert Message.objects.present().count() == 5


def test_many_small_folders_that_vanish_at_once_are_not_believed(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"project-{number}" for number in range(10)]
    for name in names:
        fill(account.box, 12, name)
    account.sync()
    original = Memory.folders
    monkeypatch.setattr(Memory, "folders", lambda self: [f for f in original(self) if f.remote_id not in names])
    account.sync()
    assert Message.objects.present().count() == 120
    assert SyncCursor.objects.exclude(held_reason="").count() == 10
    account.sync(trigger=sync_runs.ACCEPT_REMOVALS)
    assert Message.objects.present().count() == 0


@pytest.mark.parametrize("count", [5, 70])
def test_renamed_folder_keeps_its_rows(account: Account, count: int) -> None:
    fill(account.box, count, "project")
    account.sync()
    before = dict(Message.objects.values_list("message_id", "pk"))
    rename(account.box, "project", "customer")
    account.sync()
    assert Message.objects.present().count() == count
    assert dict(Message.objects.present().values_list("message_id", "pk")) == before
    assert set(Message.objects.present().values_list("stream", flat=True)) == {"customer"}
    assert not SyncCursor.objects.filter(stream="project").exists()
    check_counters(account)


@pytest.mark.parametrize("call", ["changes", "start_cursor", "list_ids"])
@pytest.mark.parametrize("error", [ProviderRejected("Permission denied"), RemoteMissing("No such folder")])
def test_folder_that_refuses_does_not_keep_the_others_from_syncing(
    account: Account, monkeypatch: pytest.MonkeyPatch, call: str, error: Exception
) -> None:
    original = getattr(Memory, call)

    def refuse(self: Memory, stream: Stream, *given: Any, **named: Any) -> Any:
        if stream.key == "archive":
            raise error
        return original(self, stream, *given, **named)

    monkeypatch.setattr(Memory, call, refuse)
    account.box.append(mail("early"), "project")
    assert account.sync().status == WorkStatus.DONE
    account.box.append(mail("late"), "project")
    assert account.sync().status == WorkStatus.DONE
    assert set(Message.objects.values_list("message_id", flat=True)) == {ident("early"), ident("late")}


def test_mailbox_whose_every_folder_refuses_has_failed(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Memory, stream: Stream, cursor: str) -> ChangePage:
        raise ProviderRejected("Permission denied")

    monkeypatch.setattr(Memory, "changes", refuse)
    run = account.sync()
    assert (run.status, run.error_message) == (WorkStatus.FAILED, "Permission denied")


@pytest.mark.parametrize("length", [501, 4000])
def test_folder_with_an_endless_name_does_not_stop_the_mailbox(
    account: Account, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    original = Memory.folders

    def folders(self: Memory) -> Sequence[RemoteFolder]:
        return [*original(self), RemoteFolder("x" * length, "x" * length), RemoteFolder("same", "é" * length)] * 2

    monkeypatch.setattr(Memory, "folders", folders)
    fill(account.box, 2)
    assert account.sync().status == WorkStatus.DONE
    assert Message.objects.count() == 2


def test_large_removal_asks_no_question_for_each_message(account: Account) -> None:
    fill(account.box, 300)
    account.sync()
    gone = list(Message.objects.values_list("remote_id", flat=True))
    with transaction.atomic(), CaptureQueriesContext(database) as queries:
        store.write_page(connection=account.connection, stream="inbox", removed=gone)
    assert Message.objects.present().count() == 0
    assert len(queries) < 15


def test_change_of_a_whole_large_folder_is_written_in_parts(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """One transaction over all of it would keep every click waiting, and may take longer than a statement can."""
    monkeypatch.setattr(engine, "PAGE", 5)
    fill(account.box, 120)
    account.sync()
    for number, remote_id in enumerate(list(account.box.messages)):
        if number < 30:
            account.box.remove(remote_id)
        else:
            account.box.flag(remote_id, read=True, starred=True)
    sizes: list[int] = []
    write_page = store.write_page

    def measured(**page: Any) -> Any:
        sizes.append(len(page["updated"]) + len(page["removed"]))
        return write_page(**page)

    monkeypatch.setattr(store, "write_page", measured)
    account.sync()
    assert max(sizes) <= 50
    assert picture(account) == truth(account.box)
    check_counters(account)
