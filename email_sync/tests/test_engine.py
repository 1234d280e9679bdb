"""The mail engine over a mailbox in memory: first sync, changes, moves, lost cursors, the brake, kills, clicks."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from threading import Event
from typing import Any

import pytest

from core.errors import LeaseLost, ProviderAuthError, ProviderRateLimited, ProviderRejected, ProviderUnavailable
from core.work import WorkStatus
from email_sync.models import (
    FOLDERS,
    ChangeKind,
    ChangeStatus,
    FolderCounter,
    LocalChange,
    Message,
    MessageSearch,
    Thread,
)
from email_sync.records import RemoteMessage, Stream
from email_sync.services import changes, pages
from email_sync.services.pages import Pages
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.memory import Mailbox, Memory, message_id_of
from integrations.models import SyncCursor, SyncRun, SyncState
from integrations.services import sync_runs
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

API = "/api/v1/integrations"


def fill(box: Mailbox, count: int, folder: str = "inbox") -> None:
    for number in range(count):
        box.append(mail(f"{folder}-{number}"), folder, read=number % 3 == 0)


def picture(account: Account) -> Counter[tuple[str, str, bool, bool]]:
    """What is stored, to be compared with `truth`."""
    rows = Message.objects.present().filter(connection=account.connection)
    return Counter((row.message_id, *row.folders[:1], row.is_read, row.is_starred) for row in rows)


def truth(box: Mailbox) -> Counter[tuple[str, str, bool, bool]]:
    return Counter((message_id_of(m.raw), m.folder, m.read, m.starred) for m in box.messages.values())


def check_counters(account: Account) -> None:
    """The maintained counters say what counting would."""
    rows = Message.objects.filter(connection=account.connection)
    for role, condition in FOLDERS.items():
        counter = FolderCounter.objects.filter(connection=account.connection, role=role).first()
        counted = rows.filter(condition)
        kept = (counter.total, counter.unread) if counter else (0, 0)
        assert kept == (counted.count(), counted.filter(is_read=False).count()), role
    for thread in Thread.objects.filter(connection=account.connection):
        present = thread.messages.present()
        assert (thread.message_count, thread.unread_count) == (present.count(), present.filter(is_read=False).count())


def test_first_sync_stores_every_message_once(account: Account) -> None:
    for folder in ("inbox", "sent", "archive", "drafts", "trash", "spam"):
        fill(account.box, 70 if folder == "inbox" else 3, folder)
    run = account.sync()
    assert run.status == WorkStatus.DONE
    assert picture(account) == truth(account.box)
    assert (run.done, run.total, run.added) == (85, 85, 85)
    assert MessageSearch.objects.count() == 85
    check_counters(account)


def test_progress_of_a_first_sync_has_no_total_before_every_folder_named_its_own(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(account.box, 70)
    fill(account.box, 60, "sent")
    listing = Pages.listing
    totals: list[int | None] = []

    def look(self: Pages, *given: Any) -> Any:
        totals.append(SyncRun.objects.get().total)
        return listing(self, *given)

    monkeypatch.setattr(Pages, "listing", look)
    monkeypatch.setattr(Memory, "totals", lambda *_, **__: {})
    run = account.sync()
    assert len(totals) > 2
    assert set(totals) <= {None, 130}
    assert (run.done, run.total) == (130, 130)


def test_progress_of_a_first_sync_has_its_total_and_a_time_left_from_the_first_page_on(
    account: Account, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(account.box, 170)
    fill(account.box, 60, "sent")
    listing = Pages.listing
    told: list[tuple[int, int | None, int | None]] = []

    def look(self: Pages, *given: Any) -> Any:
        progress = member.client.get(f"{API}/connections/{account.connection.pk}/status").json()["email"]["progress"]
        told.append((progress["done"], progress["total"], progress["etaSeconds"]))
        return listing(self, *given)

    monkeypatch.setattr(Pages, "listing", look)
    run = account.sync()
    assert {total for _, total, _ in told} == {230}
    assert [eta is not None for done, _, eta in told] == [0 < done < 230 for done, _, _ in told]
    assert any(0 < done < 170 for done, _, _ in told)
    assert (run.done, run.total) == (230, 230)
    assert account.box.calls.count("totals") == 1


def test_progress_is_told_although_a_folder_refuses(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(account.box, 70)
    start_cursor = Memory.start_cursor

    def refuses(self: Memory, stream: Stream) -> str:
        if stream.key == "archive":
            raise ProviderRejected("Not allowed")
        return start_cursor(self, stream)

    monkeypatch.setattr(Memory, "start_cursor", refuses)
    account.slice(seconds=-1)
    assert SyncRun.objects.get().total == 70


def test_first_sync_begins_with_the_newest_of_the_inbox(account: Account) -> None:
    fill(account.box, 200)
    fill(account.box, 10, "sent")
    account.slice(seconds=-1)
    stored = set(Message.objects.values_list("message_id", flat=True))
    assert stored == {ident(f"inbox-{number}") for number in range(150, 200)}


def test_first_sync_with_a_limit_in_days_leaves_out_older_mail_of_every_folder(account: Account, settings: Any) -> None:
    settings.MAIL_BACKFILL_DAYS = 7
    for folder in ("inbox", "archive"):
        old = account.box.append(mail(f"old-{folder}"), folder)
        account.box.messages[old.remote_id] = replace(old, received_at=old.received_at - timedelta(days=30))
        account.box.append(mail(f"new-{folder}"), folder)
    account.sync()
    assert set(Message.objects.values_list("message_id", flat=True)) == {ident("new-inbox"), ident("new-archive")}


def test_fetch_that_breaks_off_keeps_what_came(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(account.box, 5)
    fetch = Memory.fetch

    def away(name: str) -> None:
        raise ProviderUnavailable

    def breaks(self: Memory, stream: Stream, remote_ids: Sequence[str]) -> Iterator[RemoteMessage]:
        yield from list(fetch(self, stream, remote_ids))[:3]
        account.box.before_call = away
        raise ProviderUnavailable

    monkeypatch.setattr(Memory, "fetch", breaks)
    assert account.sync().status == WorkStatus.QUEUED
    assert Message.objects.count() == 3
    account.box.before_call = lambda name: None
    monkeypatch.setattr(Memory, "fetch", fetch)
    account.sync()
    assert picture(account) == truth(account.box)


@pytest.mark.parametrize("count", [5, 300], ids=["one page", "pages fetched ahead"])
def test_slow_fetch_keeps_the_lease(account: Account, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The first time, the lease nearly runs out while the provider takes its time."""
    monkeypatch.setattr(pages, "HOLD_AGAIN_SECONDS", 0.01)
    fill(account.box, count)
    fetch, leases = Memory.fetch, []

    def slow(self: Memory, stream: Stream, remote_ids: Sequence[str]) -> Iterator[RemoteMessage]:
        for number, message in enumerate(fetch(self, stream, remote_ids)):
            if number < 5:
                Event().wait(0.05)
            yield message

    def hold(self: SyncRun, **columns: object) -> None:
        leases.append(columns)
        held(self, **columns)

    held = SyncRun.hold
    monkeypatch.setattr(Memory, "fetch", slow)
    monkeypatch.setattr(SyncRun, "hold", hold)
    account.sync()
    expected = 1 if count == 5 else 3
    assert len(leases) > expected + 8
    assert picture(account) == truth(account.box)


