"""What is forgotten after its grace period, and what must not be."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now

from core.ids import oldest_kept
from email_sync.models import ChangeStatus, FolderCounter, LocalChange, Message, Thread
from email_sync.services import housekeeping
from email_sync.tests.conftest import Account
from email_sync.tests.factories import MessageFactory, ThreadFactory
from email_sync.tests.test_store import copy, present, write

pytestmark = pytest.mark.django_db

LONG_AGO = Now() - timedelta(days=40)


def test_purge_removes_only_what_was_removed_long_ago(account: Account) -> None:
    kept = MessageFactory(connection=account.connection)
    recent = MessageFactory(connection=account.connection, in_inbox=False)
    old = MessageFactory(connection=account.connection, in_inbox=False)
    Message.objects.filter(pk=recent.pk).update(removed_at=Now())
    Message.objects.filter(pk=old.pk).update(removed_at=LONG_AGO)
    assert housekeeping.purge_removed() == 1
    assert set(Message.objects.values_list("pk", flat=True)) == {kept.pk, recent.pk}
    assert FolderCounter.objects.get(role="all").total == 1


@pytest.mark.django_db(transaction=True)
def test_purge_leaves_a_message_that_comes_back_at_the_same_moment(account: Account) -> None:
    write(account, "inbox", copy("inbox/1"))
    write(account, "inbox", removed=["inbox/1"])
    Message.objects.update(removed_at=LONG_AGO)
    counts: list[int] = []

    def purge() -> None:
        try:
            counts.append(housekeeping.purge_removed())
        finally:
            database.close()

    purging = threading.Thread(target=purge)
    with transaction.atomic():
        write(account, "archive", copy("archive/1"))
        purging.start()
        _until_somebody_waits_or_is_done(purging)
    purging.join(20)
    assert present() == {"archive/1"}
    assert counts == [0]


def _until_somebody_waits_or_is_done(purging: threading.Thread) -> None:
    give_up = time.monotonic() + 10
    while purging.is_alive() and time.monotonic() < give_up:
        with database.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return


def test_settled_changes_are_forgotten_after_a_week(account: Account) -> None:
    message = MessageFactory(connection=account.connection)
    given: dict[str, Any] = {"connection": account.connection, "message": message, "value": True}
    LocalChange.objects.create(kind="read", **given)
    LocalChange.objects.create(kind="starred", status=ChangeStatus.DONE, settled_at=Now(), **given)
    LocalChange.objects.create(kind="starred", status=ChangeStatus.FAILED, settled_at=LONG_AGO, **given)
    assert housekeeping.forget_settled_changes() == 1
    assert set(LocalChange.objects.values_list("status", flat=True)) == {ChangeStatus.PENDING, ChangeStatus.DONE}


def test_thread_of_a_send_whose_copy_never_came_is_forgotten(account: Account) -> None:
    """It never had a message, so nothing but its own id says how old it is."""
    old, new = (ThreadFactory(connection=account.connection) for _ in range(2))
    aged = oldest_kept(40)
    Thread.objects.filter(pk=old.pk).update(id=aged)
    assert housekeeping.forget_empty_threads() == 1
    assert list(Thread.objects.values_list("pk", flat=True)) == [new.pk]


def test_thread_that_others_were_merged_into_goes_with_its_pointers_only_when_empty(account: Account) -> None:
    message = MessageFactory(connection=account.connection)
    full = message.thread
    Thread.objects.filter(pk=full.pk).update(message_count=1, last_message_at=LONG_AGO)
    pointer = ThreadFactory(connection=account.connection, merged_into=full)
    Thread.objects.filter(pk=pointer.pk).update(last_message_at=LONG_AGO)
    assert housekeeping.forget_empty_threads() == 0
    message.delete()
    Thread.objects.filter(pk=full.pk).update(message_count=0)
    housekeeping.forget_empty_threads()
    assert not Thread.objects.exists()
