"""A sync run from its start to its end: who may start one, what an engine's error means for it and for the connection.

Engines live above this app and are found by `settings.SYNC_ENGINES` (the one up-call, DESIGN 3). An engine works in
slices: it returns True while there is more, so that one large mailbox never keeps a worker from the others.
Called by views and admin (`start`), by the tasks (`execute`) and by the OAuth flow after a connect.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Protocol

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.db.models.functions import Greatest, Now

from core.errors import (
    Conflict,
    Crashing,
    HubError,
    LeaseLost,
    NeedsReauth,
    ProviderAuthError,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    UnsupportedOperation,
)
from core.registry import Registry
from core.work import WorkStatus, backoff_seconds, sane_wait, words_of
from integrations.models import Connection, EventType, SyncRun, SyncState
from integrations.oauth import CONNECTION_PROVIDERS
from integrations.services import admission, incidents

logger = logging.getLogger("patchbay.sync")

LEASE_SECONDS = 60.0
"""How long a silent worker keeps a run; every committed page extends it."""
SLICE_SECONDS = 40.0
"""After this an engine hands the run back, so that others get their turn."""
CROWDED_SLICE_SECONDS = 10.0
"""… and after this where others are waiting when it begins."""
MAX_ATTEMPTS = 6
"""Attempts without a committed page between them before a run is failed and the schedule takes over."""


class SyncEngine(Protocol):
    """What `settings.SYNC_ENGINES` names: it does one kind of sync."""

    key: str

    @classmethod
    def supports(cls, provider: str) -> bool:
        """Whether this kind of sync exists for a connection provider."""

    def run(self, run: SyncRun, *, deadline: float) -> bool:
        """Work until done (False) or until `time.monotonic()` passes `deadline` (True: more to do)."""


@cache
def engines() -> Registry[type[SyncEngine]]:
    """The kinds of sync, by key."""
    return Registry("sync type", settings.SYNC_ENGINES, check_id="patchbay.E101")


def supported_types(provider: str) -> list[str]:
    """The kinds of sync that exist for a connection provider, in registry order."""
    return [key for key in engines() if engines().get(key).supports(provider)]


def types_of(connection: Connection) -> list[str]:
    """Supported, and set up for this account."""
    supported = supported_types(connection.provider)
    if not supported or connection.provider not in CONNECTION_PROVIDERS:
        return supported
    provider = CONNECTION_PROVIDERS.get(connection.provider)
    return [key for key in supported if provider.offers(connection.options, key)]


def enabled_types(connection: Connection) -> list[str]:
    """Of those, the ones that the connection's user has not switched off."""
    return [key for key in types_of(connection) if getattr(connection, f"sync_{key}", True)]


def start(*, connection: Connection, type: str, trigger: str) -> SyncRun:
    """Queue a run, or give back the one under way: brought forward if it was waiting, and to look once more if it is
    being worked on. So whoever is given a run may rely on it having seen all that was there when they asked.

    Conflict where the connection is paused, NeedsReauth where its grant is dead, UnsupportedOperation where its
    provider has no such sync. The caller rings it after commit (`integrations.tasks.ring`).
    """
    if type not in types_of(connection):
        raise UnsupportedOperation(f"There is no {type} sync for this connection.")
    if connection.needs_reauth:
        raise NeedsReauth()
    if connection.paused:
        raise Conflict("This connection is paused.", code="paused")
    with transaction.atomic():
        SyncState.objects.get_or_create(connection=connection, type=type)
        created = _create(connection, type, trigger)
    if created is not None:
        return created
    active = SyncRun.objects.active().filter(connection=connection, type=type)
    waiting = active.filter(status=WorkStatus.QUEUED, next_attempt_at__gt=Now())
    # A provider that asked to wait is not asked before, whoever is in a hurry.
    waiting.exclude(error_code=ProviderRateLimited.default_code).update(next_attempt_at=Now(), rung_at=None)
    if trigger == ACCEPT_REMOVALS:
        active.update(trigger=trigger)
    active.filter(status=WorkStatus.RUNNING).update(next_attempt_at=Now())  # read by _asked_meanwhile
    return active.first() or start(connection=connection, type=type, trigger=trigger)


ACCEPT_REMOVALS = "accept"
"""The trigger of a run whose user has agreed to a removal that was held back."""


def _create(connection: Connection, type: str, trigger: str) -> SyncRun | None:
    try:
        with transaction.atomic():
            return SyncRun.objects.create(connection=connection, type=type, trigger=trigger)
    except IntegrityError:  # syncrun_one_active: one is under way
        return None


def start_all(*, connections: Sequence[Connection], type: str, trigger: str) -> list[SyncRun]:
    """A run for each connection that can have one; those paused or without a grant are left out."""
    return [
        start(connection=connection, type=type, trigger=trigger)
        for connection in connections
        if not connection.paused and not connection.needs_reauth and type in enabled_types(connection)
    ]


