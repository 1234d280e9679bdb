"""Celery's side of documents: looking at large uploads, copies to and from vendors, and the reaper's turns. Any number
of beats may call the tick: one slot is one row."""

from __future__ import annotations

import logging
import uuid
from functools import partial

from celery import shared_task
from django.db import transaction
from kombu.exceptions import OperationalError

from core.errors import HubError
from documents.services import confirming, copying, reaping, removals
from workspaces.services import periodic

logger = logging.getLogger("patchbay.documents")

CONFIRMATION_SECONDS, COPY_SECONDS = 30, 30
REMOVAL_SECONDS = 60
HOUR = 3600


def ring_confirmation(document_id: object) -> None:
    """Wake a worker that looks at it once the transaction is through; twice is once."""
    transaction.on_commit(partial(_wake_confirmation, document_id))


def _wake_confirmation(document_id: object) -> None:
    try:
        run_confirmation.delay(str(document_id))
    except (OperationalError, OSError):
        logger.warning("the broker is away; the tick will ring document %s", document_id)


@shared_task(name="documents.tasks.run_confirmation")
def run_confirmation(document_id: str) -> None:
    """One attempt at looking at a large upload."""
    confirming.work(uuid.UUID(document_id))


def ring_copy(copy_id: object) -> None:
    """Wake a worker for it once the transaction is through."""
    transaction.on_commit(partial(_wake_copy, copy_id))


def _wake_copy(copy_id: object) -> None:
    try:
        run_copy.delay(str(copy_id))
    except (OperationalError, OSError):
        logger.warning("the broker is away; the tick will ring copy %s", copy_id)


@shared_task(name="documents.tasks.run_copy")
def run_copy(copy_id: str) -> None:
    """One attempt at a copy."""
    copying.work(copy_id)


@shared_task(name="documents.tasks.tick")
def tick() -> None:
    """Every half minute uploads nobody looks at any more and copies nobody works on; every minute what is to go; every
    hour uploads nobody confirmed; every six hours orphans."""
    if periodic.take_slot(task="documents.confirmations", period_seconds=CONFIRMATION_SECONDS):
        for document_id in confirming.due():
            _wake_confirmation(document_id)
    if periodic.take_slot(task="documents.copies", period_seconds=COPY_SECONDS):
        for copy_id in copying.due():
            _wake_copy(copy_id)
    if periodic.take_slot(task="documents.removals", period_seconds=REMOVAL_SECONDS):
        while removals.work() == removals.CHUNK:
            pass
    if periodic.take_slot(task="documents.unconfirmed", period_seconds=HOUR):
        reaping.give_up_old()
        copying.forget_old()
    if periodic.take_slot(task="documents.orphans", period_seconds=6 * HOUR):
        try:
            reaping.remove_orphans()
        except HubError as error:
            logger.warning("the document store could not be gone through: %s", error.message)
