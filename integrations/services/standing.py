"""How a connection stands, for people: what is wrong, what is missing, how far each sync is, when it goes on.

Called by the status view and the console. The same queries whatever the number of runs.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import QuerySet, Subquery, TextChoices
from django.utils.module_loading import import_string

from core.work import WorkStatus
from integrations.models import Connection, CoverageCheck, SyncRun, SyncState
from integrations.oauth.base import CAPABILITIES
from integrations.services import capabilities
from integrations.services.sync_runs import enabled_types

CHECKS_SHOWN = 7


class SyncStatus(TextChoices):
    """Of one kind of sync. OFF: switched off, paused, disconnected or without a grant. FAILED: the last run failed."""

    UNAVAILABLE = "unavailable", "the provider has none, or it was not granted"
    OFF = "off", "off"
    QUEUED = "queued", "waiting for a worker"
    SYNCING = "syncing", "under way"
    FAILED = "failed", "failed"
    IDLE = "idle", "up to date"


@dataclass(frozen=True)
class PushStanding:
    """Whether the provider tells of changes before it is asked: what `settings.PUSH_STANDINGS` names answers it."""

    status: str
    """"active", "off" or "failed"; polling goes on in every case."""
    via: str = ""
    """How, in a word; "" where there is no way."""
    expires_at: datetime | None = None
    last_notified_at: datetime | None = None
    message: str = ""
    """Why it is not active."""


UNDER_WAY = (SyncStatus.QUEUED, SyncStatus.SYNCING)


@dataclass(frozen=True)
class Trouble:
    """A part of the account that does not sync."""

    folder: str
    """What people call it; "" for the whole account."""
    problem: str
    """The provider's words, or ours."""
    since: datetime | None


@dataclass(frozen=True)
class SyncStanding:
    """One kind of sync of a connection."""

    status: SyncStatus
    state: SyncState | None
    run: SyncRun | None
    """The run under way, else the last."""
    next_sync_at: datetime | None
    held: tuple[str, ...] = ()
    """Removals that were not believed, each in a sentence; the user may accept them."""
    troubles: tuple[Trouble, ...] = ()
    checks: tuple[CoverageCheck, ...] = ()
    """The last comparisons with the provider, newest first."""
    push: PushStanding = PushStanding("off")
    incomplete: int = 0
    """What the provider lists and has not given whole: it is asked for again and again."""

    @property
    def eta_seconds(self) -> int | None:
        return self.run.eta_seconds() if self.run is not None and self.status == SyncStatus.SYNCING else None


def _last_runs(connection: Connection) -> QuerySet[SyncRun]:
    """The last run of each kind: one look in their index for each, however many there were."""
    newest = (
        connection.runs.filter(type=name).order_by("-created_at", "-id").values("pk")[:1] for name in CAPABILITIES
    )
    return SyncRun.objects.filter(pk__in=[Subquery(last) for last in newest])


def of(connection: Connection) -> dict[str, SyncStanding]:
    """By capability, all of them."""
    states = {state.type: state for state in connection.sync_states.all()}
    runs = {run.type: run for run in _last_runs(connection)}
    can, switched_on = capabilities.of_connection(connection), enabled_types(connection)
    live = connection.disconnected_at is None and not connection.paused and not connection.needs_reauth
    held, troubles = _of_cursors(connection)
    checks = _checks(connection)
    standings = {}
    for name in CAPABILITIES:
        status = _status(runs.get(name), name in can, live and name in switched_on)
        state = states.get(name)
        goes_on = (
            state.next_sync_at if state is not None and status not in (SyncStatus.UNAVAILABLE, SyncStatus.OFF) else None
        )
        of_parts = (tuple(held.get(name, ())), tuple(troubles.get(name, ())), tuple(checks.get(name, ())))
        push, incomplete = _push(connection, name), _incomplete(connection, name) if name in can else 0
        standings[name] = SyncStanding(status, state, runs.get(name), goes_on, *of_parts, push, incomplete)
    return standings


def _push(connection: Connection, type: str) -> PushStanding:
    """By the app that keeps this kind of sync, which lies above this one."""
    path = settings.PUSH_STANDINGS.get(type)
    return import_string(path)(connection) if path else PushStanding("off")


def _incomplete(connection: Connection, type: str) -> int:
    """Counted by the same app."""
    path = settings.INCOMPLETE_COUNTS.get(type)
    return import_string(path)(connection) if path else 0


def _of_cursors(connection: Connection) -> tuple[dict[str, list[str]], dict[str, list[Trouble]]]:
    """Removals held back and parts that do not sync, by kind of sync."""
    held: defaultdict[str, list[str]] = defaultdict(list)
    troubles: defaultdict[str, list[Trouble]] = defaultdict(list)
    for row in connection.cursors.exclude(held_reason="", last_error="").order_by("name", "stream"):
        if row.held_reason:
            held[row.type].append(f"{row.name or row.stream}: {row.held_reason}")
        if row.last_error:
            troubles[row.type].append(Trouble(row.name or row.stream, row.last_error, row.last_error_at))
    return held, troubles


def _checks(connection: Connection) -> dict[str, list[CoverageCheck]]:
    found: defaultdict[str, list[CoverageCheck]] = defaultdict(list)
    for row in connection.coverage_checks.filter(ended_at__isnull=False)[: CHECKS_SHOWN * len(CAPABILITIES)]:
        found[row.type].append(row)
    return {type: rows[:CHECKS_SHOWN] for type, rows in found.items()}


OF_RUN = {
    WorkStatus.QUEUED: SyncStatus.QUEUED,
    WorkStatus.RUNNING: SyncStatus.SYNCING,
    WorkStatus.FAILED: SyncStatus.FAILED,
}


def _status(run: SyncRun | None, can: bool, on: bool) -> SyncStatus:
    if not can:
        return SyncStatus.UNAVAILABLE
    if not on:
        return SyncStatus.OFF
    return SyncStatus.IDLE if run is None else OF_RUN.get(WorkStatus(run.status), SyncStatus.IDLE)
