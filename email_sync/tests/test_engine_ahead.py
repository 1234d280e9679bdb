"""The first sync of a mailbox of several pages: while one is written the next is fetched, and nothing is lost by it."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from core.errors import ProviderRateLimited, ProviderRejected, RemoteMissing
from core.work import WorkStatus
from email_sync.models import ChangeKind, LocalChange, Message
from email_sync.records import IdPage, Stream
from email_sync.services import changes
from email_sync.services.pages import FIRST_PAGE, PAGE, Pages
from email_sync.tests.conftest import Account
from email_sync.tests.memory import Memory
from email_sync.tests.test_engine import check_counters, fill, picture, truth
from integrations.models import SyncRun
from integrations.services import sync_runs

pytestmark = pytest.mark.django_db

COUNT = FIRST_PAGE + 2 * PAGE + 30


@pytest.fixture
def filled(account: Account) -> Account:
    """An inbox of four pages."""
    fill(account.box, COUNT)
    return account


def test_first_sync_of_several_pages_stores_every_message_once(filled: Account) -> None:
    run = filled.sync()
    assert (run.done, run.total, run.added) == (COUNT, COUNT, COUNT)
    assert picture(filled) == truth(filled.box)
    check_counters(filled)


def test_first_sync_refused_at_a_listing_keeps_the_page_in_hand(filled: Account) -> None:
    calls = iter(range(COUNT))

    def refuse(name: str) -> None:
        if name == "list_ids" and next(calls) == 1:
            raise ProviderRateLimited(retry_after=1)

    filled.box.before_call = refuse
    assert filled.sync().status == WorkStatus.QUEUED
    assert Message.objects.count() == FIRST_PAGE
    SyncRun.objects.update(next_attempt_at="2026-01-01T00:00Z")
    assert filled.sync().status == WorkStatus.DONE
    assert picture(filled) == truth(filled.box)


def test_first_sync_refused_at_a_fetch_ahead_keeps_the_page_before(filled: Account) -> None:
    calls = iter(range(COUNT))

    def refuse(name: str) -> None:
        if name == "fetch" and next(calls) == 2:
            raise ProviderRateLimited(retry_after=1)

    filled.box.before_call = refuse
    assert filled.sync().status == WorkStatus.QUEUED
    assert Message.objects.count() == PAGE  # the first page of the listing, whose beginning was there already
    SyncRun.objects.update(next_attempt_at="2026-01-01T00:00Z")
    assert filled.sync().status == WorkStatus.DONE
    assert picture(filled) == truth(filled.box)


@pytest.fixture
def two_folders(account: Account) -> Account:
    """Each of more than a page, so that the second is begun while the end of the first is written."""
    fill(account.box, FIRST_PAGE + PAGE)
    fill(account.box, FIRST_PAGE + PAGE, "sent")
    return account


def test_first_sync_of_several_folders_stores_every_message_once(two_folders: Account) -> None:
    run = two_folders.sync()
    assert run.added == run.done == run.total == 2 * (FIRST_PAGE + PAGE)
    assert picture(two_folders) == truth(two_folders.box)
    check_counters(two_folders)


@pytest.mark.parametrize("call", ["list_ids", "fetch"])
@pytest.mark.parametrize(
    "error",
    [ProviderRateLimited(retry_after=1), ProviderRejected("Permission denied"), RemoteMissing()],
    ids=["rate limited", "rejected", "gone"],
)
def test_first_sync_refused_at_the_next_folder_keeps_all_of_this_one(
    two_folders: Account, monkeypatch: pytest.MonkeyPatch, call: str, error: Exception
) -> None:
    honest = getattr(Memory, call)
    refusing = [True]

    def refuse(self: Memory, stream: Stream, *arguments: Any, **options: Any) -> Any:
        if refusing[0] and stream.key == "sent":
            raise error
        return honest(self, stream, *arguments, **options)

    monkeypatch.setattr(Memory, call, refuse)
    two_folders.sync()
    assert Message.objects.filter(in_inbox=True).count() == FIRST_PAGE + PAGE
    assert not Message.objects.filter(in_sent=True).exists()
    refusing[0] = False
    SyncRun.objects.update(next_attempt_at="2026-01-01T00:00Z")
    assert two_folders.sync().status == WorkStatus.DONE
    assert picture(two_folders) == truth(two_folders.box)


def test_first_sync_whose_listing_repeats_messages_counts_each_once(
    filled: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New mail moves a listing by numbers on, so that the next page begins with the end of this one."""
    listing = Memory.list_ids

    def overlapping(self: Memory, stream: Stream, token: str, limit: int, *, since: datetime | None = None) -> IdPage:
        return listing(self, stream, str(max(0, int(token or 0) - 20)), limit, since=since)

    monkeypatch.setattr(Memory, "list_ids", overlapping)
    run = filled.sync()
    assert (run.done, run.total, run.added) == (COUNT, COUNT, COUNT)
    assert picture(filled) == truth(filled.box)