def test_second_sync_of_a_quiet_mailbox_writes_nothing(account: Account) -> None:
    fill(account.box, 5)
    account.sync()
    before = set(Message.objects.values_list("pk", "updated_at"))
    run = account.sync()
    assert (run.added, run.changed, run.removed) == (0, 0, 0)
    assert set(Message.objects.values_list("pk", "updated_at")) == before


def test_changes_at_the_provider_arrive(account: Account) -> None:
    fill(account.box, 6)
    account.sync()
    account.box.flag(account.box.find(ident("inbox-1")).remote_id, read=True, starred=True)
    account.box.remove(account.box.find(ident("inbox-2")).remote_id)
    account.box.append(mail("late"), "inbox")
    run = account.sync()
    assert picture(account) == truth(account.box)
    assert (run.added, run.changed, run.removed) == (1, 1, 1)
    check_counters(account)


def test_removed_message_leaves_a_tombstone_with_its_cause(account: Account) -> None:
    fill(account.box, 2)
    account.sync()
    account.box.remove(account.box.find(ident("inbox-0")).remote_id)
    account.sync()
    gone = Message.objects.get(message_id=ident("inbox-0"))
    assert (gone.removed_cause, gone.folders) == ("deleted", [])
    assert gone.removed_at is not None


@pytest.mark.parametrize("target", ["archive", "sent"])
def test_moved_message_keeps_its_row(account: Account, target: str) -> None:
    fill(account.box, 3, "inbox")
    fill(account.box, 1, "archive")
    account.sync()
    before = Message.objects.get(message_id=ident("inbox-1")).pk
    account.box.move(account.box.find(ident("inbox-1")).remote_id, target)
    account.sync()
    assert Message.objects.get(message_id=ident("inbox-1")).pk == before
    assert picture(account) == truth(account.box)
    check_counters(account)


