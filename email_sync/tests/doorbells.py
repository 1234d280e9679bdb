"""The simulator as Gmail and Graph for the tests of doorbells: accounts with tokens, connections that sync them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from email_sync.tests.factories import connect
from email_sync.tests.gmail_simulator import access_token
from integrations.models import Connection, SyncState
from simulator.process import Simulator
from workspaces.tests.fixtures import Actor

TOPIC = "projects/hub-test/topics/gmail"
GOOGLE = "/api/v1/integrations/email/push/google"
MICROSOFT = "/api/v1/integrations/email/push/microsoft"
ADA, CLEO = "ada@contract.test", "cleo@contract.test"
SERVICE_ACCOUNT = "push@simulator.iam.gserviceaccount.com"


def configure(settings: Any, simulator: Simulator, hub: str) -> None:
    """The hub at `hub` uses the simulator, with push from both."""
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    settings.PUBLIC_URL = hub
    settings.MAIL_PROVIDER_SETTINGS = {
        "google": {
            "gmailApiUrl": simulator.base_url,
            "quotaUnits": 0,
            "pubsubTopic": TOPIC,
            "pushServiceAccount": SERVICE_ACCOUNT,
            "certsUrl": f"{simulator.base_url}/oauth2/v3/certs",
        },
        "microsoft": {"graphApiUrl": simulator.base_url, "quotaUnits": 0},
    }
    simulator.settings(pubsub_push_endpoint=f"{hub}{GOOGLE}")


def microsoft_token(simulator: Simulator, email: str) -> str:
    """As a consenting user's browser would have brought it."""
    env, callback = simulator.env(), "http://hub.test/callback"
    asked = {
        "client_id": env["MICROSOFT_CLIENT_ID"],
        "redirect_uri": callback,
        "response_type": "code",
        "scope": "offline_access User.Read Mail.ReadWrite Mail.Send",
    }
    tenant = {"{tenant}": "common"}
    authorize, token = (
        env[f"MICROSOFT_{name}_URL"].replace(*next(iter(tenant.items()))) for name in ("AUTHORIZE", "TOKEN")
    )
    location = simulator.authorize(f"{authorize}?{urlencode(asked)}", email)
    form = {
        "grant_type": "authorization_code",
        "code": parse_qs(urlsplit(location).query)["code"][0],
        "redirect_uri": callback,
        "client_id": env["MICROSOFT_CLIENT_ID"],
        "client_secret": env["MICROSOFT_CLIENT_SECRET"],
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    _, _, body = simulator.request("POST", urlsplit(token).path, headers=headers, body=urlencode(form).encode())
    return str(json.loads(body)["access_token"])


def google_mailbox(simulator: Simulator, actor: Actor, email: str = ADA) -> Connection:
    """A connected Gmail account, synced and not due for a long time."""
    simulator.create_account("google", email)
    return _connected(actor, "google", email, access_token(simulator, email))


def microsoft_mailbox(simulator: Simulator, actor: Actor, email: str = CLEO) -> Connection:
    """The same at Microsoft."""
    simulator.create_account("microsoft", email)
    return _connected(actor, "microsoft", email, microsoft_token(simulator, email))


def _connected(actor: Actor, provider: str, email: str, token: str) -> Connection:
    connection = connect(actor, email, provider=provider)
    connection.credentials = {"access_token": token}
    connection.save()
    SyncState.objects.filter(connection=connection).update(next_sync_at="2099-01-01T00:00Z")
    return connection
