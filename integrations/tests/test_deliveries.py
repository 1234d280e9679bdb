"""Deliveries: signed and sent as Standard Webhooks says, again on the schedule, and off when an endpoint is over."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from django.db import connection as database
from django.utils import timezone
from standardwebhooks import Webhook

from core.work import WorkStatus
from integrations.models import Delivery, Event, Health, Integration, Notice, Subscription
from integrations.services import delivering, integration_use
from integrations.tests.deliveries import API, SECRET, happen, hook, pass_time, receiver, send_due, told
from simulator.process import Simulator
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

pytestmark = [pytest.mark.django_db(transaction=True)]

OTHER_SECRET = "whsec_bmV3IHNlY3JldCBvZiB0aGlydHktdHdvIGJ5dGVzLi4="
DAY = 86_400


def test_delivery_is_signed_and_says_what_happened_in_ids(admin: Actor, simulator: Simulator) -> None:
    endpoint = receiver(simulator, "orders")
    hook(admin, endpoint.url)
    [event] = happen(admin.workspace, "email.sent", emailId="e1")
    told(admin.workspace)
    assert send_due() == 1
    [got] = endpoint.received()
    body = Webhook(SECRET).verify(got.body, got.headers)  # raises where it does not verify
    assert body == got.json == {
        "type": "email.sent",
        "timestamp": event.created_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": {"eventId": str(event.pk), "workspaceId": str(admin.workspace.pk), "number": 0, "emailId": "e1"},
    }  # fmt: skip
    delivery = Delivery.objects.get()
    assert got.body == delivery.body.encode()
    assert got.headers["webhook-id"] == delivery.message_id
    assert got.headers["content-type"] == "application/json"
    assert (delivery.status, delivery.response_status) == (WorkStatus.DONE, 200)
    assert Integration.objects.get().health == Health.OK


def test_rotated_secret_signs_beside_its_predecessor_for_a_day(admin: Actor, simulator: Simulator) -> None:
    endpoint = receiver(simulator, "rotating")
    row = hook(admin, endpoint.url)
    admin.client.patch(f"{API}/{row.pk}", {"credentials": {"secret": OTHER_SECRET}}, format="json")
    happen(admin.workspace)
    told(admin.workspace)
    send_due()
    [got] = endpoint.received()
    assert len(got.headers["webhook-signature"].split()) == 2
    for secret in (OTHER_SECRET, SECRET):
        Webhook(secret).verify(got.body, got.headers)


def test_failing_endpoint_is_asked_on_the_schedule_under_one_id(admin: Actor, simulator: Simulator) -> None:
    endpoint = receiver(simulator, "failing")
    endpoint.answer(500, body="no <b>luck</b>\x00today")
    hook(admin, endpoint.url)
    happen(admin.workspace)
    told(admin.workspace)
    assert send_due() == 1
    for number, wait in enumerate(delivering.SCHEDULE[1:], 2):
        shortest, spread = wait * (1 - delivering.JITTER), 2 * wait * delivering.JITTER
        pass_time(shortest - 1)
        assert send_due() == 0, f"attempt {number} came too soon"
        pass_time(spread + 1)
        assert send_due() == 1, f"attempt {number} came too late"
        assert len(endpoint.received()) == number
    got = endpoint.received()
    assert len({item.headers["webhook-id"] for item in got}) == len({item.body for item in got}) == 1
    assert len({item.headers["webhook-signature"] for item in got}) >= 1
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.error_code, delivery.attempt_count) == (WorkStatus.FAILED, "attempts_used_up", 8)
    [first, *_] = delivery.attempts_made.all()
    assert (first.status, first.error, first.excerpt) == (500, "The endpoint answered 500.", "no <b>luck</b> today")
    pass_time(3 * DAY)
    assert send_due() == 0


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 500])
def test_answer_other_than_2xx_is_a_failure_and_a_redirect_is_not_followed(
    admin: Actor, simulator: Simulator, status: int
) -> None:
    endpoint, elsewhere = receiver(simulator, "here"), receiver(simulator, "elsewhere")
    endpoint.answer(status, headers={"Location": elsewhere.url})
    hook(admin, endpoint.url)
    happen(admin.workspace)
    told(admin.workspace)
    send_due()
    assert elsewhere.received() == []
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.response_status, delivery.tries) == (WorkStatus.QUEUED, status, 1)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_longer_wait_that_was_asked_for_is_obeyed(admin: Actor, simulator: Simulator, form: str) -> None:
    endpoint = receiver(simulator, "asking")
    asked = "600" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    endpoint.answers({"status": 500, "headers": {"Retry-After": asked}}, {"status": 200})
    hook(admin, endpoint.url)
    happen(admin.workspace)
    told(admin.workspace)
    send_due()
    pass_time(590)
    assert send_due() == 0
    pass_time(12)
    assert send_due() == 1
    assert Delivery.objects.get().status == WorkStatus.DONE


def test_shorter_wait_than_the_schedules_changes_nothing_and_an_absurd_one_is_a_day() -> None:
    assert delivering.wait_seconds(2, 1.0) >= 300 * (1 - delivering.JITTER)
    assert delivering.wait_seconds(1, 7 * DAY) == DAY


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_endpoint_that_cannot_keep_up_is_left_alone_with_all_its_deliveries(
    admin: Actor, simulator: Simulator, status: int
) -> None:
    endpoint, other = receiver(simulator, "busy"), receiver(simulator, "other")
    endpoint.answers({"status": status, "headers": {"Retry-After": "60"}}, {"status": 200})
    hook(admin, endpoint.url)
    hook(admin, other.url, name="Other")
    happen(admin.workspace, times=3)
    told(admin.workspace)
    send_due()
    assert (len(endpoint.received()), len(other.received())) == (1, 3)
    pass_time(55)
    assert send_due() == 0
    pass_time(6)
    send_due()
    assert len(endpoint.received()) == 4
    assert not Delivery.objects.exclude(status=WorkStatus.DONE).exists()


def test_endpoint_that_says_nothing_is_paused_longer_each_time(admin: Actor, simulator: Simulator) -> None:
    row = hook(admin, "http://127.0.0.1:9/nobody")
    happen(admin.workspace, times=12)
    told(admin.workspace)
    pauses = []
    for _ in range(8):
        assert send_due() == 1  # one asks, the others wait
        place = Subscription.objects.get(pk=row.pk)
        assert place.not_before is not None
        pauses.append(round((place.not_before - timezone.now()).total_seconds() + 0.4))
        pass_time(pauses[-1] + 1)
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300]
    assert Delivery.objects.filter(response_status__isnull=True, tries__gte=1).exists()


def test_410_disables_at_once_and_the_owner_is_told(admin: Actor, simulator: Simulator) -> None:
    endpoint = receiver(simulator, "gone")
    endpoint.answer(410)
    row = hook(admin, endpoint.url, ["*"])
    happen(admin.workspace, times=3)
    told(admin.workspace)
    send_due()
    assert len(endpoint.received()) == 1
    row.refresh_from_db()
    assert (row.enabled, row.health, row.health_code) == (False, Health.FAILING, "gone")
    assert AuditEvent.objects.filter(action="integration.updated", actor=None).get().changes["enabled"] is False
    types = list(Event.objects.filter(payload__integrationId=str(row.pk)).order_by("id").values_list("type", flat=True))
    assert sorted(types[1:]) == ["integration.failing", "integration.updated"]
    assert "410" in Notice.objects.get().text
    assert Delivery.objects.filter(status=WorkStatus.FAILED, error_code="gone").count() == 1
    assert Delivery.objects.filter(status=WorkStatus.QUEUED).count() == 3  # integration.created is one


def test_endpoint_that_fails_for_five_days_is_switched_off_and_one_success_begins_anew(
    admin: Actor, simulator: Simulator
) -> None:
    endpoint = receiver(simulator, "long")
    endpoint.answer(500)
    row = hook(admin, endpoint.url)
    for _ in range(5):
        happen(admin.workspace)
        told(admin.workspace)
        send_due()
        pass_time(DAY)
    assert Integration.objects.get(pk=row.pk).enabled
    endpoint.answers({"status": 200}, {"status": 500})
    happen(admin.workspace)
    told(admin.workspace)
    send_due()
    assert Integration.objects.get(pk=row.pk).enabled
    for _ in range(6):
        happen(admin.workspace)
        told(admin.workspace)
        send_due()
        pass_time(DAY)
    row.refresh_from_db()
    assert (row.enabled, row.health, row.health_code) == (False, Health.FAILING, "failing")
    assert "five days" in Notice.objects.get().text


def test_disabled_and_deleted_ones_are_not_called_and_what_waited_goes_on_when_it_is_enabled(
    admin: Actor, simulator: Simulator
) -> None:
    endpoint = receiver(simulator, "switched")
    row = hook(admin, endpoint.url)
    happen(admin.workspace, times=2)
    told(admin.workspace)
    admin.client.patch(f"{API}/{row.pk}", {"enabled": False}, format="json")
    happen(admin.workspace)  # while it is off: nobody is told of it, ever
    told(admin.workspace)
    assert send_due() == 0
    admin.client.patch(f"{API}/{row.pk}", {"enabled": True}, format="json")
    told(admin.workspace)
    assert send_due() == 2
    happen(admin.workspace)
    told(admin.workspace)
    admin.client.delete(f"{API}/{row.pk}")
    assert send_due() == 0
    assert len(endpoint.received()) == 2
    assert Delivery.objects.count() == 3


def test_disabling_between_the_claim_and_the_call_is_seen(admin: Actor, simulator: Simulator) -> None:
    endpoint = receiver(simulator, "between")
    row = hook(admin, endpoint.url)
    happen(admin.workspace)
    told(admin.workspace)
    turn = delivering.delivery_turns.take(row.pk)
    assert turn is not None
    admin.client.patch(f"{API}/{row.pk}", {"enabled": False}, format="json")
    delivering.send(turn)
    assert endpoint.received() == []
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.attempt_count, delivery.attempts_made.count()) == (WorkStatus.QUEUED, 0, 0)


def test_what_waited_longer_than_five_days_is_not_sent_when_it_is_enabled(admin: Actor, simulator: Simulator) -> None:
    endpoint = receiver(simulator, "late")
    row = hook(admin, endpoint.url)
    happen(admin.workspace)
    told(admin.workspace)
    admin.client.patch(f"{API}/{row.pk}", {"enabled": False}, format="json")
    pass_time(5 * DAY + 1)
    admin.client.patch(f"{API}/{row.pk}", {"enabled": True}, format="json")
    assert send_due() == 0
    assert Delivery.objects.get().error_code == "too_old"
    assert endpoint.received() == []


def test_worker_that_died_between_answer_and_commit_is_followed_by_the_same_id(
    admin: Actor, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = receiver(simulator, "dying")
    row = hook(admin, endpoint.url)
    happen(admin.workspace)
    told(admin.workspace)
    turn = delivering.delivery_turns.take(row.pk)
    assert turn is not None
    delivering._call(Integration.objects.get(), turn.delivery)  # it arrived, and nobody wrote that down
    assert send_due() == 0
    pass_time(delivering.delivery_turns.LEASE_SECONDS + 1)
    assert send_due() == 1
    delivering.send(turn)  # the dead one comes back to life: it may write nothing any more
    ids = {got.headers["webhook-id"] for got in endpoint.received()}
    assert len(ids) == 1
    delivery = Delivery.objects.get()
    [first, second] = delivery.attempts_made.all()
    assert "died" in first.error
    assert (delivery.status, second.status) == (WorkStatus.DONE, 200)


def test_no_transaction_is_open_while_an_endpoint_is_asked(
    admin: Actor, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = receiver(simulator, "open")
    hook(admin, endpoint.url)
    happen(admin.workspace)
    told(admin.workspace)
    inside: list[bool] = []
    made = integration_use.provider_for

    def watched(integration: Integration) -> Any:
        inside.append(database.in_atomic_block)
        return made(integration)

    monkeypatch.setattr(integration_use, "provider_for", watched)
    send_due()
    assert inside == [False]


def test_body_never_grows_past_what_receivers_count_on(admin: Actor, simulator: Simulator) -> None:
    hook(admin, receiver(simulator, "big").url)
    happen(admin.workspace, ids=["x" * 36] * 2000, code="small")
    told(admin.workspace)
    delivery = Delivery.objects.get()
    assert len(delivery.body) < 20_000
    data = json.loads(delivery.body)["data"]
    assert (data["truncated"], data["code"], "ids" in data) == (True, "small", False)
