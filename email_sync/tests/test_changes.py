"""Local changes on their way to the provider: order, refusals, calls that never work, moves in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now

from core.errors import LeaseLost, ProviderRejected, ProviderUnavailable
from core.work import WorkStatus
from email_sync.models import ChangeKind, ChangeStatus, LocalChange, Message
from email_sync.services import changes
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.memory import Memory
from integrations.models import SyncRun, SyncState

pytestmark = pytest.mark.django_db

FlagHook = Callable[[Sequence[str]], None]


@pytest.fixture
def before_flags(monkeypatch: pytest.MonkeyPatch) -> Callable[[FlagHook], None]:
    """Let a test look at, or refuse, the ids of a `set_flags` call."""
    original = Memory.set_flags

    def install(hook: FlagHook) -> None:
        def hooked(self: Memory, remote_ids: Sequence[str], **flags: Any) -> frozenset[str]:
            hook(remote_ids)
            return original(self, remote_ids, **flags)

        monkeypatch.setattr(Memory, "set_flags", hooked)

    return install


def synced(account: Account, count: int) -> list[Message]:
    for number in range(count):
        account.box.append(mail(f"m{number}"), "inbox")
    account.sync()
    return list(Message.objects.order_by("received_at"))


def click(message: Message, kind: ChangeKind, value: bool | None = None) -> None:
    changes.change(message=message, kind=kind, value=value)


def make_due() -> None:
    LocalChange.objects.update(created_at=Now() - timedelta(days=30))


def test_push_reads_a_message_under_its_new_id_after_archiving_it(account: Account) -> None:
    """Both clicks wait in one queue; the move gives the message another remote id in between."""
    [message] = synced(account, 1)
    click(message, ChangeKind.ARCHIVED, True)
    click(message, ChangeKind.READ, True)
    account.sync()
    stored = account.box.find(ident("m0"))
    assert (stored.folder, stored.read) == ("archive", True)
    account.sync()
    message.refresh_from_db()
    assert (message.folders, message.is_read) == (["archive"], True)


def test_push_of_a_batch_fails_only_the_change_that_was_refused(
    account: Account, before_flags: Callable[[FlagHook], None]
) -> None:
    messages = synced(account, 3)
    refused = messages[1].remote_id

    def read_only(remote_ids: Sequence[str]) -> None:
        if refused in remote_ids:
            raise ProviderRejected("The folder is read-only.")

    before_flags(read_only)
    for message in messages:
        click(message, ChangeKind.READ, True)
    account.sync()
    assert [account.box.find(ident(f"m{n}")).read for n in range(3)] == [True, False, True]
    assert list(Message.objects.order_by("received_at").values_list("is_read", flat=True)) == [True, False, True]
    [failed] = LocalChange.objects.filter(status=ChangeStatus.FAILED)
    assert failed.message_id == messages[1].pk


def test_push_that_never_works_stops_neither_the_sync_nor_other_changes(
    account: Account, before_flags: Callable[[FlagHook], None]
) -> None:
    messages = synced(account, 2)
    poisoned = messages[0].remote_id

    def broken(remote_ids: Sequence[str]) -> None:
        if poisoned in remote_ids:
            raise ProviderUnavailable("Backend error")

    before_flags(broken)
    for message in messages:
        click(message, ChangeKind.READ, True)
    account.box.append(mail("late"), "inbox")
    assert account.sync().status == WorkStatus.DONE
    assert Message.objects.filter(message_id=ident("late")).exists()
    for _ in range(2):
        make_due()
        account.sync()
    assert account.box.find(ident("m1")).read
    assert [c.status for c in LocalChange.objects.order_by("id")] == [ChangeStatus.PENDING, ChangeStatus.DONE]


def test_push_that_never_works_gives_up_in_the_end_and_shows_what_the_provider_has(
    account: Account, before_flags: Callable[[FlagHook], None]
) -> None:
    [message] = synced(account, 1)

    def broken(remote_ids: Sequence[str]) -> None:
        raise ProviderUnavailable("Backend error")

    before_flags(broken)
    click(message, ChangeKind.STARRED, True)
    make_due()
    LocalChange.objects.update(attempts=changes.MAX_ATTEMPTS - 1)
    account.sync()
    change = LocalChange.objects.get()
    assert (change.status, change.error_message) == (ChangeStatus.FAILED, "Backend error")
    message.refresh_from_db()
    assert not message.is_starred


def test_push_of_an_ineffective_change_waits_longer_each_time(
    account: Account, before_flags: Callable[[FlagHook], None]
) -> None:
    [message] = synced(account, 1)
    calls: list[int] = []

    def broken(remote_ids: Sequence[str]) -> None:
        calls.append(len(remote_ids))
        raise ProviderUnavailable("Backend error")

    before_flags(broken)
    click(message, ChangeKind.STARRED, True)
    account.sync()
    account.sync()
    assert calls == [1]
    assert changes.unattended() == []
    make_due()
    assert changes.unattended() == [account.connection]


def test_unattended_leaves_a_mailbox_that_fails_to_its_schedule(account: Account) -> None:
    """A click must not turn the back-off of a broken mailbox into a run every tick."""
    [message] = synced(account, 1)
    click(message, ChangeKind.STARRED, True)
    state = SyncState.objects.filter(connection=account.connection)
    state.update(failures=3, next_sync_at=Now() + timedelta(hours=1))
    assert changes.unattended() == []
    state.update(next_sync_at=Now() - timedelta(seconds=1))
    assert changes.unattended() == [account.connection]


def test_unattended_leaves_out_a_mailbox_whose_sync_is_switched_off(account: Account) -> None:
    [message] = synced(account, 1)
    click(message, ChangeKind.STARRED, True)
    account.connection.sync_email = False
    account.connection.save(update_fields=["sync_email"])
    assert changes.unattended() == []


def test_refused_archive_of_a_sent_mail_does_not_show_it_in_the_inbox(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.box.append(mail("sent"), "sent")
    account.sync()
    message = Message.objects.get()

    def refuse(self: Memory, remote_id: str, archived: bool) -> None:
        raise ProviderRejected("No archive here.")

    monkeypatch.setattr(Memory, "set_archived", refuse)
    click(message, ChangeKind.ARCHIVED, True)
    account.sync()
    message.refresh_from_db()
    assert message.folders == ["sent"]


def test_refused_change_that_was_clicked_again_meanwhile_stays_as_clicked(
    account: Account, before_flags: Callable[[FlagHook], None]
) -> None:
    [message] = synced(account, 1)

    def refuse(remote_ids: Sequence[str]) -> None:
        click(message, ChangeKind.STARRED, False)
        click(message, ChangeKind.STARRED, True)
        raise ProviderRejected("Not now.")

    before_flags(refuse)
    click(message, ChangeKind.STARRED, True)
    account.slice()
    message.refresh_from_db()
    assert message.is_starred
    assert LocalChange.objects.get().status == ChangeStatus.PENDING


def test_change_of_a_message_the_provider_no_longer_has_does_not_stay_pending(account: Account) -> None:
    messages = synced(account, 2)
    for kind, message in zip((ChangeKind.READ, ChangeKind.ARCHIVED), messages, strict=True):
        click(message, kind, True)
    account.box.messages.clear()
    Message.objects.update(removed_at=F("received_at"))
    account.sync()
    assert not LocalChange.objects.filter(status=ChangeStatus.PENDING).exists()


@pytest.mark.parametrize("kind", [ChangeKind.READ, ChangeKind.ARCHIVED])
def test_change_that_waits_while_every_id_changes_is_not_taken_for_done(account: Account, kind: ChangeKind) -> None:
    """A new UIDVALIDITY: the provider meets none of the ids, and says nothing about it."""
    [message] = synced(account, 1)
    click(message, kind, True)
    account.box.renumber()
    account.sync()
    assert LocalChange.objects.get().status == ChangeStatus.PENDING
    message.refresh_from_db()
    assert message.is_read if kind == ChangeKind.READ else message.in_archive
    make_due()
    account.sync()
    assert LocalChange.objects.get().status == ChangeStatus.DONE
    stored = account.box.find(ident("m0"))
    assert stored.read if kind == ChangeKind.READ else stored.folder == "archive"


def test_push_by_a_worker_that_lost_its_lease_calls_nothing_more_and_settles_nothing(
    account: Account, before_flags: Callable[[FlagHook], None]
) -> None:
    messages = synced(account, 2)
    click(messages[0], ChangeKind.READ, True)
    click(messages[1], ChangeKind.STARRED, True)

    def steal(remote_ids: Sequence[str]) -> None:
        SyncRun.objects.update(fence=F("fence") + 1)

    before_flags(steal)
    with pytest.raises(LeaseLost):
        account.slice()
    assert not account.box.find(ident("m1")).starred
    assert set(LocalChange.objects.values_list("status", flat=True)) == {ChangeStatus.PENDING}


def test_push_that_breaks_on_our_side_waits_and_does_not_stop_the_sync(
    account: Account, before_flags: Callable[[FlagHook], None]
) -> None:
    [message] = synced(account, 1)
    calls: list[int] = []

    def broken(remote_ids: Sequence[str]) -> None:
        calls.append(1)
        raise KeyError("bug")

    before_flags(broken)
    click(message, ChangeKind.STARRED, True)
    account.box.append(mail("late"), "inbox")
    assert account.sync().status == WorkStatus.DONE
    account.sync()
    assert Message.objects.count() == 2
    assert calls == [1]
    assert LocalChange.objects.get().attempts == 1
