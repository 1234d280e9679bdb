"""Celery's side of the sync: wake-ups with an id, and the tick that makes sure none is needed.

Arguments are ids only; the row says what to do. A broker that is away costs a tick and nothing else.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from functools import partial

from celery import shared_task
from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError

from integrations.models import SyncRun
from integrations.services import schedule, sync_runs, tokens
from workspaces.services import periodic

logger = logging.getLogger("patchbay.sync")


def ring(runs: Iterable[SyncRun]) -> None:
    """Wake a worker for each run once the transaction is through."""
    for run in runs:
        transaction.on_commit(partial(_wake, run.pk))


def _wake(run_id: uuid.UUID) -> None:
    try:
        execute_run.delay(str(run_id))
    except (OperationalError, OSError):
        logger.warning("the broker is away; the tick will ring run %s", run_id)


@shared_task(name="integrations.tasks.execute_run")
def execute_run(run_id: str) -> None:
    """Work one slice of a run; ring again while there is more."""
    if sync_runs.execute(run_id):
        _wake(uuid.UUID(run_id))


@shared_task(name="integrations.tasks.tick")
def tick() -> None:
    """Start what is due and ring what nobody works on. Any number of beats may call it: one slot is one row."""
    if not periodic.take_slot(task="integrations.tick", period_seconds=settings.SYNC_TICK_SECONDS):
        return
    schedule.start_due()
    for run_id in schedule.take_unattended():
        _wake(run_id)


@shared_task(name="integrations.tasks.daily")
def daily() -> None:
    """Keep idle grants alive (a refresh token unused for months dies) and forget old runs."""
    if periodic.take_slot(task="integrations.daily", period_seconds=86_400):
        tokens.touch_idle()
        schedule.forget_old_runs()
