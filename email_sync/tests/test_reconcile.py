"""Comparing a stream with its provider: copies, ids that come back, and a whole folder under new ids."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.db import connection as database
from django.db import transaction
from django.test.utils import CaptureQueriesContext

from email_sync.models import Message
from email_sync.services.reconcile import compare
from email_sync.tests.conftest import Account
from email_sync.tests.contract import mail
from email_sync.tests.memory import state_of
from email_sync.tests.test_engine import check_counters, fill, picture, truth

pytestmark = pytest.mark.django_db


def twins(account: Account) -> None:
    """One mail delivered twice at the same second."""
    first = account.box.append(mail("twin"), "inbox")
    second = account.box.append(mail("twin"), "inbox")
    account.box.messages[second.remote_id] = replace(second, received_at=first.received_at)


def test_copies_keep_their_rows_when_every_id_changes(account: Account) -> None:
    twins(account)
    fill(account.box, 3)
    account.sync()
    before = set(Message.objects.values_list("pk", flat=True))
    account.box.renumber()
    account.sync()
    assert set(Message.objects.present().values_list("pk", flat=True)) == before
    assert picture(account) == truth(account.box)
    check_counters(account)


def test_ids_that_come_back_meet_a_removed_copy_and_lose_nothing(account: Account) -> None:
    """A server put back to an older state: its numbers are the old ones, and so is what was deleted since."""
    twins(account)
    account.sync()
    old = dict(account.box.messages)
    account.box.remove(list(old)[1])
    account.sync()
    account.box.renumber()
    account.sync()
    account.box.messages.clear()
    account.box.messages.update(old)
    account.box.generation += 1
    account.sync()
    assert set(Message.objects.present().values_list("remote_id", flat=True)) == set(old)
    check_counters(account)


def test_comparison_of_a_renumbered_mailbox_writes_its_new_ids_together(account: Account) -> None:
    fill(account.box, 300)
    account.sync()
    account.box.renumber()
    states = [state_of(stored) for stored in account.box.messages.values()]
    with transaction.atomic(), CaptureQueriesContext(database) as queries:
        difference = compare(account.connection, "inbox", states)
    assert len(queries) < 10
    assert (len(difference.known), difference.missing, difference.gone) == (300, [], [])
    assert set(Message.objects.values_list("remote_id", flat=True)) == set(account.box.messages)
