"""The folder counters, whatever is written and however: after any history they say what counting says (ADR 0006)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models import Count, Q
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from email_sync.models import FOLDERS, FolderCounter, Message, Thread
from email_sync.records import ROLES
from email_sync.tests.factories import connect
from integrations.models import Connection
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FLAGS = (*(f"in_{role}" for role in ROLES), "is_read", "is_starred")

states = st.fixed_dictionaries(
    {name: st.booleans() for name in FLAGS} | {"removed_at": st.sampled_from([None, None, NOW])}
)
changes = st.dictionaries(st.sampled_from(FLAGS), st.booleans(), min_size=1, max_size=3)
chosen = st.sets(st.integers(0, 11), max_size=6)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.integers(0, 1), st.lists(states, min_size=1, max_size=4)),
        st.tuples(st.just("update"), chosen, changes),
        st.tuples(st.just("bulk_update"), chosen, changes),
        st.tuples(st.just("upsert"), chosen, changes),
        st.tuples(st.just("remove"), chosen, st.sampled_from([None, NOW])),
        st.tuples(st.just("delete"), chosen, st.none()),
        st.tuples(st.just("copy"), st.integers(0, 1), st.lists(states, min_size=1, max_size=3)),
        st.tuples(st.just("forget mailbox"), st.integers(0, 1), st.none()),
        st.tuples(st.just("undo"), chosen, changes),
    ),
    max_size=10,
)


@dataclass
class Mailboxes:
    """Two mailboxes and the ways in which their messages are written."""

    connections: list[Connection]
    made: int = 0
    threads: dict[Any, Thread] = field(default_factory=dict)

    def rows(self, where: int, columns: list[dict[str, Any]]) -> list[Message]:
        connection = self.connections[where]
        if not Connection.objects.filter(pk=connection.pk).exists():
            return []
        thread = self.threads.get(connection.pk) or Thread.objects.create(connection=connection)
        self.threads[connection.pk] = thread
        rows = []
        for given_columns in columns:
            self.made += 1
            place = {"connection": connection, "thread": thread, "remote_id": str(self.made), "stream": "s"}
            rows.append(Message(**place, received_at=NOW, **given_columns))
        return rows

    def ids(self, chosen: set[int]) -> list[Any]:
        every = list(Message.objects.order_by("remote_id", "pk").values_list("pk", flat=True))
        return [every[index] for index in chosen if index < len(every)]

    def apply(self, kind: str, what: Any, how: Any) -> None:
        ways: dict[str, Callable[[], object]] = {
            "insert": lambda: Message.objects.bulk_create(self.rows(what, how)),
            "update": lambda: Message.objects.filter(pk__in=self.ids(what)).update(**how),
            "bulk_update": lambda: self._bulk_update(what, how),
            "upsert": lambda: self._upsert(what, how),
            "remove": lambda: Message.objects.filter(pk__in=self.ids(what)).update(removed_at=how),
            "delete": lambda: Message.objects.filter(pk__in=self.ids(what)).delete(),
            "copy": lambda: self._copy(self.rows(what, how)),
            "forget mailbox": lambda: Connection.objects.filter(pk=self.connections[what].pk).delete(),
            "undo": lambda: self._undo(what, how),
        }
        ways[kind]()

    def _bulk_update(self, chosen: set[int], change: dict[str, bool]) -> None:
        rows = list(Message.objects.filter(pk__in=self.ids(chosen)))
        for row in rows:
            for name, value in change.items():
                setattr(row, name, value)
        Message.objects.bulk_update(rows, list(change))

    def _upsert(self, chosen: set[int], change: dict[str, bool]) -> None:
        """Known rows are inserted once more and become updates."""
        rows = list(Message.objects.filter(pk__in=self.ids(chosen)))
        for row in rows:
            for name, value in change.items():
                setattr(row, name, value)
        Message.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["connection", "remote_id"], update_fields=list(change)
        )

    def _copy(self, rows: list[Message]) -> None:
        columns = [column for column in Message._meta.concrete_fields if column.name not in ("created_at",)]
        names = ", ".join(f'"{column.column}"' for column in columns)
        with database.cursor() as cursor, cursor.copy(f"COPY email_sync_message ({names}) FROM STDIN") as copy:
            for row in rows:
                row.updated_at = NOW
                copy.write_row([column.get_db_prep_save(getattr(row, column.attname), database) for column in columns])

    def _undo(self, chosen: set[int], change: dict[str, bool]) -> None:
        with transaction.atomic():
            Message.objects.filter(pk__in=self.ids(chosen)).update(**change)
            Message.objects.filter(pk__in=self.ids(chosen)).delete()
            transaction.set_rollback(True)

    def counted(self) -> dict[tuple[Any, str], tuple[int, int]]:
        """By counting."""
        return {
            (connection.pk, role): figures for connection in self.connections for role, figures in _counted(connection)
        }

    def kept(self) -> dict[tuple[Any, str], tuple[int, int]]:
        """By the trigger; no row counts as zero."""
        rows = FolderCounter.objects.values_list("connection", "role", "total", "unread")
        found = {(connection, role): (total, unread) for connection, role, total, unread in rows}
        return {key: found.pop(key, (0, 0)) for key in self.counted()} | found


def _counted(connection: Connection) -> list[tuple[str, tuple[int, int]]]:
    wanted = {}
    for role, condition in FOLDERS.items():
        wanted[f"{role}_total"] = Count("pk", filter=condition)
        wanted[f"{role}_unread"] = Count("pk", filter=condition & Q(is_read=False))
    figures = Message.objects.filter(connection=connection.pk).aggregate(**wanted)
    return [(role, (figures[f"{role}_total"], figures[f"{role}_unread"])) for role in FOLDERS]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(history=steps)
def test_counters_after_any_history_say_what_counting_says(history: list[tuple[str, Any, Any]], member: Actor) -> None:
    with transaction.atomic():
        boxes = Mailboxes([connect(member), connect(member)])
        for kind, what, how in history:
            boxes.apply(kind, what, how)
            assert boxes.kept() == boxes.counted(), kind
        transaction.set_rollback(True)
