"""Nothing that a test commits reaches the next one."""

from __future__ import annotations

import threading

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import TransactionTestCase

from email_sync.tests.factories import MessageFactory, connect
from tests import emptying
from tests.world import tables
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import make_actor

pytestmark = pytest.mark.django_db(transaction=True)

NOT_OF_MODELS = {"django_migrations", "cache_entries"}


def _filled() -> set[str]:
    with connection.cursor() as cursor:
        checks = [f"SELECT '{name}' WHERE EXISTS (SELECT FROM \"{name}\")" for name in tables()]
        cursor.execute(" UNION ALL ".join(checks))
        return {name for (name,) in cursor.fetchall()} - NOT_OF_MODELS


def test_every_row_goes_and_what_migrations_made_stays() -> None:
    """Rows that others point to and rows that no statement may delete among them."""
    actor = make_actor()
    AuditEvent.objects.create(workspace=actor.workspace, action="x")
    MessageFactory(connection=connect(actor, "ada@example.org"))
    stays = Permission.objects.count(), ContentType.objects.count()
    assert {"workspaces_auditevent", "workspaces_user", "email_sync_message", "email_sync_foldercounter"} <= _filled()
    emptying.after_a_test(TransactionTestCase())
    assert _filled() == emptying.STAY
    assert (Permission.objects.count(), ContentType.objects.count()) == stays


def test_large_table_gives_its_room_back() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO django_session SELECT n, repeat('x', 100), now() FROM generate_series(1, 9999) n")
        emptying.after_a_test(TransactionTestCase())
        cursor.execute("SELECT pg_relation_size('django_session')")
        assert cursor.fetchone() == (0,)


def test_whoever_still_writes_is_waited_for() -> None:
    """A thread that a test left would else commit into the next one."""
    wrote, ends = threading.Event(), threading.Event()

    def slow() -> None:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN; INSERT INTO django_session VALUES ('slow', '', now())")
            wrote.set()
            ends.wait(10)
            cursor.execute("COMMIT")
        connection.close()

    thread = threading.Thread(target=slow)
    thread.start()
    assert wrote.wait(10)
    threading.Timer(0.2, ends.set).start()
    emptying.after_a_test(TransactionTestCase())
    thread.join()
    assert _filled() == emptying.STAY
