"""How a connection stands, for people: what is wrong, what is missing, how far each sync is, when it goes on.

Called by the status view and the console. Three queries whatever the number of runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from integrations.models import Connection, SyncRun, SyncState
from integrations.oauth.base import CAPABILITIES
from integrations.services import capabilities
from integrations.services.sync_runs import enabled_types

UNAVAILABLE, OFF, QUEUED, SYNCING, FAILED, IDLE = "unavailable", "off", "queued", "syncing", "failed", "idle"
"""Of one kind of sync. unavailable: the provider has none, or it was not granted. off: switched off, paused,
disconnected or without a grant. queued and syncing: under way. failed: the last run failed. idle: up to date."""


@dataclass(frozen=True)
class SyncStanding:
    """One kind of sync of a connection."""

    status: str
    state: SyncState | None
    run: SyncRun | None
    """The run under way, else the last."""
    next_sync_at: datetime | None

    @property
    def eta_seconds(self) -> int | None:
        return self.run.eta_seconds() if self.run is not None and self.status == SYNCING else None


def of(connection: Connection) -> dict[str, SyncStanding]:
    """By capability, all of them."""
    states = {state.type: state for state in connection.sync_states.all()}
    latest = connection.runs.order_by("type", "-created_at", "-id").distinct("type")
    runs = {run.type: run for run in latest}
    can, switched_on = capabilities.of_connection(connection), enabled_types(connection)
    live = connection.disconnected_at is None and not connection.paused and not connection.needs_reauth
    standings = {}
    for name in CAPABILITIES:
        status = _status(runs.get(name), name in can, live and name in switched_on)
        state = states.get(name)
        goes_on = state.next_sync_at if state is not None and status not in (UNAVAILABLE, OFF) else None
        standings[name] = SyncStanding(status, state, runs.get(name), goes_on)
    return standings


def _status(run: SyncRun | None, can: bool, on: bool) -> str:
    if not can:
        return UNAVAILABLE
    if not on:
        return OFF
    return {"queued": QUEUED, "running": SYNCING, "failed": FAILED}.get(run.status if run else "", IDLE)
