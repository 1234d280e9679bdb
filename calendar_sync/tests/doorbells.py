"""The simulator as Google Calendar and Graph for the tests of doorbells: accounts with tokens, and connections."""

from __future__ import annotations

from typing import Any

from calendar_sync.tests.factories import connect
from calendar_sync.tests.google_simulator import GoogleTruth
from calendar_sync.tests.graph_simulator import Mailbox
from integrations.models import Connection, SyncState
from simulator.process import Simulator
from workspaces.tests.fixtures import Actor

GOOGLE = "/api/v1/integrations/calendar/push/google"
MICROSOFT = "/api/v1/integrations/calendar/push/microsoft"
ADA, CLEO = "ada@contract.test", "cleo@contract.test"
LONG = "2099-01-01T00:00Z"


def configure(settings: Any, simulator: Simulator, hub: str) -> None:
    """The hub at `hub` uses the simulator."""
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    settings.PUBLIC_URL = hub
    settings.CALENDAR_PROVIDER_SETTINGS = {
        "google": {"calendarApiUrl": simulator.base_url, "quotaUnits": 0},
        "microsoft": {"graphApiUrl": simulator.base_url, "quotaUnits": 0},
    }


def google_account(simulator: Simulator, actor: Actor) -> Connection:
    """Ada's connected Google account, not due for a long time."""
    simulator.create_account("google", ADA)
    return _connected(actor, "google", ADA, GoogleTruth(simulator, ADA).token())


def microsoft_account(simulator: Simulator, actor: Actor) -> Connection:
    """Cleo's at Microsoft."""
    return _connected(actor, "microsoft", CLEO, Mailbox(simulator, CLEO).token)


def _connected(actor: Actor, provider: str, email: str, token: str) -> Connection:
    connection = connect(actor, email, options={})
    connection.provider, connection.credentials = provider, {"access_token": token}
    connection.save()
    SyncState.objects.filter(connection=connection).update(next_sync_at=LONG)
    return connection


def channels(simulator: Simulator) -> list[dict[str, Any]]:
    """Ada's, at Google."""
    return list(simulator.control("GET", f"/calendar/{ADA}/channels")["channels"])
