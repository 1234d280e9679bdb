"""Celery's side of outbound mail and its logs: wake-ups with a table's id, and the ticks that make sure none is needed.
Any number of beats may call those: one slot is one row."""

from __future__ import annotations

import logging
import uuid
from functools import partial

from celery import Task, shared_task
from django.conf import settings
from django.db import transaction
from django.dispatch import receiver
from kombu.exceptions import OperationalError

from email_logs.services import days, delivery_events, erasing, exports, following, keeping, mirroring, outgoing
from workspaces.services import periodic

logger = logging.getLogger("patchbay.send")

FOLLOW_SECONDS = 60
"""How often days are counted whose entries changed, and old entries looked for."""


@shared_task(name="email_logs.tasks.follow")
def follow() -> None:
    """Count what changed, forget what is old, join what came early. What takes longer goes on at the next tick."""
    if periodic.take_slot(task="email_logs.adopt", period_seconds=86_400):
        following.adopt_restored()
    if periodic.take_slot(task="email_logs.follow", period_seconds=FOLLOW_SECONDS):
        days.count_changed()
        keeping.forget_old()
        exports.forget_old()
        delivery_events.join_left()


# --- mail on its way ----------------------------------------------------------------------------------------------


@receiver(outgoing.queued, dispatch_uid="email_logs.tasks.on_queued")
def on_queued(table_id: uuid.UUID, **_: object) -> None:
    """Whoever queues a mail rings for it, once it is true."""
    transaction.on_commit(partial(_wake, table_id), robust=True)


def _wake(table_id: uuid.UUID) -> None:
    if outgoing.claim_ring(table_id):
        _send_soon(table_id)


def _send_soon(table_id: uuid.UUID) -> None:
    try:
        send_mail.delay(str(table_id))
    except (OperationalError, OSError):
        logger.warning("the broker is away; the tick rings the mail of table %s", table_id)


@shared_task(name="email_logs.tasks.send_mail")
def send_mail(table_id: str) -> None:
    """Send what is due in one table, for a while; ring again while there is more."""
    pk = uuid.UUID(table_id)
    outgoing.begun(pk)
    call_help = partial(_wake, pk)
    if outgoing.work(pk, call_help=call_help):
        call_help()


@shared_task(name="email_logs.tasks.tick_mail")
def tick_mail() -> None:
    """Ring for mail nobody sends, end what waited in vain. Any number of beats may call it."""
    if not periodic.take_slot(task="email_logs.mail", period_seconds=settings.DELIVERY_TICK_SECONDS):
        return
    outgoing.forget_dead()
    outgoing.give_up_old()
    for table_id in outgoing.unattended():
        _send_soon(table_id)


# --- erasures, mirrors, exports -----------------------------------------------------------------------------------


def ring_erasure(erasure_id: object) -> None:
    """Wake a worker for it once the transaction is through."""
    transaction.on_commit(partial(_ring, run_erasure, erasure_id))


def ring_mirror(mirror_id: object) -> None:
    """Wake a worker for it once the transaction is through."""
    transaction.on_commit(partial(_ring, run_mirror, mirror_id))


def ring_export(export_id: object) -> None:
    """Wake a worker for it once the transaction is through."""
    transaction.on_commit(partial(_ring, run_export, export_id))


def _ring(task: Task[..., None], work_id: object) -> None:
    try:
        task.delay(str(work_id))
    except (OperationalError, OSError):
        logger.warning("the broker is away; the tick will ring %s %s", task.name, work_id)


@shared_task(name="email_logs.tasks.run_erasure")
def run_erasure(erasure_id: str) -> None:
    """A slice of an erasure; ring again while there is more."""
    if erasing.work(erasure_id):
        _ring(run_erasure, erasure_id)


@shared_task(name="email_logs.tasks.run_mirror")
def run_mirror(mirror_id: str) -> None:
    """A slice of a mirror; ring again while there is more."""
    if mirroring.work(mirror_id):
        _ring(run_mirror, mirror_id)


@shared_task(name="email_logs.tasks.run_export")
def run_export(export_id: str) -> None:
    """A slice of an export; ring again while there is more."""
    if exports.work(export_id):
        _ring(run_export, export_id)


@shared_task(name="email_logs.tasks.tick_mirrors")
def tick_mirrors() -> None:
    """Begin the mirrors that are behind; ring those, the erasures and the exports that nobody works on."""
    if periodic.take_slot(task="email_logs.mirrors", period_seconds=2 * settings.SYNC_TICK_SECONDS):
        mirroring.start_due()
        for task, ids in ((run_mirror, mirroring.due()), (run_erasure, erasing.due()), (run_export, exports.due())):
            for work_id in ids:
                _ring(task, work_id)
