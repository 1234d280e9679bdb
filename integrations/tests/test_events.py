"""Events: written with what they tell, read in an order nobody overtakes, kept for a month."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import psycopg
import pytest
from django.db import connection as database
from django.db import transaction
from django.test.utils import CaptureQueriesContext

from core.ids import oldest_kept, uuid7
from integrations.models import Event
from integrations.services import events
from integrations.services.events import NewEvent, Position
from workspaces.models import Workspace
from workspaces.tests.factories import WorkspaceFactory
from workspaces.tests.fixtures import Actor


def happen(workspace: Workspace, type: str = "email.sent", **given: Any) -> None:
    events.record(workspace_id=workspace.pk, type=type, **given)


def types_after(position: Position, workspace: Workspace, limit: int = 100) -> list[str]:
    return [event.type for event in events.read_after(position, limit=limit, workspace_id=workspace.pk)]


@pytest.mark.django_db(transaction=True)
def test_read_after_gives_what_was_committed_since_in_order(workspace: Workspace) -> None:
    happen(workspace, "before")
    start = events.now()
    for number in range(3):
        happen(workspace, f"event.{number}")
    happen(WorkspaceFactory(), "elsewhere")
    assert types_after(start, workspace) == ["event.0", "event.1", "event.2"]
    [first, second] = events.read_after(start, limit=2, workspace_id=workspace.pk)
    assert types_after(events.position_of(first), workspace) == ["event.1", "event.2"]
    assert types_after(events.position_of(second), workspace) == ["event.2"]


@pytest.mark.django_db(transaction=True)
def test_read_after_with_a_late_commit_misses_nothing_and_repeats_nothing(workspace: Workspace) -> None:
    """A row made first and committed last: a reader by id alone would have gone past it."""
    start = events.now()
    made, may_commit = threading.Event(), threading.Event()

    def slow() -> None:
        try:
            with transaction.atomic():
                happen(workspace, "slow")
                made.set()
                may_commit.wait(20)
        finally:
            database.close()

    writer = threading.Thread(target=slow)
    writer.start()
    made.wait(20)
    happen(workspace, "quick")
    seen = list(events.read_after(start, limit=10, workspace_id=workspace.pk))
    assert seen == []  # the quick one is there, but somebody older may still come
    later = events.now()
    may_commit.set()
    writer.join(20)
    assert types_after(start, workspace) == ["slow", "quick"]
    assert types_after(later, workspace) == ["slow", "quick"]  # taken while they could not be read


@pytest.mark.django_db(transaction=True)
def test_read_after_does_not_wait_for_another_databases_transaction(workspace: Workspace) -> None:
    start = events.now()
    where = database.get_connection_params()
    wanted = {name: where[name] for name in ("host", "port", "user", "password") if where.get(name)}
    other = psycopg.connect(dbname="postgres", **wanted)
    try:
        other.execute("SELECT pg_current_xact_id()")  # it is under way and has a number
        happen(workspace, "here")
        assert types_after(start, workspace) == ["here"]
    finally:
        other.close()


@pytest.mark.django_db(transaction=True)
def test_record_in_a_transaction_that_fails_leaves_no_event(workspace: Workspace) -> None:
    start = events.now()
    with transaction.atomic():
        happen(workspace)
        transaction.set_rollback(True)
    assert types_after(start, workspace) == []


@pytest.mark.django_db
def test_record_many_of_a_page_is_one_statement(workspace: Workspace, member: Actor) -> None:
    page = [NewEvent("email.received", workspace.pk, None, member.user.pk, {"id": str(uuid7())}) for _ in range(200)]
    with CaptureQueriesContext(database) as captured:
        events.record_many(page)
    assert [query["sql"][:6] for query in captured] == ["INSERT"]
    assert Event.objects.count() == 200
    assert Event.objects.values("transaction").distinct().count() == 1


@pytest.mark.django_db
def test_position_survives_being_written_down_and_nothing_else_is_taken_for_one() -> None:
    position = Position(123456789, uuid7())
    assert events.parse(str(position)) == position
    for text in ("", "7", "x-" + uuid7().hex, f"1-{uuid7()}", "-1-" + uuid7().hex, "f" * 16 + "-" + uuid7().hex):
        assert events.parse(text) is None


@pytest.mark.django_db
def test_position_older_than_events_are_kept_or_of_another_database_is_expired() -> None:
    here = events.now()
    assert not here.expired
    assert Position(here.transaction, oldest_kept(events.KEEP_DAYS + 1)).expired
    assert Position(here.transaction + 10**9, uuid7()).expired


@pytest.mark.django_db
def test_forget_old_removes_what_is_older_than_a_month(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "CHUNK", 2)
    for number in range(5):
        Event.objects.create(id=uuid.UUID(int=oldest_kept(31).int + number), type="old", workspace=workspace)
    Event.objects.create(id=oldest_kept(29), type="young", workspace=workspace)
    assert events.forget_old() == 5
    assert [event.type for event in Event.objects.all()] == ["young"]


@pytest.mark.django_db(transaction=True)
def test_adopt_restored_makes_events_of_another_database_readable(workspace: Workspace) -> None:
    start = events.now()
    Event.objects.create(type="restored", workspace=workspace, transaction=start.transaction + 10**9)
    assert types_after(start, workspace) == []
    assert events.adopt_restored() == 1
    assert events.adopt_restored() == 0
    assert types_after(start, workspace) == ["restored"]
