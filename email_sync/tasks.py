"""Celery's side of mail: settling outgoing mail and the daily housekeeping. Arguments are ids only."""

from __future__ import annotations

import logging
import uuid
from functools import partial

from celery import Task, shared_task
from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError

from email_sync.models import MailTransfer, ScopeChange, TransferKind
from email_sync.services import (
    changes,
    doorbells,
    draft_saving,
    exporting,
    housekeeping,
    importing,
    scope_changes,
    submissions,
    transfers,
)
from integrations.models import Connection
from integrations.services import sync_runs
from integrations.tasks import ring
from workspaces.services import periodic

logger = logging.getLogger("patchbay.send")

DOORBELLS_EVERY_SECONDS = 10


def ring_changes(connection: Connection) -> None:
    """A local change wants to reach the provider soon: wake the mailbox's sync, which pushes first. A mailbox that is
    paused keeps its changes pending until it is resumed."""
    ring(sync_runs.start_all(connections=[connection], type="email", trigger="change"))


def ring_scope_change(change: ScopeChange | None) -> None:
    """Wake a worker for the work of a saved scope once the transaction is through."""
    if change is not None:
        transaction.on_commit(partial(_wake, apply_scope, change.pk))


def _wake(task: Task[..., None], row_id: object) -> None:
    try:
        task.delay(str(row_id))
    except (OperationalError, OSError):
        logger.warning("the broker is away; the next tick rings %s of %s", task.name, row_id)


@shared_task(name="email_sync.tasks.apply_scope")
def apply_scope(change_id: str) -> None:
    """A slice of the work of a saved scope; ring again while there is more."""
    if scope_changes.work(change_id):
        _wake(apply_scope, change_id)


def ring_transfer(transfer: MailTransfer) -> None:
    """Wake a worker for an export or import once the transaction is through."""
    transaction.on_commit(partial(_wake, run_transfer, transfer.pk))


@shared_task(name="email_sync.tasks.run_transfer")
def run_transfer(transfer_id: str) -> None:
    """A slice of an export or import; ring again while there is more."""
    work = {TransferKind.EXPORT: exporting.work, TransferKind.IMPORT: importing.work}
    kind = transfers.kind_of(transfer_id)
    if kind is not None and work[kind](transfer_id):
        _wake(run_transfer, transfer_id)


@shared_task(name="email_sync.tasks.tick")
def tick() -> None:
    """Ring every outgoing mail that waits for its next step, and every mailbox whose changes nobody carries."""
    if not periodic.take_slot(task="email_sync.tick", period_seconds=settings.SYNC_TICK_SECONDS):
        return
    for submission_id in submissions.take_due():
        try:
            settle_submission.delay(str(submission_id))
        except (OperationalError, OSError):
            logger.warning("the broker is away; the next tick rings submission %s", submission_id)
    for draft_id in draft_saving.take_due():
        _wake(settle_draft, draft_id)
    for change_id in scope_changes.due():
        _wake(apply_scope, change_id)
    for transfer_id in transfers.due():
        _wake(run_transfer, transfer_id)
    for connection in changes.unattended():
        ring_changes(connection)
    if periodic.take_slot(task="email_sync.doorbells", period_seconds=DOORBELLS_EVERY_SECONDS):
        for connection_id in doorbells.due():
            _wake(set_up_doorbell, connection_id)


@shared_task(name="email_sync.tasks.settle_submission")
def settle_submission(submission_id: str) -> None:
    """The next step of one outgoing mail."""
    submissions.settle(uuid.UUID(submission_id))


@shared_task(name="email_sync.tasks.settle_draft")
def settle_draft(draft_id: str) -> None:
    """The next step of one draft on its way to the provider."""
    draft_saving.settle(uuid.UUID(draft_id))


@shared_task(name="email_sync.tasks.set_up_doorbell")
def set_up_doorbell(connection_id: str) -> None:
    """Have a provider tell of a mailbox's changes, or go on telling."""
    ring(doorbells.ensure(connection_id))


@shared_task(name="email_sync.tasks.daily")
def daily() -> None:
    """Purge what was removed long ago."""
    if periodic.take_slot(task="email_sync.daily", period_seconds=86_400):
        housekeeping.purge_removed()
        housekeeping.forget_settled_changes()
        housekeeping.forget_empty_threads()
        transfers.forget_old()
