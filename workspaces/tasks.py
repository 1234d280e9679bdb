"""The smallest periodic work: the heartbeat that shows the schedule runs, and the removal of rows that grew old.

Beat rings `heartbeat` every few seconds (config.settings.celery); `doctor` and `/readyz` read what it wrote.
"""

from __future__ import annotations

from celery import shared_task
from django.contrib.sessions.backends.db import SessionStore

from workspaces import idempotency
from workspaces.services import key_ages, periodic

CLEAN_EVERY_SECONDS = 3600


@shared_task(ignore_result=True)
def heartbeat() -> None:
    """Note that beat and a worker live; once an hour, for whoever comes first, clean up."""
    periodic.beat(name="beat")
    if periodic.take_slot(task="workspaces.clean", period_seconds=CLEAN_EVERY_SECONDS):
        clean()


def clean() -> None:
    """Remove answers kept for longer than 24 h, turns long over and sessions that expired; note which key seals now."""
    key_ages.note()
    idempotency.forget_old_records()
    periodic.forget_old_slots()
    SessionStore.clear_expired()