def test_message_moved_into_an_earlier_stream_keeps_its_row(account: Account) -> None:
    """The target folder is synced before the source: the new row is merged into the old one."""
    fill(account.box, 2, "archive")
    account.sync()
    before = Message.objects.get(message_id=ident("archive-1")).pk
    account.box.move(account.box.find(ident("archive-1")).remote_id, "inbox")
    account.sync()
    assert Message.objects.get(message_id=ident("archive-1")).pk == before
    assert picture(account) == truth(account.box)
    check_counters(account)


def test_lost_cursor_is_reconciled_without_a_second_row(account: Account) -> None:
    fill(account.box, 40)
    account.sync()
    ids = dict(Message.objects.values_list("message_id", "pk"))
    account.box.remove(account.box.find(ident("inbox-3")).remote_id)
    account.box.append(mail("new"), "inbox")
    account.box.flag(account.box.find(ident("inbox-4")).remote_id, starred=True)
    account.box.renumber()
    calls = account.box.calls
    calls.clear()
    account.sync()
    assert picture(account) == truth(account.box)
    assert ids.items() <= dict(Message.objects.values_list("message_id", "pk")).items()
    assert not SyncCursor.objects.filter(reconcile=True).exists()
    check_counters(account)


def test_mailbox_that_is_suddenly_empty_is_not_believed(account: Account) -> None:
    fill(account.box, 80)
    account.sync()
    emptied = dict(account.box.messages)
    account.box.messages.clear()
    account.box.renumber()
    account.sync()
    assert Message.objects.present().count() == 80
    assert "80 of 80" in SyncCursor.objects.get(stream="inbox").held_reason
    account.box.messages.update(emptied)
    account.box.renumber()
    account.sync()
    assert picture(account) == truth(account.box)
    assert SyncCursor.objects.get(stream="inbox").held_reason == ""


def test_mailbox_that_is_suddenly_empty_is_believed_when_its_user_says_so(account: Account) -> None:
    fill(account.box, 80)
    account.sync()
    account.box.messages.clear()
    account.box.renumber()
    account.sync()
    account.sync(trigger=sync_runs.ACCEPT_REMOVALS)
    assert Message.objects.present().count() == 0
    assert SyncCursor.objects.get(stream="inbox").held_reason == ""
    check_counters(account)


def test_vanished_folder_takes_its_messages_along(account: Account) -> None:
    fill(account.box, 2, "project")
    fill(account.box, 2, "inbox")
    account.sync()
    for stored in [m for m in account.box.messages.values() if m.folder == "project"]:
        account.box.messages.pop(stored.remote_id)
    account.sync()
    assert picture(account) == truth(account.box)
    assert not SyncCursor.objects.filter(stream="project").exists()


