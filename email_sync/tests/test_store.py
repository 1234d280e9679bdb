"""The writer of pages: copies, moves and removals that meet in one page, odd values, and who waits for whom."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction

from email_sync.models import ChangeKind, FolderCounter, Message, Thread
from email_sync.records import ROLES, RemoteMessage, RemoteState
from email_sync.services import changes, store, threads
from email_sync.services.fetching import parse_all
from email_sync.services.store import Incoming
from email_sync.tests.conftest import Account
from email_sync.tests.contract import mail
from email_sync.tests.memory import Stored, state_of

pytestmark = pytest.mark.django_db

ARRIVED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def incoming(stored: Stored) -> Incoming:
    """A message of a mailbox in memory as the engine would bring it."""
    [item] = parse_all([RemoteMessage(state_of(stored), stored.received_at, len(stored.raw), raw=stored.raw)])
    return item


def copy(remote_id: str, name: str = "same", *, references: str = "") -> Incoming:
    """A message under this id; those of one name are copies of one mail."""
    folder = remote_id.split("/")[0]
    key = hashlib.sha256(name.encode()).hexdigest()
    state = RemoteState(remote_id, (folder,), frozenset({folder} & set(ROLES)), False, False, key)
    raw = f"References: {references}\r\n".encode() * bool(references) + mail(name)
    return parse_all([RemoteMessage(state, ARRIVED, 100, raw=raw)])[0]


def write(account: Account, stream: str, *messages: Incoming, **page: Any) -> None:
    with transaction.atomic():
        store.write_page(connection=account.connection, stream=stream, messages=messages, **page)


def present() -> set[str]:
    return set(Message.objects.present().values_list("remote_id", flat=True))


def state(item: Incoming, **columns: Any) -> RemoteState:
    return replace(item.remote.state, **columns)


def test_two_copies_removed_in_one_page_are_both_gone(account: Account) -> None:
    write(account, "inbox", copy("inbox/1"), copy("inbox/2"))
    write(account, "inbox", removed=["inbox/1", "inbox/2"])
    assert present() == set()
    assert FolderCounter.objects.get(role="inbox").total == 0


def test_two_copies_in_two_folders_removed_one_after_the_other_are_both_gone(account: Account) -> None:
    write(account, "inbox", copy("inbox/1"))
    write(account, "archive", copy("archive/1"))
    write(account, "inbox", removed=["inbox/1"])
    assert present() == {"archive/1"}
    write(account, "archive", removed=["archive/1"])
    assert present() == set()


def test_copies_in_one_folder_stay_two_rows_and_the_one_that_stays_keeps_its_id(account: Account) -> None:
    """A mail delivered twice has the same Message-ID, time and size; removing one is no move."""
    write(account, "inbox", copy("inbox/1"), copy("inbox/2"))
    kept = Message.objects.get(remote_id="inbox/2").pk
    write(account, "inbox", removed=["inbox/1"])
    assert present() == {"inbox/2"}
    assert Message.objects.get(remote_id="inbox/2").pk == kept


def test_flag_of_a_copy_arrives_with_the_removal_of_the_other(account: Account) -> None:
    first, second = copy("inbox/1"), copy("inbox/2")
    write(account, "inbox", first, second)
    write(account, "inbox", removed=["inbox/1"], updated=[state(second, is_read=True)])
    [row] = Message.objects.present()
    assert (row.remote_id, row.is_read) == ("inbox/2", True)


def test_message_moved_while_its_flag_changed_keeps_its_row_and_the_flag(account: Account) -> None:
    write(account, "archive", copy("archive/1"))
    row = Message.objects.get()
    moved = copy("inbox/1")
    write(account, "inbox", moved)
    write(account, "archive", removed=["archive/1"])
    write(account, "inbox", updated=[state(moved, is_starred=True)])
    [kept] = Message.objects.present()
    assert (kept.pk, kept.remote_id, kept.is_starred) == (row.pk, "inbox/1", True)


def test_copy_that_comes_back_together_with_a_new_one_does_not_lose_either(account: Account) -> None:
    """The removed row belongs to the message that still has its id; the other is new."""
    first = copy("inbox/1")
    write(account, "inbox", first)
    write(account, "inbox", removed=["inbox/1"])
    write(account, "inbox", first, copy("inbox/2"))
    assert present() == {"inbox/1", "inbox/2"}


def test_message_moved_between_folders_without_a_role_counts_in_its_thread(account: Account) -> None:
    write(account, "project", copy("project/1"))
    write(account, "project", removed=["project/1"])
    assert Thread.objects.get().message_count == 0
    write(account, "other", copy("other/1"))
    assert Message.objects.count() == 1
    assert Thread.objects.get().message_count == 1


def test_page_written_twice_changes_nothing(account: Account) -> None:
    page = [copy("inbox/1"), copy("inbox/1"), copy("inbox/2", "other")]
    for _ in range(2):
        write(account, "inbox", *page)
    assert Message.objects.count() == 2
    assert FolderCounter.objects.get(role="inbox").total == 2


FIGURES = ("pk", "subject", "message_count", "unread_count", "last_message_at", "shown_count", "shown_at")


def test_threads_opened_by_a_page_have_the_figures_that_a_recount_finds(account: Account) -> None:
    later = copy("inbox/2", "answer", references="<first@contract.test>")
    later = replace(later, remote=replace(later.remote, received_at=ARRIVED + timedelta(hours=1)))
    spam = copy("spam/1", "advert")
    at_the_provider = copy("inbox/3", "third")
    at_the_provider = replace(
        at_the_provider,
        remote=replace(at_the_provider.remote, thread_remote_id="t3", state=state(at_the_provider, is_read=True)),
    )
    write(account, "inbox", copy("inbox/1", "first"), later, spam, at_the_provider)
    written = list(Thread.objects.order_by("id").values_list(*FIGURES))
    assert sorted(row[2:] for row in written) == sorted(
        [
            (2, 2, ARRIVED + timedelta(hours=1), 2, ARRIVED + timedelta(hours=1)),
            (1, 1, ARRIVED, 0, None),
            (1, 0, ARRIVED, 1, ARRIVED),
        ]
    )
    threads.recount([row[0] for row in written])
    assert list(Thread.objects.order_by("id").values_list(*FIGURES)) == written


def test_thread_that_goes_on_in_a_later_page_is_counted_anew(account: Account) -> None:
    write(account, "inbox", copy("inbox/1", "first"))
    write(account, "inbox", copy("inbox/2", "answer", references="<first@contract.test>"))
    [thread] = Thread.objects.all()
    assert (thread.message_count, thread.unread_count, thread.shown_count) == (2, 2, 2)


@pytest.mark.django_db(transaction=True)
def test_click_during_a_page_waits_and_neither_breaks_off(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page holds the counters and joins two threads; the click holds a message of one of them."""
    write(account, "inbox", copy("inbox/1", "left"), copy("inbox/2", "right"), copy("inbox/3", "gone"))
    clicked = Message.objects.get(remote_id="inbox/2")
    errors: list[BaseException] = []

    def click() -> None:
        try:
            changes.change(message=clicked, kind=ChangeKind.READ, value=True)
        except BaseException as error:  # noqa: BLE001 - told to the test
            errors.append(error)
        finally:
            database.close()

    user = threading.Thread(target=click)
    assign = threads.assign

    def assign_while_clicked(**given: Any) -> Any:
        user.start()
        _wait_until_somebody_waits()
        return assign(**given)

    monkeypatch.setattr(threads, "assign", assign_while_clicked)
    both = "<left@contract.test> <right@contract.test>"
    write(account, "inbox", copy("inbox/4", "late", references=both), removed=["inbox/3"])
    user.join(20)
    assert errors == []
    assert Message.objects.get(pk=clicked.pk).is_read
    [thread] = Thread.objects.filter(merged_into=None, message_count__gt=0)
    assert (thread.message_count, thread.unread_count) == (3, 2)


def _wait_until_somebody_waits() -> None:
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:
        with database.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
    pytest.fail("nobody waits for the page")