def execute(run_id: object) -> bool:
    """Claim a run and work one slice of it. True where there is more to do at once. Never raises for a provider."""
    run = admission.take(run_id, lease_seconds=LEASE_SECONDS)
    if run is None:
        return False
    connection = run.connection
    if connection.disconnected_at is not None or connection.paused:
        run.fail(code="stopped", message="The connection was paused or disconnected.")
        return False
    try:
        if run.attempts > MAX_ATTEMPTS:  # no attempt ended by itself: each took its worker along
            raise Crashing("The sync broke off again and again.")
        seconds = CROWDED_SLICE_SECONDS if admission.others_wait(run) else SLICE_SECONDS
        more = engines().get(run.type)().run(run, deadline=time.monotonic() + seconds)
        return _after_slice(run, connection, more=more)
    except LeaseLost:
        logger.info("run %s was taken over by another worker", run.pk)
    except (HubError, OSError) as error:
        _after_error(run, connection, error)
    except Exception as error:
        logger.exception("run %s broke", run.pk)
        _after_error(run, connection, error)
    return False


def _after_slice(run: SyncRun, connection: Connection, *, more: bool) -> bool:
    with transaction.atomic():
        run.hold(lease_seconds=LEASE_SECONDS)  # who asks now waits, and is given a run of their own
        if more or _asked_meanwhile(run):
            run.retry(after_seconds=0, attempts=0, rung_at=Now())
            return True
        run.finish()
    incidents.works_again(connection)
    Connection.objects.filter(pk=connection.pk).update(last_synced_at=Now())
    states = SyncState.objects.filter(connection=connection, type=run.type)
    states.update(last_synced_at=Now(), failures=0)
    # Somebody asked for another look while this run was under way: it may have looked too early, so that one stays due.
    asked_meanwhile = Q(next_sync_at__gt=run.started_at, next_sync_at__lte=Now())
    states.exclude(asked_meanwhile).update(next_sync_at=Now() + timedelta(seconds=settings.SYNC_INTERVAL_SECONDS))
    return False


def _asked_meanwhile(run: SyncRun) -> bool:
    """Somebody was given this run while the slice worked, which may have looked too early for them (`start`), or did
    not know yet that its user agreed to a removal: one more slice."""
    return SyncRun.objects.filter(pk=run.pk, next_attempt_at__gt=run.next_attempt_at).exists()


def _after_error(run: SyncRun, connection: Connection, error: Exception) -> None:
    """The error carries the decision (DESIGN 3). A worker that lost its lease decides nothing."""
    try:
        with transaction.atomic():
            # The connection before the run, as its user locks them who pauses or disconnects it.
            Connection.objects.select_for_update(no_key=True).filter(pk=connection.pk).first()
            _decide(run, connection, error, *words_of(error, "The sync"))
    except LeaseLost:
        logger.info("run %s was taken over by another worker", run.pk)


def _decide(run: SyncRun, connection: Connection, error: Exception, code: str, message: str) -> None:
    may_try_again = run.attempts < MAX_ATTEMPTS
    if isinstance(error, ProviderRateLimited):
        wait = sane_wait(error.retry_after)
        run.retry(after_seconds=wait, code=code, message=message, attempts=Greatest(F("attempts") - 1, 0))
    elif isinstance(error, (ProviderAuthError, NeedsReauth)):
        if may_try_again and saved_meanwhile(connection):
            run.retry(after_seconds=0, code=code, message=message)
        else:
            run.fail(code=code, message=message)
            incidents.grant_refused(connection, code=code, message=message)
    elif _passing(error) and may_try_again:
        run.retry(after_seconds=backoff_seconds(run.attempts), code=code, message=message)
    else:
        _give_up(run, connection, code=code, message=message)


def _give_up(run: SyncRun, connection: Connection, *, code: str, message: str) -> None:
    run.fail(code=code, message=message)
    connection.note_error(code=code, message=message)
    if _put_off(connection, run.type) == 1:
        incidents.tell(connection, EventType.SYNC_FAILED, syncType=run.type, code=code)


def saved_meanwhile(connection: Connection) -> bool:
    """Its user connected it again while the slice worked with the old credential: that says nothing about the new."""
    return not Connection.objects.filter(pk=connection.pk, updated_at=connection.updated_at).exists()


def _passing(error: Exception) -> bool:
    """Worth another attempt of the same run: the provider was away, or we broke."""
    if isinstance(error, ProviderRejected):
        return False
    return isinstance(error, (ProviderUnavailable, ProviderError, OSError)) or not isinstance(error, HubError)


def _put_off(connection: Connection, type: str) -> int:
    """After a failed run the schedule waits longer each time, at most six hours. How many have failed in a row."""
    state, _ = SyncState.objects.get_or_create(connection=connection, type=type)
    failures = state.failures + 1
    wait = backoff_seconds(failures, base=settings.SYNC_INTERVAL_SECONDS, cap=6 * 3600)
    SyncState.objects.filter(pk=state.pk).update(failures=failures, next_sync_at=Now() + timedelta(seconds=wait))
    return failures


def stop(*, connection: Connection, reason: str) -> None:
    """End what is under way: the fence is raised, so that a working slice loses its lease at its next page."""
    SyncRun.objects.active().filter(connection=connection).update(
        status=WorkStatus.FAILED,
        fence=F("fence") + 1,
        lease_until=None,
        finished_at=Now(),
        error_code="stopped",
        error_message=reason,
    )
