"""What happened, for those who follow: written in the transaction of what it tells, read in an order nobody overtakes.

`record` and `record_many` are called by services inside their own transaction; `read_after` by whoever follows (the
stream; webhooks). A row made first may be committed last, so a reader that remembered the highest id would miss it.
Promised by (transaction, id) and by reading only what is older than every transaction under way: whoever goes on from
the position of the last row it got misses nothing and gets nothing twice (ADR 0010). Kept for `KEEP_DAYS`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db import connection as database
from django.db.models import BigIntegerField, Q
from django.db.models.expressions import RawSQL
from django.dispatch import Signal

from core.ids import oldest_kept, uuid7
from integrations.models import Event
from integrations.models.event import FOR_STREAMS

KEEP_DAYS = 30
CHUNK = 5000
LOOKED_AT = 20_000
"""How far back `newest` looks for events of one type."""
OLDEST_UNDER_WAY = """(
    SELECT COALESCE(MIN(number::text::bigint), pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
    FROM pg_snapshot_xip(pg_current_snapshot()) AS number
    WHERE NOT EXISTS (
        SELECT FROM pg_stat_activity WHERE backend_xid = number::xid AND datname <> current_database()
    )
)"""
"""The oldest transaction that may still write here. A snapshot lists those of every database of the server; one that is
seen at work in another database writes nothing here, and somebody's long dump beside us must not hold events back."""
NEXT_TO_COME = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"

recorded = Signal()
"""Sent inside the writer's transaction with `workspace_ids` and `types`, for whoever rings others when it is through
and whose rows are to be there with the event."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to record. `payload` is JSON: ids and small facts, never a subject, an address or a text."""

    type: str
    workspace_id: uuid.UUID
    connection_id: uuid.UUID | None = None
    user_id: Any = None
    payload: Mapping[str, Any] = field(default_factory=dict)


def record(
    *,
    workspace_id: uuid.UUID,
    type: str,
    connection_id: uuid.UUID | None = None,
    user_id: Any = None,
    payload: Mapping[str, Any] | None = None,
) -> None:
    """One event. `user_id` is the owner of the mailbox it concerns, None where it concerns the workspace."""
    record_many([NewEvent(type, workspace_id, connection_id, user_id, payload or {})])


def record_many(events: Iterable[NewEvent]) -> None:
    """Any number of events in one statement. The caller's transaction makes them true."""
    rows = Event.objects.bulk_create(
        Event(
            type=event.type,
            workspace_id=event.workspace_id,
            connection_id=event.connection_id,
            user_id=event.user_id,
            payload=dict(event.payload),
        )
        for event in events
    )
    told = [row for row in rows if row.type not in FOR_STREAMS]
    workspace_ids, types = {row.workspace_id for row in told}, {str(row.type) for row in told}
    recorded.send(sender=Event, workspace_ids=workspace_ids, types=types)


# --- reading ------------------------------------------------------------------------------------------------------


class Position(NamedTuple):
    """A place in the order of events. Its id tells when it was taken."""

    transaction: int
    id: uuid.UUID

    def __str__(self) -> str:
        return f"{self.transaction:x}-{self.id.hex}"

    @property
    def expired(self) -> bool:
        """Events after it may have been forgotten, or it is of another database (one restored from a dump begins to
        count its transactions anew): following from here could miss some."""
        return self.id < oldest_kept(KEEP_DAYS) or self.is_of_another_database()

    def is_of_another_database(self) -> bool:
        """Its transaction is yet to come here."""
        return self.transaction >= _scalar(NEXT_TO_COME)


def parse(text: str) -> Position | None:
    """What `str(position)` wrote; None for anything else."""
    found = re.fullmatch(r"([0-9a-f]{1,15})-([0-9a-f]{32})", text)
    return Position(int(found[1], 16), uuid.UUID(found[2])) if found else None


def position_of(event: Event) -> Position:
    """The place right after this event."""
    return Position(event.transaction, event.pk)


def now() -> Position:
    """The place after everything that can be read now and before everything that cannot yet."""
    return Position(_scalar(OLDEST_UNDER_WAY) - 1, uuid7())


def read_after(position: Position, *, limit: int, **whose: object) -> Sequence[Event]:
    """The next events of `whose` (filters on columns: `workspace_id`, `user_id`), oldest first."""
    rows = Event.objects.filter(
        after(position.transaction, position.id), transaction__lt=now_in_sql(OLDEST_UNDER_WAY), **whose
    )
    return list(rows.order_by("transaction", "id")[:limit])


def newest(
    *, workspace_ids: Iterable[uuid.UUID], type: str = "", before: uuid.UUID | None = None, limit: int
) -> list[Event]:
    """What happened last in these workspaces, newest first, older than the event `before`. With a `type` it looks at
    the LOOKED_AT newest of each workspace only, so that a rare one costs no walk through a month."""
    place = Event.objects.filter(pk=before).values_list("transaction", "id").first() if before else None
    found: list[Event] = []
    for workspace_id in workspace_ids:
        rows = Event.objects.filter(workspace=workspace_id).order_by("-transaction", "-id")
        if place is not None:
            rows = rows.filter(transaction__lte=place[0]).exclude(transaction=place[0], id__gte=place[1])
        if type:
            looked_at = rows.values("pk")[:LOOKED_AT]
            rows = rows.filter(pk__in=looked_at, type=type)
        found += rows.select_related("connection")[:limit]
    return sorted(found, key=lambda event: (event.transaction, event.pk), reverse=True)[:limit]


def after(transaction: object, id: object) -> Q:
    """Events after this place, whether they can be read yet or not; both may be expressions."""
    return Q(transaction__gte=transaction) & ~Q(transaction=transaction, id__lte=id)


def now_in_sql(expression: str) -> RawSQL:
    return RawSQL(expression, (), BigIntegerField())  # noqa: S611 - one of the two constants above


def _scalar(expression: str) -> int:
    with database.cursor() as cursor:
        cursor.execute(f"SELECT {expression}")
        return int(cursor.fetchone()[0])


# --- housekeeping -------------------------------------------------------------------------------------------------


def forget_old() -> int:
    """Remove events older than KEEP_DAYS, in chunks; how many went."""
    removed = 0
    while ids := list(Event.objects.filter(id__lt=oldest_kept(KEEP_DAYS)).order_by("id").values("id")[:CHUNK]):
        removed += Event.objects.filter(id__in=[row["id"] for row in ids]).delete()[0]
    return removed


def adopt_restored() -> int:
    """Events whose transaction is yet to come are of the database a dump was made of. They take the number of this
    transaction, so that they are read before what happens from now on; how many."""
    foreign = Event.objects.filter(transaction__gte=now_in_sql(NEXT_TO_COME))
    return foreign.update(transaction=Event._meta.get_field("transaction").db_default)
