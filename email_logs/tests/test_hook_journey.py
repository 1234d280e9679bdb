"""A mail through each vendor's stand-in, whose signed events come to the hook over real HTTP: the row says what became
of the mail, and a bounced address is not written to again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from email_logs.models import EmailLogEntry
from email_logs.states import State
from email_logs.tests import postbox
from integrations.models import Integration
from simulator.process import Simulator
from workspaces.models import Role
from workspaces.tests.factories import WorkspaceFactory
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = {"EMAIL_PROVIDER": "re_key", "EMAIL_PROVIDER_ALT": "SG.key"}
SECONDS = 30.0


def waited(happened: Callable[[], bool]) -> bool:
    ends = time.monotonic() + SECONDS
    while not happened():
        if time.monotonic() > ends:
            return False
        time.sleep(0.1)
    return True


def settled(mail: EmailLogEntry, state: State) -> bool:
    return waited(lambda: EmailLogEntry.objects.filter(pk=mail.pk, state=state).exists())


class Journey:
    """An owner with an email provider at a vendor whose events go to the hook, as the documents say to set it up."""

    def __init__(self, type: str, simulator: Simulator, server: LiveServer, settings: Any) -> None:
        settings.PUBLIC_URL = server.url
        settings.THROTTLE_ADDRESS_PER_MINUTE = 0
        simulator.settings(resend_requests_per_second=0, push_attempts=1)
        self.simulator, self.type = simulator, type
        self.owner: Actor = make_actor(workspace=WorkspaceFactory(), role=Role.OWNER)
        self.vendor = "resend" if type == "EMAIL_PROVIDER" else "sendgrid"
        simulator.control("POST", f"/{self.vendor}/keys", {"key": KEYS[type]})
        account = ("domains", "name") if self.vendor == "resend" else ("senders", "sender")
        simulator.control("POST", f"/{self.vendor}/{account[0]}", {account[1]: "mail.example"})
        self.integration = postbox.provider(self.owner, type, key=KEYS[type])
        self.listen(self.integration)

    def listen(self, integration: Integration) -> None:
        """The vendor's side of the hook, and its secret given to ours."""
        at = f"/api/integrations/{integration.pk}"
        url = self.owner.client.get(at).json()["hookUrl"]
        made = self.simulator.control("POST", f"/{self.vendor}/webhook", {"url": url})
        secret = {"webhookSecret": made["signing_secret"]} if "signing_secret" in made else {
            "webhookPublicKey": made["public_key"]
        }  # fmt: skip
        given = {"credentials": {"apiKey": KEYS[self.type], **secret}}
        assert self.owner.client.patch(at, given, format="json").status_code == 200

    def send(self, to: str) -> EmailLogEntry:
        answer = postbox.send(self.owner.client, to=[to])
        assert answer.status_code == 201, answer.content
        return EmailLogEntry.objects.latest("id")

    def tell(self, mail: EmailLogEntry, event: str, **wish: Any) -> None:
        mail.refresh_from_db()
        if self.vendor == "resend":
            body = {"email_id": mail.message_id, "type": event, **wish}
        else:
            body = {"message_id": mail.message_id, "events": [{"event": event}], **wish}
        self.simulator.control("POST", f"/{self.vendor}/events", body)


@pytest.fixture(params=sorted(KEYS))
def journey(request: pytest.FixtureRequest, simulator: Simulator, live_server: LiveServer, settings: Any) -> Journey:
    return Journey(str(request.param), simulator, live_server, settings)


def test_mail_that_bounces_is_bounced_in_the_log_and_its_address_is_not_written_to(journey: Journey) -> None:
    mail = journey.send("ada@hub.example")
    assert settled(mail, State.DELIVERED), "the stand-in tells of each mail by itself"
    journey.tell(mail, "bounced" if journey.vendor == "resend" else "bounce", copies=3)
    assert settled(mail, State.BOUNCED)
    mail.refresh_from_db()
    assert "550 5.1.1 no such user" in mail.error
    listed = journey.owner.client.get("/api/suppressions").json()["data"]
    assert [(row["address"], row["reason"]) for row in listed] == [("ada@hub.example", "bounced")]
    sent = len(journey.simulator.sent())
    refused = postbox.send(journey.owner.client, to=["ada@hub.example"])
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "suppressed")
    assert len(journey.simulator.sent()) == sent
    journey.owner.client.delete(f"/api/suppressions/{listed[0]['id']}")
    assert settled(journey.send("ada@hub.example"), State.DELIVERED)


@pytest.mark.parametrize("wish", [{"forged": True}, {"signed_ago": 3600}, {"signed_ago": -3600}])
def test_event_that_proves_nothing_moves_nothing(journey: Journey, wish: dict[str, Any]) -> None:
    mail = journey.send("ada@hub.example")
    assert settled(mail, State.DELIVERED)
    told = len(journey.simulator.pushes())
    journey.tell(mail, "complained" if journey.vendor == "resend" else "spamreport", **wish)
    # The push that told of the delivery may be noted after what it said is here.
    assert waited(lambda: 401 in [push["status"] for push in journey.simulator.pushes()[told:]])
    mail.refresh_from_db()
    assert mail.state == State.DELIVERED
