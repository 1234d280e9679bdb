"""Deliveries on the API: listed with their attempts, sent once more one by one or by time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.ids import uuid7
from core.work import WorkStatus
from integrations.models import Delivery, DeliveryAttempt, Integration, Subscription
from integrations.services import delivery_log
from integrations.tests.deliveries import API, happen, hook, pass_time, receiver, send_due, told
from simulator.process import Simulator
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def row(admin: Actor, simulator: Simulator) -> Integration:
    """A hook to the receiver "listed"."""
    return hook(admin, receiver(simulator, "listed").url, ["email.*", "sync.*"])


def listed(actor: Actor, row: Integration, **query: Any) -> dict[str, Any]:
    answer = actor.client.get(f"{API}/{row.pk}/deliveries", query)
    assert answer.status_code == 200, answer.content
    body: dict[str, Any] = answer.json()
    return body


def filled(row: Integration, count: int, **columns: Any) -> list[Delivery]:
    """Rows as if they had been sent, oldest first."""
    now = timezone.now()
    given = {"status": WorkStatus.DONE, "attempt_count": 1, "finished_at": now, "event_type": "email.sent", **columns}
    rows = [
        Delivery(
            workspace_id=row.workspace_id, integration=row, event_id=uuid7(), event_at=now,
            body='{"type":"email.sent","timestamp":"","data":{}}', **given,
        )
        for _ in range(count)
    ]  # fmt: skip
    Delivery.objects.bulk_create(rows)
    DeliveryAttempt.objects.bulk_create(DeliveryAttempt(delivery=made, number=1, status=200) for made in rows)
    return rows


def test_list_shows_each_delivery_with_its_attempts(admin: Actor, row: Integration, simulator: Simulator) -> None:
    receiver(simulator, "listed").answers({"status": 500, "body": "Not today"}, {"status": 204})
    [event] = happen(admin.workspace)
    told(admin.workspace)
    send_due()
    body = listed(admin, row)
    assert body["pagination"] == {
        "page": 1, "limit": 25, "total": 1, "totalIsExact": True, "totalPages": 1, "nextCursor": None
    }  # fmt: skip
    [item] = body["data"]
    delivery = Delivery.objects.get()
    assert item["messageId"] == delivery.message_id
    assert (item["id"], item["eventId"], item["type"]) == (str(delivery.pk), str(event.pk), "email.sent")
    assert (item["status"], item["responseStatus"], item["attemptCount"]) == ("queued", 500, 1)
    assert item["nextAttemptAt"] > item["createdAt"]
    [attempt] = item["attempts"]
    assert attempt.pop("latencyMs") >= 0
    assert attempt.pop("at") >= item["createdAt"]
    assert attempt == {"number": 1, "status": 500, "error": "The endpoint answered 500.", "excerpt": "Not today"}
    pass_time(6)
    send_due()
    [item] = listed(admin, row)["data"]
    assert (item["status"], item["nextAttemptAt"], len(item["attempts"])) == ("delivered", None, 2)
    assert item["finishedAt"] is not None


def test_list_filters_by_status_type_and_time(admin: Actor, row: Integration) -> None:
    [good] = filled(row, 1)
    [bad] = filled(row, 1, status=WorkStatus.FAILED, event_type="sync.failed")
    [waiting] = filled(row, 1, status=WorkStatus.QUEUED, finished_at=None)

    def ids(**query: Any) -> list[str]:
        return [item["id"] for item in listed(admin, row, **query)["data"]]

    assert ids() == [str(waiting.pk), str(bad.pk), str(good.pk)]
    assert ids(status="failed") == ids(type="sync.failed") == [str(bad.pk)]
    assert ids(status="queued") == [str(waiting.pk)]
    assert ids(status="sending") == []
    soon, ago = (timezone.now() + timedelta(seconds=span) for span in (5, -5))
    assert len(ids(**{"from": ago.isoformat(), "to": soon.isoformat()})) == 3
    assert ids(**{"from": soon.isoformat()}) == ids(to=ago.isoformat()) == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"status": "done"}, "status"),
        ({"type": "email.*"}, "type"),
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-01-01T00:00:00"}, "to"),
        ({"limit": "0"}, "limit"),
        ({"cursor": "bm90aGluZw"}, "cursor"),
        ({"cursor": "WyJ4Il0"}, "cursor"),
    ],
    ids=["status", "type", "from", "naive", "limit", "forged", "no-id"],
)
def test_list_refuses_what_it_does_not_understand(
    admin: Actor, row: Integration, query: dict[str, str], field: str
) -> None:
    answer = admin.client.get(f"{API}/{row.pk}/deliveries", query)
    assert answer.status_code == 400
    assert set(answer.json()["error"]["fields"]) == {field}


def test_list_walks_by_cursor_without_gap_or_repetition_and_costs_the_same_everywhere(
    admin: Actor, row: Integration
) -> None:
    rows = filled(row, 60)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 25}
    costs = set()
    while True:
        with CaptureQueriesContext(database) as captured:
            body = listed(admin, row, **query)
        costs.add(len(captured))
        seen += [item["id"] for item in body["data"]]
        if not (cursor := body["pagination"]["nextCursor"]):
            break
        query = {"limit": 25, "cursor": cursor}
    assert seen == [str(made.pk) for made in reversed(rows)]
    assert len(costs) == 1
    with CaptureQueriesContext(database) as captured:
        listed(admin, row, limit=1)
    assert len(captured) in costs
    assert body["pagination"]["page"] is None
    assert [item["id"] for item in listed(admin, row, page=3, limit=25)["data"]] == seen[50:]


def test_list_counts_only_so_far(admin: Actor, row: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_log, "COUNTED", 10)
    filled(row, 30)
    assert listed(admin, row, limit=5)["pagination"] | {"nextCursor": ""} == {
        "page": 1, "limit": 5, "total": 10, "totalIsExact": False, "totalPages": 2, "nextCursor": ""
    }  # fmt: skip
    assert listed(admin, row, limit=5, page=4)["pagination"]["total"] == 20
    assert listed(admin, row, limit=10, page=3)["pagination"]["totalIsExact"] is True


def test_list_shows_the_newest_attempts_of_one_that_has_many(admin: Actor, row: Integration) -> None:
    [made] = filled(row, 1, attempt_count=50)
    DeliveryAttempt.objects.bulk_create(DeliveryAttempt(delivery=made, number=number) for number in range(2, 51))
    [item] = listed(admin, row)["data"]
    assert [attempt["number"] for attempt in item["attempts"]] == list(range(31, 51))


@pytest.mark.parametrize("status", [WorkStatus.DONE, WorkStatus.FAILED, WorkStatus.QUEUED], ids=str)
def test_replay_sends_under_the_same_id_whatever_became_of_it(
    admin: Actor, row: Integration, simulator: Simulator, status: str
) -> None:
    later = timezone.now() + timedelta(hours=3)
    [made] = filled(row, 1, status=status, next_attempt_at=later, tries=5)
    answer = admin.client.post(f"{API}/{row.pk}/deliveries/{made.pk}/replay")
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert send_due() == 1
    [got] = receiver(simulator, "listed").received()
    assert (got.headers["webhook-id"], got.body) == (made.message_id, made.body.encode())
    [item] = listed(admin, row)["data"]
    assert (item["status"], [attempt["number"] for attempt in item["attempts"]]) == ("delivered", [1, 2])
    assert AuditEvent.objects.filter(action="integration.replayed").get().changes == {"delivery": made.message_id}


def test_replay_is_refused_while_an_attempt_is_under_way_or_where_it_is_disabled(
    admin: Actor, row: Integration
) -> None:
    lease = timezone.now() + timedelta(seconds=60)
    [made] = filled(row, 1, status=WorkStatus.RUNNING, lease_until=lease, finished_at=None)
    address = f"{API}/{row.pk}/deliveries/{made.pk}/replay"
    refused = admin.client.post(address)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "delivery_under_way")
    Delivery.objects.update(status=WorkStatus.DONE)
    admin.client.patch(f"{API}/{row.pk}", {"enabled": False}, format="json")
    for path, body in ((address, None), (f"{API}/{row.pk}/deliveries/replay", _span())):
        refused = admin.client.post(path, body, format="json")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "integration_disabled")
    assert Delivery.objects.get().status == WorkStatus.DONE


def test_replay_waits_as_long_as_the_endpoint_asked_and_not_for_our_own_pause(
    admin: Actor, row: Integration, simulator: Simulator
) -> None:
    [made] = filled(row, 1)
    later = timezone.now() + timedelta(seconds=100)
    Subscription.objects.update(not_before=later, asked_until=later)
    admin.client.post(f"{API}/{row.pk}/deliveries/{made.pk}/replay")
    assert send_due() == 0
    Subscription.objects.update(not_before=later, asked_until=None)
    admin.client.post(f"{API}/{row.pk}/deliveries/{made.pk}/replay")
    assert send_due() == 1


def test_replay_with_one_idempotency_key_is_one_replay(admin: Actor, row: Integration) -> None:
    [made] = filled(row, 1)
    for _ in range(2):
        admin.client.post(f"{API}/{row.pk}/deliveries/{made.pk}/replay", headers={"Idempotency-Key": "once"})
        send_due()
    assert Delivery.objects.get().attempt_count == 2


def _span(hours: float = 1.0) -> dict[str, Any]:
    now = timezone.now()
    return {"from": (now - timedelta(hours=hours)).isoformat(), "to": (now + timedelta(hours=hours)).isoformat()}


def test_replay_of_a_time_sends_what_has_ended_oldest_first_and_says_how_many(
    admin: Actor, row: Integration, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_log, "REPLAYED_AT_ONCE", 3)
    good = filled(row, 2)
    bad = filled(row, 3, status=WorkStatus.FAILED)
    waiting = filled(row, 1, status=WorkStatus.QUEUED, next_attempt_at=timezone.now() + timedelta(hours=1))
    address = f"{API}/{row.pk}/deliveries/replay"
    first = admin.client.post(address, _span(), format="json")
    assert (first.status_code, first.json()["count"]) == (202, 3)
    assert first.json()["nextFrom"] is not None
    send_due()
    ids = [got.headers["webhook-id"] for got in receiver(simulator, "listed").received()]
    assert sorted(ids) == sorted(made.message_id for made in [*good, bad[0]])
    rest = admin.client.post(address, {**_span(), "status": "failed", "type": "email.sent"}, format="json")
    assert rest.json() == {"count": 2, "nextFrom": None}
    assert admin.client.post(address, {**_span(), "type": "email.bounced"}, format="json").json()["count"] == 0
    assert Delivery.objects.get(pk=waiting[0].pk).attempt_count == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "from"),
        ({"from": "2026-01-01T00:00:00Z"}, "to"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "to"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "status": "queued"}, "status"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "all": True}, "all"),
    ],
    ids=["nothing", "half", "backwards", "status", "unknown"],
)
def test_replay_of_a_time_names_what_is_wrong(admin: Actor, row: Integration, body: dict[str, Any], field: str) -> None:
    answer = admin.client.post(f"{API}/{row.pk}/deliveries/replay", body, format="json")
    assert answer.status_code == 400
    assert field in answer.json()["error"]["fields"]


def test_ended_deliveries_are_forgotten_after_a_month_with_their_attempts(admin: Actor, row: Integration) -> None:
    rows = filled(row, 4)
    old = timezone.now() - timedelta(days=31)
    ids = [_aged(made, 31) for made in rows[:3]]
    Delivery.objects.filter(pk__in=ids[:2]).update(finished_at=old)
    assert delivery_log.forget_old() == 2
    assert set(Delivery.objects.values_list("pk", flat=True)) == {ids[2], rows[3].pk}  # the third was replayed since
    assert DeliveryAttempt.objects.count() == 2


def _aged(made: Delivery, days: int) -> Any:
    """The same row as if it had been made so long ago."""
    new = type(made.pk)(int=made.pk.int - (days * 86_400_000 << 80))
    DeliveryAttempt.objects.filter(delivery=made).delete()
    Delivery.objects.filter(pk=made.pk).update(id=new)
    DeliveryAttempt.objects.create(delivery_id=new, number=1, status=200)
    return new
