"""Events on their way to subscribers that are no plain webhooks: from the row in the database to the message at the
vendor."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from core.work import WorkStatus
from integrations.models import Delivery, Health, Integration
from integrations.tests.deliveries import API, happen, send_due, told
from simulator.hooks_platform import MAKE_HOOK, ZAPIER_HOOK
from simulator.process import Simulator
from simulator.slack import BOT_TOKEN, HOOK_PATH
from workspaces.tests.fixtures import Actor

pytestmark = [pytest.mark.django_db(transaction=True)]


def subscribed(actor: Actor, type: str, config: dict[str, Any], credentials: dict[str, Any]) -> Integration:
    """Told of failing integrations."""
    body = {
        "name": "Elsewhere", "type": type, "credentials": credentials,
        "config": {"events": ["integration.failing"], **config},
    }  # fmt: skip
    answer = actor.client.post(API, body, format="json")
    assert answer.status_code == 201, answer.content
    return Integration.objects.get(pk=answer.json()["id"])


def one_event(actor: Actor) -> Delivery:
    """It happened and was tried once."""
    happen(actor.workspace, "integration.failing", integrationType="SLACK", code="<!channel>")
    told(actor.workspace)
    assert send_due() == 1
    return Delivery.objects.get()


@pytest.mark.parametrize("way", ["bot", "webhook"])
def test_slack_gets_a_message_that_notifies_nobody(admin: Actor, simulator: Simulator, way: str) -> None:
    if way == "bot":
        subscribed(admin, "SLACK", {"channel": "alerts"}, {"botToken": BOT_TOKEN})
    else:
        subscribed(admin, "SLACK", {"webhookUrl": f"{simulator.base_url}{HOOK_PATH}"}, {})
    assert one_event(admin).status == WorkStatus.DONE
    [message] = simulator.control("GET", "/slack/messages")["messages"]
    assert (message["channel"], message["via"], message["pings"]) == ("C0ALERTS01", way, [])
    headline, *facts = message["text"].splitlines()
    assert headline.startswith(":warning: An integration stopped working (")
    assert set(facts) == {"• number: 0", "• integration type: SLACK", "• code: &lt;!channel&gt;"}


def test_slack_with_a_dead_token_is_an_incident_and_the_message_waits(admin: Actor, simulator: Simulator) -> None:
    subscribed(admin, "SLACK", {"channel": "alerts"}, {"botToken": BOT_TOKEN})
    simulator.control("PUT", f"/slack/bots/{BOT_TOKEN}", {"error": "token_revoked"})
    assert one_event(admin).status == WorkStatus.QUEUED
    row = Integration.objects.get()
    assert (row.health, row.enabled) == (Health.FAILING, True)
    assert "token_revoked" in row.health_message


@pytest.mark.parametrize("path", [ZAPIER_HOOK, MAKE_HOOK], ids=["zapier", "make"])
def test_platform_gets_the_event_as_it_is(admin: Actor, simulator: Simulator, path: str) -> None:
    subscribed(admin, "WEBHOOK_PLATFORM", {"webhookUrl": f"{simulator.base_url}{path}"}, {})
    delivery = one_event(admin)
    assert delivery.status == WorkStatus.DONE
    [taken] = simulator.control("GET", "/hook-platforms/taken")["taken"]
    assert taken["headers"]["webhook-id"] == delivery.message_id
    assert json.loads(base64.b64decode(taken["body"]))["data"]["integrationType"] == "SLACK"


def test_platform_whose_hook_is_gone_is_switched_off(admin: Actor, simulator: Simulator) -> None:
    subscribed(admin, "WEBHOOK_PLATFORM", {"webhookUrl": f"{simulator.base_url}{MAKE_HOOK}"}, {})
    simulator.control("PUT", "/hook-platforms/hooks", {"path": MAKE_HOOK, "state": "gone"})
    happen(admin.workspace, "integration.failing")
    told(admin.workspace)
    send_due()
    assert Integration.objects.get().enabled is False
    assert Delivery.objects.get().response_status == 410
