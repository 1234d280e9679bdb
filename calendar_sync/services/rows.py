"""Events as answers show them: their columns and who was invited, as plain tuples.

A page is read by `read` in two statements, written down once: a model's instance for each event and each person, and
Django's writing of the statements, would cost more than all else of the page. `row_of` takes the same from an instance
that is there already.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection as database

from calendar_sync.models import CalendarEvent


class Guest(NamedTuple):
    """Somebody who was invited: columns of `Attendee`."""

    email: str
    name: str
    response: str
    optional: bool
    is_resource: bool


class EventRow(NamedTuple):
    """What answers show of an event: columns of `CalendarEvent`, and its guests."""

    id: uuid.UUID
    connection_id: uuid.UUID
    calendar_id: uuid.UUID
    etag: str
    uid: str
    title: str
    description: str
    location: str
    conference_url: str
    status: str
    visibility: str
    busy: bool
    organizer_email: str
    organizer_name: str
    zone: str
    all_day: bool
    starts_at: datetime
    ends_at: datetime
    recurrence: Any
    guests: Sequence[Guest]


_COLUMNS = EventRow._fields[:-1]
_EVENTS = f"SELECT {', '.join(_COLUMNS)} FROM calendar_sync_calendarevent WHERE id = ANY(%s::uuid[])"  # noqa: S608 - our columns
_GUESTS = f"""
    SELECT event_id, {", ".join(Guest._fields)} FROM calendar_sync_attendee
    WHERE event_id = ANY(%s::uuid[]) AND is_invited ORDER BY id
"""  # noqa: S608 - our columns


@dataclass(frozen=True, slots=True)
class Shown:
    """One occurrence, a series or a single event, ready to be written out."""

    event: EventRow
    """The series, or the single event."""
    source: EventRow
    """Whose title, place and people hold."""
    key: str
    start: datetime
    end: datetime

    @property
    def id(self) -> str:
        """See `id_of`."""
        return id_of(self.event.id, self.key)


def id_of(event_id: uuid.UUID, key: str) -> str:
    """What the API calls it: `<event>`, or `<series>_<original start>`."""
    return f"{event_id}_{key}" if key else str(event_id)


def read(event_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, EventRow]:
    """These events by id; one that is gone meanwhile is left out. Two queries."""
    ids = list(event_ids)
    guests: defaultdict[uuid.UUID, list[Guest]] = defaultdict(list)
    with database.cursor() as cursor:
        cursor.execute(_GUESTS, [ids])
        for event_id, *columns in cursor.fetchall():
            guests[event_id].append(Guest._make(columns))
        cursor.execute(_EVENTS, [ids])
        return {
            columns[0]: EventRow._make((*columns, rules and json.loads(rules), guests.get(columns[0], ())))
            for *columns, rules in cursor.fetchall()
        }


def row_of(event: CalendarEvent) -> EventRow:
    """The same of an instance. No query where its attendees were fetched with it."""
    people = [person for person in event.attendees.all() if person.is_invited]
    guests = [Guest(*(getattr(person, name) for name in Guest._fields)) for person in people]
    return EventRow._make((*(getattr(event, name) for name in _COLUMNS), guests))