def test_kill_with_a_page_under_way_ends_in_the_rows_of_an_undisturbed_run(filled: Account) -> None:
    rng = random.Random(3)
    run = sync_runs.start(connection=filled.connection, type="email", trigger="user")
    for _ in range(12):
        left = [rng.randint(1, 9)]

        def die(name: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt

        filled.box.before_call = die
        try:
            sync_runs.execute(run.pk)
        except KeyboardInterrupt:
            SyncRun.objects.filter(pk=run.pk).update(lease_until="2020-01-01T00:00Z")
    filled.box.before_call = lambda name: None
    filled.sync()
    assert picture(filled) == truth(filled.box)
    assert Message.objects.count() == COUNT
    check_counters(filled)


def test_worker_that_lost_its_lease_with_a_page_under_way_writes_no_more(
    filled: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_at_theft: list[int] = []
    listing = Pages.listing

    def steal(self: Pages, stream: Stream, token: str) -> Callable[[], IdPage]:
        if token:
            stored_at_theft.append(Message.objects.count())
            SyncRun.objects.update(fence=99)
        return listing(self, stream, token)

    monkeypatch.setattr(Pages, "listing", steal)
    run = sync_runs.start(connection=filled.connection, type="email", trigger="user")
    assert sync_runs.execute(run.pk) is False
    assert set(stored_at_theft) == {Message.objects.count()} == {FIRST_PAGE}


def test_click_during_a_first_sync_is_carried_before_its_end(filled: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two pages, and never while the second thread speaks to the provider."""
    speaking: list[str] = []
    stored_at_push: list[int] = []
    honest, set_flags, write = Memory.fetch, Memory.set_flags, Pages.write_listed

    def fetch(self: Memory, *arguments: Any) -> Any:
        speaking.append("fetch")
        yield from honest(self, *arguments)
        speaking.pop()

    def carry(self: Memory, *arguments: Any, **flags: Any) -> Any:
        assert not speaking
        stored_at_push.append(Message.objects.count())
        return set_flags(self, *arguments, **flags)

    def click_once(self: Pages, *arguments: Any) -> None:
        write(self, *arguments)
        if not LocalChange.objects.exists():
            message = Message.objects.filter(is_read=False).latest("received_at")
            changes.change(message=message, kind=ChangeKind.READ, value=True)

    monkeypatch.setattr(Memory, "fetch", fetch)
    monkeypatch.setattr(Memory, "set_flags", carry)
    monkeypatch.setattr(Pages, "write_listed", click_once)
    filled.sync()
    assert len(stored_at_push) == 1
    assert stored_at_push[0] < COUNT
    assert picture(filled) == truth(filled.box)


def test_first_sync_at_the_end_of_its_slice_keeps_the_page_that_was_fetched(
    filled: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was only waiting for the second thread is given up and comes with the next slice; nothing comes twice."""
    run = sync_runs.start(connection=filled.connection, type="email", trigger="user")
    monkeypatch.setattr(Pages, "out_of_time", lambda self: True)
    slices = 1
    while sync_runs.execute(run.pk):
        slices += 1
    assert slices > 1
    assert filled.box.calls.count("fetch") <= slices + 2
    assert picture(filled) == truth(filled.box)
    assert Message.objects.count() == COUNT
    check_counters(filled)
