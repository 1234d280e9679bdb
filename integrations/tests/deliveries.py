"""Surroundings of the delivery tests: a workspace's endpoints at the simulator, events, and time that goes by."""

from __future__ import annotations

import base64
import time
from datetime import timedelta
from typing import Any

from django.db.models import F

from integrations import tasks
from integrations.models import Delivery, DeliveryAttempt, Event, Integration, Subscription
from integrations.services import delivering, events, subscriptions
from simulator.process import Simulator
from simulator.receiver_client import Receiver
from workspaces.models import Workspace
from workspaces.tests.fixtures import Actor

API = "/api/integrations"
SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes, ok").decode()


def hook(actor: Actor, url: str, events: list[str] | None = None, **changes: Any) -> Integration:
    """A WEBHOOK made through the API."""
    body: dict[str, Any] = {
        "name": changes.pop("name", "Hook"),
        "type": "WEBHOOK",
        "config": {"url": url, "events": ["email.*"] if events is None else events},
        "credentials": {"secret": SECRET},
        **changes,
    }
    answer = actor.client.post(API, body, format="json")
    assert answer.status_code == 201, answer.content
    return Integration.objects.get(pk=answer.json()["id"])


def receiver(simulator: Simulator, name: str) -> Receiver:
    return Receiver(simulator, name)


def happen(workspace: Workspace, type: str = "email.sent", times: int = 1, **payload: Any) -> list[Event]:
    """So many events, committed one by one."""
    before = set(Event.objects.values_list("pk", flat=True))
    for number in range(times):
        events.record(workspace_id=workspace.pk, type=type, payload={"number": number, **payload})
    return list(Event.objects.exclude(pk__in=before).order_by("transaction", "id"))


def told(workspace: Workspace) -> list[Any]:
    """Fan out all that has happened; the integrations that have something new. An event can be read when every older
    transaction has ended, and other tests have theirs on the same server."""
    rung: list[Any] = []
    unreadable = Event.objects.filter(workspace=workspace, transaction__gte=events.now_in_sql(events.OLDEST_UNDER_WAY))
    for _ in range(200):
        rung += subscriptions.fan_out(workspace.pk).integration_ids
        if not unreadable.exists() and workspace.pk not in subscriptions.behind():
            break
        time.sleep(0.05)
    return list(dict.fromkeys(rung))


def send_due() -> int:
    """Send everything that is due now, one after the other; how many attempts were made."""
    before = DeliveryAttempt.objects.count()
    for integration_id in Integration.objects.values_list("pk", flat=True):
        delivering.work(integration_id, call_help=lambda: None)
    return DeliveryAttempt.objects.count() - before


def pass_time(seconds: float) -> None:
    """As if so many seconds had gone by: every moment that a delivery or an endpoint remembers lies further back."""
    span = timedelta(seconds=seconds)
    for model, names in (
        (Delivery, ("next_attempt_at", "lease_until", "queued_at", "started_at", "finished_at", "created_at")),
        (DeliveryAttempt, ("at",)),
        (Subscription, ("not_before", "asked_until", "failing_since", "rung_at")),
    ):
        model.objects.update(**{name: F(name) - span for name in names})  # type: ignore[attr-defined] # any of them


def tick() -> None:
    """What the tick does, without a slot and without a broker."""
    for workspace_id in subscriptions.behind():
        tasks.fan_out(str(workspace_id))
