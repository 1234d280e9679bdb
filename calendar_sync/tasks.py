"""Celery's side of calendars: doorbells, the horizon that goes along with time, and the daily housekeeping. Arguments
are ids only."""

from __future__ import annotations

import logging

from celery import shared_task
from kombu.exceptions import OperationalError

from calendar_sync.services import doorbells, occurrences, settling
from integrations.tasks import ring
from workspaces.services import periodic

logger = logging.getLogger("patchbay.push")

DOORBELLS_EVERY_SECONDS = 10
HOUR = 3600


@shared_task(name="calendar_sync.tasks.tick")
def tick() -> None:
    """Ring every doorbell that is to be set up, renewed or ended."""
    if periodic.take_slot(task="calendar_sync.doorbells", period_seconds=DOORBELLS_EVERY_SECONDS):
        for channel_id in doorbells.due():
            try:
                set_up_doorbell.delay(str(channel_id))
            except (OperationalError, OSError):
                logger.warning("the broker is away; the next tick rings doorbell %s", channel_id)


@shared_task(name="calendar_sync.tasks.set_up_doorbell")
def set_up_doorbell(channel_id: str) -> None:
    """Have a provider tell of changes in calendars, go on telling, or stop."""
    ring(doorbells.ensure(channel_id))


@shared_task(name="calendar_sync.tasks.hourly")
def hourly() -> None:
    """Expand what runs short of stored occurrences; delete tombstones that are old."""
    if periodic.take_slot(task="calendar_sync.hourly", period_seconds=HOUR):
        while occurrences.extend():
            pass
        while settling.forget_old():
            pass
