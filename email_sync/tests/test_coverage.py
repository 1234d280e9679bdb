"""The comparison of a mailbox with its provider: what it finds, what it mends, what it says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from core.errors import LeaseLost
from email_sync.models import FolderCounter, MailScope, Message, Thread, Unfetched
from email_sync.records import Stream
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.memory import Memory
from email_sync.tests.test_engine import check_counters, fill, picture, truth
from integrations.models import CoverageCheck, SyncRun, SyncState
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


def make_due() -> None:
    SyncState.objects.update(next_check_at=Now())


def last() -> CoverageCheck:
    check = CoverageCheck.objects.filter(ended_at__isnull=False).first()
    assert check is not None
    return check


def behind_its_back(account: Account, name: str, folder: str) -> None:
    """A message whose arrival no change tells of."""
    account.box.append(mail(name), folder)
    stored = account.box.find(ident(name))
    account.box.messages[stored.remote_id] = replace(stored, created=0, version=0)


def test_first_sync_ends_with_the_figures(account: Account) -> None:
    fill(account.box, 60)
    fill(account.box, 3, "archive")
    account.sync()
    state = SyncState.objects.get()
    assert (state.coverage_remote, state.coverage_stored, state.coverage_missing) == (63, 63, 0)
    assert state.coverage_checked_at is not None
    assert state.next_check_at - state.coverage_checked_at > timedelta(hours=21)


def test_check_is_made_once_a_day(account: Account) -> None:
    fill(account.box, 3)
    account.sync()
    account.box.calls.clear()
    account.sync()
    assert "list_ids" not in account.box.calls
    SyncState.objects.update(next_check_at=Now() - timedelta(seconds=1))
    account.sync()
    assert "list_ids" in account.box.calls
    assert CoverageCheck.objects.count() == 2


def test_check_fetches_what_is_missing(account: Account) -> None:
    fill(account.box, 5)
    account.sync()
    for number in range(3):
        behind_its_back(account, f"lost-{number}", "archive")
    account.sync()
    assert Message.objects.count() == 5
    make_due()
    account.sync()
    assert picture(account) == truth(account.box)
    check = last()
    assert (check.remote, check.stored, check.missing, check.fetched) == (8, 8, 0, 3)
    check_counters(account)


def test_check_takes_up_again_what_was_wrongly_removed(account: Account) -> None:
    """Graph says "removed" of a message moved there and back, and never says it is back (reference 3.3)."""
    fill(account.box, 3)
    account.sync()
    before = Message.objects.get(message_id=ident("inbox-1")).pk
    Message.objects.filter(pk=before).update(removed_at=Now(), removed_cause="deleted", in_inbox=False)
    make_due()
    account.sync()
    assert Message.objects.present().get(message_id=ident("inbox-1")).pk == before
    assert picture(account) == truth(account.box)
    check_counters(account)


def test_check_removes_what_is_not_there_after_asking_for_it(account: Account) -> None:
    fill(account.box, 3)
    account.sync()
    stored = account.box.find(ident("inbox-1"))
    del account.box.messages[stored.remote_id]  # no change tells of it
    make_due()
    account.sync()
    gone = Message.objects.get(message_id=ident("inbox-1"))
    assert gone.removed_cause == "absent"
    assert (last().removed, last().remote, last().stored) == (1, 2, 2)
    check_counters(account)


def test_check_finds_what_was_moved_without_a_word(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a provider whose ids survive a move: the message is asked for by its id and tells where it is."""
    fill(account.box, 3)
    account.sync()
    stored = account.box.find(ident("inbox-1"))
    account.box.messages[stored.remote_id] = replace(stored, folder="archive")
    make_due()
    account.sync()
    assert picture(account) == truth(account.box)
    row = Message.objects.get(message_id=ident("inbox-1"))
    assert (row.stream, row.removed_at) == ("archive", None)
    assert last().moved == 1
    make_due()
    account.sync()
    assert (last().moved, last().fetched, last().removed) == (0, 0, 0)


