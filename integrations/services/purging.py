"""Deleting all that was synced over a connection, and proving that it is gone.

Begun by `disconnecting`, which hides the connection first; worked by the request for a moment and then by the task, in
small transactions, so that neighbours wait for nothing. Which tables there are is read from the models: every table
with a way of foreign keys to the connection, so a new one is covered without being named here.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db import IntegrityError, OperationalError, models, transaction
from django.db.models import F, Q, QuerySet

from core.errors import LeaseLost
from integrations.models import Connection, Purge
from workspaces.services import audit

BATCH = 1000
LEASE_SECONDS = 60.0
INLINE_SECONDS = 2.0
"""How long the request itself works: a small mailbox is gone when it is answered."""
SLICE_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class Table:
    """A model whose rows belong to connections, with the look-ups that lead from it to them."""

    model: type[models.Model]
    paths: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.model._meta.label

    def rows(self, connection_id: object) -> QuerySet[Any]:
        """The connection's rows."""
        ways = Q(*((path, connection_id) for path in self.paths), _connector=Q.OR)
        return self.model._base_manager.filter(ways)


@cache
def tables() -> tuple[Table, ...]:
    """Every table with a way to the connection; those that refer to others come before them."""
    paths: dict[type[models.Model], list[str]] = {}
    level: list[tuple[type[models.Model], str]] = [(Connection, "")]
    while level:
        following = [step for model, way in level for step in _referring(model, way)]
        level = [step for step in following if step[0] not in paths]
        for model, way in following:
            if model is not Connection and not _is_direct(paths.get(model, ())):
                paths.setdefault(model, []).append(way)
    return tuple(Table(model, tuple(ways)) for model, ways in _dependents_first(paths))


def _referring(model: type[models.Model], way: str) -> Iterable[tuple[type[models.Model], str]]:
    """Models with a foreign key to `model`. What merely points there and may stay without (SET_NULL) is the
    connection's only where it points to the connection itself."""
    for relation in model._meta.get_fields(include_hidden=True):  # hidden: those with related_name="+"
        if not isinstance(relation, models.ManyToOneRel):
            continue
        if way and relation.on_delete is not models.CASCADE:
            continue
        yield relation.related_model, f"{relation.field.name}__{way}" if way else relation.field.name


def _is_direct(ways: Iterable[str]) -> bool:
    return any("__" not in way for way in ways)


def _dependents_first(
    paths: dict[type[models.Model], list[str]],
) -> list[tuple[type[models.Model], list[str]]]:
    ordered: list[tuple[type[models.Model], list[str]]] = []
    waiting = dict(paths)
    while waiting:
        referred = {relation for model in waiting for relation in _refers_to(model) if relation is not model}
        free = [model for model in waiting if model not in referred] or [next(reversed(waiting))]
        ordered += [(model, waiting.pop(model)) for model in free]
    return ordered


def _refers_to(model: type[models.Model]) -> set[Any]:
    return {field.related_model for field in model._meta.concrete_fields if field.is_relation}


def counts(connection_id: uuid.UUID) -> dict[str, int]:
    """Table → rows of the connection, itself included."""
    found = {table.name: table.rows(connection_id).count() for table in tables()}
    return {**found, Connection._meta.label: Connection.objects.filter(pk=connection_id).count()}


def work(purge_id: object, *, seconds: float = SLICE_SECONDS) -> bool:
    """One slice. True where there is more to do at once."""
    purge: Purge | None = Purge.objects.claim(purge_id, lease_seconds=LEASE_SECONDS)
    if purge is None:
        return False
    deadline = time.monotonic() + seconds
    try:
        if not purge.before:
            _begin(purge)
        if not _delete_rows(purge, deadline) or not _finish(purge):
            purge.retry(after_seconds=0, attempts=0)
            return True
    except LeaseLost:
        pass
    except (IntegrityError, OperationalError):  # somebody wrote or locked at that moment: their last one
        purge.retry(after_seconds=1)
        return True
    return False


def _begin(purge: Purge) -> None:
    before = counts(purge.connection_id)
    with transaction.atomic():
        purge.hold(lease_seconds=LEASE_SECONDS, before=before, total=sum(before.values()))
    purge.before = before


def _delete_rows(purge: Purge, deadline: float) -> bool:
    """False where time ran out before the end."""
    for table in tables():
        while _delete_batch(purge, table):
            if time.monotonic() >= deadline:
                return False
    return True


def _delete_batch(purge: Purge, table: Table) -> int:
    """A transaction of its own: its locks are held for milliseconds."""
    with transaction.atomic():
        batch = list(table.rows(purge.connection_id).order_by().values_list("pk", flat=True)[:BATCH])
        purge.hold(lease_seconds=LEASE_SECONDS, attempts=0, done=F("done") + len(batch))
        table.model._base_manager.filter(pk__in=batch).delete()
    return len(batch)


def _finish(purge: Purge) -> bool:
    """Count everything again, the connection gone. False where something was still written meanwhile."""
    with transaction.atomic():
        left = {table.name: table.rows(purge.connection_id).count() for table in tables()}
        if any(left.values()):
            return False
        Connection.objects.filter(pk=purge.connection_id).delete()
        after = {**left, **counts(purge.connection_id)}
        purge.finish(after=after, done=F("total"))
        audit.record(
            by=None,
            workspace=purge.workspace,
            action="connection.purge_finished",
            target=Connection(pk=purge.connection_id),
            changes={"before": purge.before, "after": after},
        )
    return True


def due(limit: int = 100) -> list[object]:
    """Work to ring: waiting, or left by a worker that died."""
    return Purge.objects.to_ring(limit)
