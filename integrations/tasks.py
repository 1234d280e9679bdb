"""Celery's side of syncs and of events going out: wake-ups with an id, and the tick that makes sure none is needed.

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
from django.dispatch import receiver
from kombu.exceptions import OperationalError

from core.work import WorkRow
from integrations.models import ContactSync, Purge, SyncRun
from integrations.services import (
    admission,
    contact_sync,
    delivering,
    delivery_log,
    delivery_turns,
    events,
    integration_use,
    keeping,
    notice_sending,
    purging,
    queued_actions,
    quota,
    schedule,
    subscriptions,
    sync_runs,
    tokens,
)
from workspaces.services import periodic

logger = logging.getLogger("patchbay.sync")

CHECK_SECONDS = 60
"""How often integrations that are due are looked for; each is checked once a day, sooner while it fails."""

FORGET_SECONDS = 300
"""How often old syncs are looked for: a thousand mailboxes make a portion in this time."""


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


def ring_purges(purges: Iterable[Purge]) -> None:
    """Wake a worker for each purge that is not through."""
    for purge in purges:
        transaction.on_commit(partial(_wake_purge, purge.pk))


def _wake_purge(purge_id: object) -> None:
    try:
        run_purge.delay(str(purge_id))
    except (OperationalError, OSError):
        logger.warning("the broker is away; the tick will ring purge %s", purge_id)


@shared_task(name="integrations.tasks.run_purge")
def run_purge(purge_id: str) -> None:
    """A slice of a purge; ring again while there is more."""
    if purging.work(purge_id):
        _wake_purge(purge_id)


def ring_action(action: str, work: WorkRow | None) -> None:
    """Wake a worker for what an action queued, once the transaction is through."""
    if isinstance(work, ContactSync):
        transaction.on_commit(partial(_wake_contact_sync, work.pk))
    elif work is not None:
        queued_actions.registered()[action].ring(work)


def _wake_contact_sync(sync_id: object) -> None:
    try:
        run_contact_sync.delay(str(sync_id))
    except (OperationalError, OSError):
        logger.warning("the broker is away; the tick will ring contact sync %s", sync_id)


@shared_task(name="integrations.tasks.run_contact_sync")
def run_contact_sync(sync_id: str) -> None:
    """A slice of a contact sync; ring again while there is more."""
    if contact_sync.work(sync_id):
        _wake_contact_sync(sync_id)


@shared_task(name="integrations.tasks.tick")
def tick() -> None:
    """Start what is due and ring what nobody works on. Any number of beats may call it: one slot is one row."""
    if not periodic.take_slot(task="integrations.tick", period_seconds=settings.SYNC_TICK_SECONDS):
        return
    schedule.start_due()
    admission.forget_dead()
    for run_id in schedule.take_unattended():
        _wake(run_id)
    for purge_id in purging.due():
        _wake_purge(purge_id)
    contact_sync.start_due()
    for sync_id in contact_sync.due():
        _wake_contact_sync(sync_id)


@shared_task(name="integrations.tasks.daily")
def daily() -> None:
    """Keep idle grants alive (a refresh token unused for months dies), forget old events and deliveries."""
    if periodic.take_slot(task="integrations.daily", period_seconds=86_400):
        tokens.touch_idle()
        events.adopt_restored()
        events.forget_old()
        delivery_log.forget_old()
        quota.forget_idle()


@shared_task(name="integrations.tasks.forget_old")
def forget_old() -> None:
    """Forget old syncs, for a while. Any number of beats may call it."""
    if periodic.take_slot(task="integrations.forget", period_seconds=FORGET_SECONDS):
        keeping.forget_old()


@shared_task(name="integrations.tasks.check_integrations")
def check_integrations() -> None:
    """Check the integrations whose day has come and tell owners what broke. Any number of beats may call it."""
    if periodic.take_slot(task="integrations.check", period_seconds=CHECK_SECONDS):
        integration_use.check_due()
        notice_sending.send_due()


# --- events going out ---------------------------------------------------------------------------------------------

SOON_SECONDS = (0.2, 0.5, 1.0, 2.0)
"""When events are looked for again that cannot be read yet, because somebody's transaction is under way (ADR 0010);
after that the tick does."""


@receiver(events.recorded, dispatch_uid="integrations.tasks.on_events")
def on_events(workspace_ids: set[uuid.UUID], **_: object) -> None:
    """Whoever writes an event rings for those who are to be told of it, once it is true."""
    transaction.on_commit(partial(_tell, workspace_ids), robust=True)


def _tell(workspace_ids: set[uuid.UUID]) -> None:
    for workspace_id in subscriptions.has_listeners(workspace_ids) if workspace_ids else ():
        _fan_out_soon(workspace_id)


def _fan_out_soon(workspace_id: uuid.UUID, turn: int = 0) -> None:
    wait = SOON_SECONDS[turn - 1] if turn else None
    try:
        fan_out.apply_async((str(workspace_id), turn), countdown=wait)
    except (OperationalError, OSError):
        logger.warning("the broker is away; the tick tells the subscribers of workspace %s", workspace_id)


@shared_task(name="integrations.tasks.fan_out")
def fan_out(workspace_id: str, turn: int = 0) -> None:
    """Make the deliveries of a workspace's new events and ring for them. `turn`: how often that was too early."""
    done = subscriptions.fan_out(uuid.UUID(workspace_id))
    for integration_id in done.integration_ids:
        ring_deliveries(integration_id)
    if done.more_to_come and turn < len(SOON_SECONDS):
        _fan_out_soon(uuid.UUID(workspace_id), turn + 1)


def ring_deliveries(integration_id: uuid.UUID) -> None:
    """Wake a worker for what is due for this integration, once the transaction is through."""
    transaction.on_commit(partial(_wake_delivery, integration_id))


def _wake_delivery(integration_id: uuid.UUID) -> None:
    if subscriptions.claim_ring(integration_id):
        _deliver_soon(integration_id)


def _deliver_soon(integration_id: uuid.UUID) -> None:
    try:
        deliver.delay(str(integration_id))
    except (OperationalError, OSError):
        logger.warning("the broker is away; the tick rings the deliveries of %s", integration_id)


@shared_task(name="integrations.tasks.deliver")
def deliver(integration_id: str) -> None:
    """Send what is due for one integration, for a while; ring again while there is more."""
    pk = uuid.UUID(integration_id)
    subscriptions.begun(pk)
    call_help = partial(_wake_delivery, pk)
    if delivering.work(pk, call_help=call_help):
        call_help()


@shared_task(name="integrations.tasks.tick_deliveries")
def tick_deliveries() -> None:
    """Make the deliveries nobody made and ring for those nobody sends. Any number of beats may call it."""
    if not periodic.take_slot(task="integrations.deliveries", period_seconds=settings.DELIVERY_TICK_SECONDS):
        return
    delivery_turns.forget_dead()
    for workspace_id in subscriptions.behind():
        _fan_out_soon(workspace_id)
    for integration_id in subscriptions.unattended():
        _deliver_soon(integration_id)