def test_kill_at_any_point_ends_in_the_rows_of_an_undisturbed_run(account: Account) -> None:
    """Every provider call and every write may be the last of a worker; the next one picks the run up."""
    for folder in ("inbox", "sent", "archive"):
        fill(account.box, 30, folder)
    rng = random.Random(7)
    run = sync_runs.start(connection=account.connection, type="email", trigger="user")
    for _ in range(20):
        left = rng.randint(1, 12)

        def die(name: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt  # nothing catches it, as nothing catches kill -9

        account.box.before_call = die
        try:
            sync_runs.execute(run.pk)
        except KeyboardInterrupt:
            SyncRun.objects.filter(pk=run.pk).update(lease_until="2020-01-01T00:00Z")
    account.box.before_call = lambda name: None
    account.sync()
    assert picture(account) == truth(account.box)
    assert Message.objects.count() == 90
    check_counters(account)


def test_worker_that_lost_its_lease_writes_nothing(account: Account) -> None:
    fill(account.box, 10)
    run = sync_runs.start(connection=account.connection, type="email", trigger="user")

    def steal(name: str) -> None:
        if name == "fetch":
            SyncRun.objects.filter(pk=run.pk).update(fence=99)

    account.box.before_call = steal
    assert sync_runs.execute(run.pk) is False
    assert Message.objects.count() == 0
    run.refresh_from_db()
    assert run.fence == 99


def test_page_under_a_foreign_fence_raises(account: Account) -> None:
    run = sync_runs.start(connection=account.connection, type="email", trigger="user")
    held = SyncRun.objects.claim(run.pk, lease_seconds=60)
    SyncRun.objects.filter(pk=run.pk).update(fence=7)
    with pytest.raises(LeaseLost):
        held.hold(lease_seconds=60)


# --- errors decide ------------------------------------------------------------------------------------------------


def test_refused_credential_asks_for_the_user(account: Account) -> None:
    def refuse(name: str) -> None:
        raise ProviderAuthError("Invalid credentials (Failure)")

    account.box.before_call = refuse
    run = account.sync()
    assert run.status == WorkStatus.FAILED
    assert account.connection.status == "needs_reauth"
    assert account.connection.last_error_message == "Invalid credentials (Failure)"


def test_throttled_run_waits_as_long_as_asked(account: Account) -> None:
    def throttle(name: str) -> None:
        raise ProviderRateLimited("Slow down", retry_after=300)

    account.box.before_call = throttle
    run = account.sync()
    assert run.status == WorkStatus.QUEUED
    assert 295 < (run.next_attempt_at - run.created_at).total_seconds() < 310
    assert account.connection.status == "active"


def test_provider_that_is_away_is_tried_again_then_said_so(account: Account) -> None:
    def away(name: str) -> None:
        raise ProviderUnavailable("mail.example.com did not answer.")

    account.box.before_call = away
    run = account.sync()
    for _ in range(sync_runs.MAX_ATTEMPTS - 1):
        assert run.status == WorkStatus.QUEUED
        run = account.sync()
    assert run.status == WorkStatus.FAILED
    assert account.connection.status == "error"
    assert SyncState.objects.get(connection=account.connection).failures == 1
    account.box.before_call = lambda name: None
    account.sync()
    assert account.connection.status == "active"
    assert SyncState.objects.get(connection=account.connection).failures == 0


# --- local changes ------------------------------------------------------------------------------------------------


def test_local_change_shows_at_once_and_follows_to_the_provider(account: Account) -> None:
    fill(account.box, 2)
    account.sync()
    message = Message.objects.get(message_id=ident("inbox-1"))
    changes.change(message=message, kind=ChangeKind.READ, value=True)
    message.refresh_from_db()
    assert message.is_read
    assert not account.box.find(ident("inbox-1")).read
    account.sync()
    assert account.box.find(ident("inbox-1")).read
    assert LocalChange.objects.get().status == ChangeStatus.DONE
    check_counters(account)


def test_second_click_before_the_provider_has_the_first_sends_only_the_last(account: Account) -> None:
    fill(account.box, 2)
    account.sync()
    message = Message.objects.get(message_id=ident("inbox-1"))
    for _ in range(3):
        changes.change(message=message, kind=ChangeKind.STARRED, value=None)
    account.box.calls.clear()
    account.sync()
    assert account.box.find(ident("inbox-1")).starred
    assert account.box.calls.count("set_flags") == 1


def test_incoming_sync_never_undoes_a_change_under_way(account: Account) -> None:
    """The click comes after the page was asked for and before it is written."""
    fill(account.box, 2)
    account.sync()
    message = Message.objects.get(message_id=ident("inbox-1"))
    account.box.flag(account.box.find(ident("inbox-1")).remote_id, starred=True)

    def click(name: str) -> None:
        if name == "changes" and not LocalChange.objects.exists():
            changes.change(message=message, kind=ChangeKind.READ, value=True)

    account.box.before_call = click
    account.sync()
    message.refresh_from_db()
    assert message.is_read
    assert message.is_starred
    account.box.before_call = lambda name: None
    account.sync()
    assert account.box.find(ident("inbox-1")).read


def test_archived_message_keeps_its_row_and_moves_at_the_provider(account: Account) -> None:
    fill(account.box, 2)
    account.sync()
    message = Message.objects.get(message_id=ident("inbox-1"))
    changes.change(message=message, kind=ChangeKind.ARCHIVED, value=None)
    account.sync()
    assert account.box.find(ident("inbox-1")).folder == "archive"
    message.refresh_from_db()
    assert message.folders == ["archive"]
    account.sync()
    assert picture(account) == truth(account.box)
    assert Message.objects.count() == 2
    check_counters(account)


def test_refused_change_is_marked_with_the_providers_words_and_does_not_stop_the_sync(account: Account) -> None:
    fill(account.box, 1)
    account.sync()
    message = Message.objects.get()
    changes.change(message=message, kind=ChangeKind.STARRED, value=True)

    def refuse(name: str) -> None:
        if name == "set_flags":
            raise ProviderRejected("Read-only mailbox.")

    account.box.before_call = refuse
    run = account.sync()
    assert run.status == WorkStatus.DONE
    change = LocalChange.objects.get()
    assert (change.status, change.error_message) == (ChangeStatus.FAILED, "Read-only mailbox.")
    message.refresh_from_db()
    assert not message.is_starred
    check_counters(account)
