"""How a connection stands, for people: what is wrong, what is missing, how far each sync is, when it goes on.

Called by the status view and the console. Four queries whatever the number of runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import TextChoices

from core.work import WorkStatus
from integrations.models import Connection, SyncRun, SyncState
from integrations.oauth.base import CAPABILITIES
from integrations.services import capabilities
from integrations.services.sync_runs import enabled_types


class SyncStatus(TextChoices):
    """Of one kind of sync. OFF: switched off, paused, disconnected or without a grant. FAILED: the last run failed."""

    UNAVAILABLE = "unavailable", "the provider has none, or it was not granted"
    OFF = "off", "off"
    QUEUED = "queued", "waiting for a worker"
    SYNCING = "syncing", "under way"
    FAILED = "failed", "failed"
    IDLE = "idle", "up to date"


UNDER_WAY = (SyncStatus.QUEUED, SyncStatus.SYNCING)


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

    @property
    def eta_seconds(self) -> int | None:
        return self.run.eta_seconds() if self.run is not None and self.status == SyncStatus.SYNCING else None


def of(connection: Connection) -> dict[str, SyncStanding]:
    """By capability, all of them."""
    states = {state.type: state for state in connection.sync_states.all()}
    latest = connection.runs.order_by("type", "-created_at", "-id").distinct("type")
    runs = {run.type: run for run in latest}
    can, switched_on = capabilities.of_connection(connection), enabled_types(connection)
    live = connection.disconnected_at is None and not connection.paused and not connection.needs_reauth
    held = _held(connection)
    standings = {}
    for name in CAPABILITIES:
        status = _status(runs.get(name), name in can, live and name in switched_on)
        state = states.get(name)
        goes_on = (
            state.next_sync_at if state is not None and status not in (SyncStatus.UNAVAILABLE, SyncStatus.OFF) else None
        )
        standings[name] = SyncStanding(status, state, runs.get(name), goes_on, held.get(name, ()))
    return standings


def _held(connection: Connection) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    rows = connection.cursors.exclude(held_reason="").order_by("stream").values_list("type", "stream", "held_reason")
    for type, stream, reason in rows:
        found[type] = (*found.get(type, ()), f"{stream}: {reason}")
    return found


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
