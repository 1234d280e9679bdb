"""Celery's side of mail: settling outgoing mail and the daily housekeeping. Arguments are ids only."""

from __future__ import annotations

import logging
import uuid

from celery import shared_task
from django.conf import settings
from kombu.exceptions import OperationalError

from email_sync.services import changes, housekeeping, sending
from integrations.models import Connection
from integrations.services import sync_runs
from integrations.tasks import ring
from workspaces.services import periodic

logger = logging.getLogger("patchbay.send")


def ring_changes(connection: Connection) -> None:
    """A local change wants to reach the provider soon: wake the mailbox's sync, which pushes first. A mailbox that is
    paused keeps its changes pending until it is resumed."""
    ring(sync_runs.start_all(connections=[connection], type="email", trigger="change"))


@shared_task(name="email_sync.tasks.tick")
def tick() -> None:
    """Ring every outgoing mail that waits for its next step, and every mailbox whose changes nobody carries."""
    if not periodic.take_slot(task="email_sync.tick", period_seconds=settings.SYNC_TICK_SECONDS):
        return
    for submission_id in sending.take_due():
        try:
            settle_submission.delay(str(submission_id))
        except (OperationalError, OSError):
            logger.warning("the broker is away; the next tick rings submission %s", submission_id)
    for connection in changes.unattended():
        ring_changes(connection)


@shared_task(name="email_sync.tasks.settle_submission")
def settle_submission(submission_id: str) -> None:
    """The next step of one outgoing mail."""
    sending.settle(uuid.UUID(submission_id))


@shared_task(name="email_sync.tasks.daily")
def daily() -> None:
    """Purge what was removed long ago."""
    if periodic.take_slot(task="email_sync.daily", period_seconds=86_400):
        housekeeping.purge_removed()
        housekeeping.forget_settled_changes()
        housekeeping.forget_empty_threads()
