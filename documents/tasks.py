"""Celery's side of documents: the reaper's turns. Any number of beats may call it: one slot is one row."""

from __future__ import annotations

import logging

from celery import shared_task

from core.errors import HubError
from documents.services import reaping, removals
from workspaces.services import periodic

logger = logging.getLogger("patchbay.documents")

REMOVAL_SECONDS = 60
HOUR = 3600


@shared_task(name="documents.tasks.tick")
def tick() -> None:
    """Every minute what is to go; every hour uploads nobody confirmed; every six hours orphans."""
    if periodic.take_slot(task="documents.removals", period_seconds=REMOVAL_SECONDS):
        while removals.work() == removals.CHUNK:
            pass
    if periodic.take_slot(task="documents.unconfirmed", period_seconds=HOUR):
        reaping.give_up_old()
    if periodic.take_slot(task="documents.orphans", period_seconds=6 * HOUR):
        try:
            reaping.remove_orphans()
        except HubError as error:
            logger.warning("the document store could not be gone through: %s", error.message)
