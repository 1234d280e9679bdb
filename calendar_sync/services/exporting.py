"""An event as a file, for whoever wants to take it elsewhere."""

from __future__ import annotations

from django.utils import timezone

from calendar_sync.ics_writing import write_events
from calendar_sync.models import CalendarEvent
from calendar_sync.services import occurrences
from calendar_sync.services.columns import remote_of


def as_ics(event: CalendarEvent) -> str:
    """The series with its changed occurrences, or the single event; as its server has it where that is iCalendar."""
    if event.raw.lstrip().startswith("BEGIN:VCALENDAR"):
        return event.raw
    rows = [event, *occurrences.changes_of([event]).get(event.pk, [])]
    return write_events([remote_of(row, row.attendees.all()) for row in rows], stamp=timezone.now())
