"""Celery's side of calendars: the horizon that goes along with time, and the daily housekeeping."""

from __future__ import annotations

from celery import shared_task

from calendar_sync.services import occurrences, settling
from workspaces.services import periodic

HOUR = 3600


@shared_task(name="calendar_sync.tasks.hourly")
def hourly() -> None:
    """Expand what runs short of stored occurrences; delete tombstones that are old."""
    if periodic.take_slot(task="calendar_sync.hourly", period_seconds=HOUR):
        while occurrences.extend():
            pass
        while settling.forget_old():
            pass