def test_check_does_not_believe_a_listing_that_is_suddenly_short(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(account.box, 120)
    account.sync()
    listing = Memory.list_ids

    def short(self: Memory, stream: Stream, token: str, limit: int, **named: Any) -> Any:
        page = listing(self, stream, token, limit, **named)
        return replace(page, remote_ids=page.remote_ids[:10], next_token="")

    monkeypatch.setattr(Memory, "list_ids", short)
    account.box.calls.clear()
    make_due()
    account.sync()
    assert Message.objects.present().count() == 120
    assert account.connection.cursors.get(stream="inbox").held_reason
    monkeypatch.setattr(Memory, "list_ids", listing)
    make_due()
    account.sync()
    assert account.connection.cursors.get(stream="inbox").held_reason == ""


def test_check_leaves_alone_what_came_while_it_listed(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(account.box, 3)
    account.sync()
    listing = Memory.list_ids

    def late(self: Memory, stream: Stream, token: str, limit: int, **named: Any) -> Any:
        page = listing(self, stream, token, limit, **named)
        if stream.key == "inbox" and not token:
            account.box.append(mail("late"), "inbox")
            account.box.remove(account.box.find(ident("inbox-0")).remote_id)
        return page

    monkeypatch.setattr(Memory, "list_ids", late)
    make_due()
    account.sync()
    assert picture(account) == truth(account.box)
    check = last()
    assert (check.fetched, check.removed, check.missing) == (0, 0, 0)


def test_check_counts_what_never_comes_as_missing(account: Account) -> None:
    fill(account.box, 3)
    account.sync()
    behind_its_back(account, "bad", "inbox")
    account.connection.unfetched.create(
        remote_id=account.box.find(ident("bad")).remote_id,
        stream="inbox",
        reason="Backend error",
        next_attempt_at=Now() + timedelta(hours=1),
    )
    make_due()
    account.sync()
    assert (last().remote, last().stored, last().missing) == (4, 3, 1)
    Unfetched.objects.update(next_attempt_at=Now())
    make_due()
    account.sync()
    assert (last().stored, last().missing) == (4, 0)


def test_check_does_not_miss_what_its_user_does_not_want(account: Account, member: Actor) -> None:
    fill(account.box, 3)
    account.box.append(mail("unwanted", sender="noise@spam.test"), "inbox")
    MailScope.objects.create(connection=account.connection, blocked=["spam.test"])
    account.sync()
    check = last()
    assert (check.remote, check.stored, check.excluded, check.missing) == (4, 3, 1, 0)


def test_check_mends_counters_and_says_how_many(account: Account) -> None:
    fill(account.box, 6)
    account.sync()
    FolderCounter.objects.filter(role="inbox").update(total=99)
    FolderCounter.objects.filter(role="all").update(unread=0)
    Thread.objects.filter(pk=Thread.objects.values("pk")[:1]).update(message_count=7)
    make_due()
    account.sync()
    assert last().recounted == 3
    check_counters(account)


def test_check_goes_on_where_a_slice_ended(account: Account) -> None:
    fill(account.box, 5)
    fill(account.box, 5, "archive")
    account.sync()
    make_due()
    account.box.calls.clear()
    slices = 1
    while account.slice(seconds=-1):
        slices += 1
    assert slices > 3
    assert account.box.calls.count("list_ids") == 6
    assert (last().remote, last().stored) == (10, 10)


def test_check_by_a_worker_that_lost_its_lease_writes_nothing(account: Account) -> None:
    fill(account.box, 3)
    account.sync()
    behind_its_back(account, "lost", "inbox")
    make_due()

    def steal(name: str) -> None:
        if name == "fetch":
            SyncRun.objects.update(fence=99)

    account.box.before_call = steal
    with pytest.raises(LeaseLost):
        account.slice()
    assert Message.objects.count() == 3
    assert not CoverageCheck.objects.filter(ended_at__isnull=True, remote__gt=0).exists()


def test_status_shows_the_figures_and_what_was_mended(account: Account, member: Actor) -> None:
    fill(account.box, 3)
    account.sync()
    behind_its_back(account, "lost", "inbox")
    body = {"type": "email", "checkCoverage": True}
    answer = member.client.post(f"/api/v1/integrations/connections/{account.connection.pk}/sync", body)
    assert answer.status_code == 202
    account.sync()
    status = member.client.get(f"/api/v1/integrations/connections/{account.connection.pk}/status").json()
    coverage = status["email"]["coverage"]
    assert (coverage["remote"], coverage["stored"], coverage["missing"]) == (4, 4, 0)
    assert [check["fetched"] for check in coverage["checks"]] == [1, 0]


def test_comparing_costs_the_same_for_a_folder_of_any_size(account: Account) -> None:
    def cost() -> int:
        make_due()
        with CaptureQueriesContext(database) as queries:
            account.sync()
        return len(queries)

    fill(account.box, 3)
    fill(account.box, 3, "archive")
    account.sync()
    few = cost()
    fill(account.box, 300, "archive")
    account.sync()
    assert cost() <= few + 2


def test_check_of_a_folder_that_is_renumbered_meanwhile_is_made_again(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(account.box, 5)
    account.sync()
    listing = Memory.list_ids

    def renumbered(self: Memory, stream: Stream, token: str, limit: int, **named: Any) -> Any:
        page = listing(self, stream, token, limit, **named)
        if stream.key == "inbox":
            account.box.renumber()
        return page

    monkeypatch.setattr(Memory, "list_ids", renumbered)
    make_due()
    account.sync()
    assert CoverageCheck.objects.filter(ended_at__isnull=True).count() == 1
    monkeypatch.setattr(Memory, "list_ids", listing)
    account.sync()
    assert (last().remote, last().stored, last().missing, last().removed) == (5, 5, 0, 0)
    assert picture(account) == truth(account.box)
