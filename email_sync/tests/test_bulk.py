"""Many rows at once: what COPY inserts and one UPDATE changes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, transaction

from core.ids import uuid7
from email_sync.models import Message, MessageBody, Thread
from email_sync.services import bulk
from email_sync.services.store import BODY_COLUMNS
from email_sync.services.threads import THREAD_COLUMNS
from email_sync.tests.factories import MessageFactory, connect
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


def test_copy_inserts_rows_with_any_text(member: Actor) -> None:
    connection = connect(member)
    subjects = ["plain", "tab\tline\nback\\slash", "\\N", "", "Łódź 会議"]
    rows = [(uuid7(), connection.pk, "", subject, 0, 0, None, 0, None) for subject in subjects]
    bulk.copy(Thread, THREAD_COLUMNS, rows)
    assert list(Thread.objects.order_by("id").values_list("subject", flat=True)) == subjects


def test_copy_of_a_row_that_is_there_is_refused(member: Actor) -> None:
    row = (uuid7(), connect(member).pk, "", "", 0, 0, None, 0, None)
    bulk.copy(Thread, THREAD_COLUMNS, [row])
    with pytest.raises(IntegrityError), transaction.atomic():
        bulk.copy(Thread, THREAD_COLUMNS, [row])


ODD = ["plain", "a b", 'c"{},', "back\\slash", "NULL", "", "tab\tline\n", "Łódź 会議"]


def test_copy_inserts_arrays_of_any_text(member: Actor) -> None:
    message = MessageFactory(connection=connect(member))
    MessageBody.objects.filter(message=message).delete()
    bulk.copy(MessageBody, BODY_COLUMNS, [(message.pk, "", "", "[]", ODD, [], "[]")])
    body = MessageBody.objects.get(message=message)
    assert (body.in_reply_to, body.references) == (ODD, [])


def test_any_of_finds_exactly_what_has_one_of_the_values(member: Actor) -> None:
    connection = connect(member)
    rows = [MessageFactory(connection=connection, remote_id=text) for text in ODD]
    MessageFactory(connection=connection, remote_id="another")
    own = Message.objects.filter(connection=connection)
    assert set(own.filter(remote_id__any_of=ODD).values_list("remote_id", flat=True)) == set(ODD)
    assert own.filter(pk__any_of={row.pk for row in rows}).count() == len(ODD)
    assert own.exclude(remote_id__any_of=ODD).get().remote_id == "another"


def test_any_of_nothing_asks_nothing_and_excludes_nothing(member: Actor, django_assert_num_queries: object) -> None:
    message = MessageFactory(connection=connect(member))
    with django_assert_num_queries(0):  # type: ignore[operator]
        assert not list(Message.objects.filter(remote_id__any_of=[]))
    assert Message.objects.exclude(remote_id__any_of=set()).get() == message


def test_update_changes_the_named_columns_of_each_row(member: Actor) -> None:
    first, second, other = MessageFactory.create_batch(3, connection=connect(member))
    first.folder_ids, first.removed_at = ["a b", 'c"{},'], datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
    second.folder_ids, second.removed_at = [], None
    first.subject = "not named"
    bulk.update(["folder_ids", "removed_at"], [first, second])
    kept = Message.objects.in_bulk([first.pk, second.pk, other.pk])
    assert (kept[first.pk].folder_ids, kept[first.pk].removed_at) == (first.folder_ids, first.removed_at)
    assert (kept[second.pk].folder_ids, kept[second.pk].removed_at) == ([], None)
    assert kept[first.pk].subject != "not named"
    assert kept[other.pk].folder_ids == ["inbox"]


def test_update_of_nothing_asks_nothing(django_assert_num_queries: object) -> None:
    with django_assert_num_queries(0):  # type: ignore[operator]
        bulk.update(["subject"], [])
