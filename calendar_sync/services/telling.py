"""Events of a calendar for those who follow, written with the rows they tell of.

What was there before the calendar was connected is never told as created. Payloads hold ids only (ADR 0010).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from integrations.models import Connection, EventType
from integrations.services import events
from integrations.services.events import NewEvent


def tell(
    connection: Connection,
    *,
    created: Iterable[uuid.UUID] = (),
    updated: Iterable[uuid.UUID] = (),
    deleted: Iterable[uuid.UUID] = (),
) -> None:
    """One event for each, in the caller's transaction. One that is created is not told as updated too."""
    new = set(created)
    told = [
        *_events(connection, EventType.CALENDAR_EVENT_CREATED, new),
        *_events(connection, EventType.CALENDAR_EVENT_UPDATED, set(updated) - new),
        *_events(connection, EventType.CALENDAR_EVENT_DELETED, set(deleted)),
    ]
    if told:
        events.record_many(told)


def _events(connection: Connection, type: EventType, ids: set[uuid.UUID]) -> list[NewEvent]:
    return [
        NewEvent(type, connection.workspace_id, connection.pk, connection.user_id, {"eventId": str(pk)})
        for pk in sorted(ids)
    ]
