"""Between records and rows: the columns of an event, and back.

Used by the writer, by the expansion and by whoever writes an event out.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from hashlib import sha256
from typing import Any

from calendar_sync import recurrence, zones
from calendar_sync.models import Attendee, Calendar, CalendarEvent
from calendar_sync.records import Invited, Person, Recurrence, RemoteEvent, Span
from calendar_sync.recurrence import Change, Occurrence
from calendar_sync.services.rows import EventRow
from entities.matching import normalise


def event_columns(event: RemoteEvent, calendar: Calendar) -> dict[str, Any]:
    """Everything an event says of itself. Who takes part is `people`'s."""
    span, floating = event.span, floating_zone(calendar)
    first: Occurrence[None] = recurrence.single(span, None, floating)
    recurs = bool(event.recurrence)
    return {
        "uid": event.uid,
        "title": event.title,
        "description": event.description,
        "location": event.location,
        "conference_url": event.conference_url,
        "status": event.status,
        "visibility": event.visibility,
        "busy": event.busy,
        "organizer_email": event.organizer.email if event.organizer else "",
        "organizer_name": event.organizer.name if event.organizer else "",
        "sequence": event.sequence,
        "wall_start": span.start.replace(tzinfo=UTC),
        "duration": span.duration,
        "zone": span.zone,
        "zone_rules": [list(rule) for rule in span.rules] or None,
        "all_day": span.all_day,
        "nominal": span.nominal,
        "recurrence": _recurrence_column(event.recurrence) if recurs else None,
        "following": event.following,
        "starts_at": first.start,
        "ends_at": first.end,
        "series_ends_at": recurrence.last_end(span, event.recurrence, floating) if recurs else None,
        "problem": "",
    }


def unreadable_columns(problem: str) -> dict[str, Any]:
    """Of what could not be read: kept with its reason, and shown nowhere."""
    moment = datetime(1970, 1, 1, tzinfo=UTC)
    when = {"wall_start": moment, "duration": timedelta(0), "starts_at": moment, "ends_at": moment, "recurrence": None}
    return {**when, "problem": problem[:1000], "uid": ""}


def meeting_of(uid: str, own_id: uuid.UUID) -> uuid.UUID:
    """What tells that two calendars have the same meeting."""
    return uuid.UUID(bytes=sha256(uid.encode()).digest()[:16]) if uid else own_id


def floating_zone(calendar: Calendar) -> tzinfo:
    """Where times of no zone hang."""
    return zones.zone(zones.named(calendar.time_zone) or "UTC")


def people(row: CalendarEvent, event: RemoteEvent) -> list[Attendee]:
    """Rows of those who take part; an organizer who is not invited is one too."""
    made = [_attendee(row, person) for person in event.attendees]
    organizer = event.organizer
    if organizer and organizer.email:
        key = normalise(organizer.email)
        if key not in {one.address_key for one in made}:
            made.append(_attendee(row, Invited(organizer.email, organizer.name), is_invited=False))
    return made


def _attendee(row: CalendarEvent, person: Invited, *, is_invited: bool = True) -> Attendee:
    key = "" if person.is_resource else normalise(person.email)
    return Attendee(
        connection_id=row.connection_id,
        event=row,
        email=person.email,
        name=person.name,
        address_key=key,
        domain=key.rpartition("@")[2],
        response=person.response,
        optional=person.optional,
        is_resource=person.is_resource,
        is_invited=is_invited,
        starts_at=row.starts_at,
    )


# --- back ---------------------------------------------------------------------------------------------------------


def span_of(row: CalendarEvent) -> Span:
    """When it is."""
    return Span(
        start=row.wall_start.astimezone(UTC).replace(tzinfo=None),
        duration=row.duration,
        zone=row.zone,
        rules=tuple((start, offset) for start, offset in row.zone_rules or ()),
        all_day=row.all_day,
        nominal=row.nominal,
    )


def change_of(row: CalendarEvent) -> Change[CalendarEvent]:
    """A changed occurrence, for the expansion of its series."""
    cancelled = recurrence.is_cancelled(row.status)
    return Change(row.recurrence_key, span_of(row), row, cancelled=cancelled, following=row.following)


def recurrence_of(row: CalendarEvent | EventRow) -> Recurrence:
    """Its rules; empty where it does not recur."""
    stored = row.recurrence
    if not stored:
        return Recurrence()
    return Recurrence(
        rules=tuple(stored["rules"]),
        excluded_rules=tuple(stored["excludedRules"]),
        added=tuple(
            (datetime.fromisoformat(moment), None if seconds is None else timedelta(seconds=seconds))
            for moment, seconds in stored["added"]
        ),
        left_out=frozenset(map(datetime.fromisoformat, stored["leftOut"])),
        left_out_days=frozenset(map(datetime.fromisoformat, stored["leftOutDays"])),
    )


def _recurrence_column(rules: Recurrence) -> dict[str, Any]:
    return {
        "rules": list(rules.rules),
        "excludedRules": list(rules.excluded_rules),
        "added": [
            [moment.isoformat(), None if length is None else length.total_seconds()] for moment, length in rules.added
        ],
        "leftOut": [moment.isoformat() for moment in sorted(rules.left_out)],
        "leftOutDays": [moment.isoformat() for moment in sorted(rules.left_out_days)],
    }


def remote_of(row: CalendarEvent, attendees: Iterable[Attendee]) -> RemoteEvent:
    """The event as a record, to be written out."""
    return RemoteEvent(
        uid=row.uid,
        span=span_of(row),
        title=row.title,
        description=row.description,
        location=row.location,
        conference_url=row.conference_url,
        status=row.status,
        visibility=row.visibility,
        busy=row.busy,
        organizer=Person(row.organizer_email, row.organizer_name)
        if row.organizer_email or row.organizer_name
        else None,
        attendees=tuple(
            Invited(one.email, one.name, one.response, one.optional, one.is_resource)
            for one in attendees
            if one.is_invited
        ),
        recurrence=recurrence_of(row),
        recurrence_key=row.recurrence_key,
        following=row.following,
        sequence=row.sequence,
    )
