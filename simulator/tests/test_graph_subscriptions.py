"""Graph's subscriptions: the handshake, expiry, notifications and lifecycle events."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from simulator.tests.doorbell import Doorbell, doorbell
from simulator.tests.factories import GRAPH_SCOPES, GraphApi, connect_graph


@pytest.fixture
def bell() -> Iterator[Doorbell]:
    with doorbell() as found:
        yield found


def stamp(minutes: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.0000000Z", time.gmtime(time.time() + minutes * 60))


def wanted(bell: Doorbell, **changes: Any) -> dict[str, Any]:
    body = {
        "changeType": "created,updated,deleted",
        "notificationUrl": bell.url,
        "lifecycleNotificationUrl": f"{bell.url}?lifecycle=1",
        "resource": "me/mailFolders('inbox')/messages",
        "expirationDateTime": stamp(1000),
        "clientState": "secret-1",
    }
    return {name: value for name, value in (body | changes).items() if value is not None}


def test_subscription_is_made_after_both_addresses_echo_the_decoded_token(kim: GraphApi, bell: Doorbell) -> None:
    made = kim.post("/subscriptions", wanted(bell))
    assert (made["clientState"], made["notificationUrl"]) == ("secret-1", bell.url)
    assert [item["id"] for item in kim.get("/subscriptions")["value"]] == [made["id"]]
    validations = kim.simulator.pushes(kind="validation")
    assert [(item["url"], item["status"]) for item in validations] == [
        (bell.url, 200),
        (f"{bell.url}?lifecycle=1", 200),
    ]
    assert " " in validations[0]["body"]["validationToken"]


def test_subscription_whose_address_does_not_echo_is_refused(kim: GraphApi, bell: Doorbell) -> None:
    bell.echo = False
    assert kim.code("POST", "/subscriptions", json=wanted(bell)) == (400, "ValidationError")
    assert kim.get("/subscriptions")["value"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"notificationUrl": "http://192.0.2.1:9/hook"},
        {"notificationUrl": "http://127.0.0.1:1/nobody"},
        {"expirationDateTime": stamp(12_000)},
        {"expirationDateTime": stamp(-1)},
        {"expirationDateTime": None},
        {"changeType": "opened"},
        {"resource": "me/drive/root"},
        {"clientState": "x" * 129},
    ],
    ids=["elsewhere", "nobody there", "too long", "over", "no end", "odd change", "odd resource", "long state"],
)
def test_subscription_that_makes_no_sense_is_400(kim: GraphApi, bell: Doorbell, change: dict[str, Any]) -> None:
    assert kim.call("POST", "/subscriptions", json=wanted(bell, **change)).status == 400


def test_subscription_under_45_minutes_lasts_45_and_is_renewed_by_patch(kim: GraphApi, bell: Doorbell) -> None:
    made = kim.post("/subscriptions", wanted(bell, expirationDateTime=stamp(5)))
    path = f"/subscriptions/{made['id']}"
    kim.simulator.advance(44 * 60)
    renewed = kim.call("PATCH", path, json={"expirationDateTime": stamp(2000)}).json
    assert renewed["expirationDateTime"] > made["expirationDateTime"]
    assert kim.call("POST", f"{path}/reauthorize").status == 204
    assert kim.get(path)["expirationDateTime"] == renewed["expirationDateTime"]
    assert kim.call("DELETE", path).status == 204
    assert kim.code("GET", path) == (404, "ResourceNotFound")


def test_subscription_that_ran_out_is_gone_and_silent(kim: GraphApi, bell: Doorbell) -> None:
    made = kim.post("/subscriptions", wanted(bell, expirationDateTime=stamp(45)))
    kim.simulator.settings(push_drop=True)
    kim.simulator.advance(46 * 60)
    kim.deliver()
    assert kim.simulator.subscriptions() == []
    assert kim.simulator.pushes(kind="notification") == []
    fresh = connect_graph(kim.simulator, kim.email)
    assert fresh.code("PATCH", f"/subscriptions/{made['id']}", json={"expirationDateTime": stamp(900)})[0] == 404


def test_subscription_of_another_user_is_404(kim: GraphApi, bell: Doorbell) -> None:
    made = kim.post("/subscriptions", wanted(bell))
    kim.simulator.create_account("microsoft", "ann@hub.example")
    ann = connect_graph(kim.simulator, "ann@hub.example")
    assert ann.get("/subscriptions")["value"] == []
    assert ann.call("DELETE", f"/subscriptions/{made['id']}").status == 404


def test_change_is_notified_with_client_state_and_the_kind_of_id_subscribed_with(kim: GraphApi, bell: Doorbell) -> None:
    made = kim.post("/subscriptions", wanted(bell))
    identity = kim.deliver()["immutable_id"]
    kim.simulator.change(kim.email, identity, is_read=True)
    kim.simulator.move(kim.email, identity, "archive")
    assert bell.changes(3) == [("created", identity), ("updated", identity), ("deleted", identity)]
    value = bell.received[0][1]["value"][0]
    assert (value["subscriptionId"], value["clientState"]) == (made["id"], "secret-1")
    assert value["resource"].endswith(identity)


def test_subscription_without_the_header_notifies_mutable_ids(kim: GraphApi, bell: Doorbell) -> None:
    plain = connect_graph(kim.simulator, kim.email, immutable=False)
    plain.post("/subscriptions", wanted(bell, resource="me/messages", changeType="created"))
    assert bell.changes(0) == []
    identity = kim.deliver()["id"]
    assert bell.changes(1) == [("created", identity)]


def test_notifications_can_be_dropped_doubled_and_delayed(kim: GraphApi, bell: Doorbell) -> None:
    kim.post("/subscriptions", wanted(bell))
    kim.simulator.settings(push_drop=True)
    kim.deliver()
    assert [item["status"] for item in kim.simulator.pushes(kind="notification")] == [-1]
    kim.simulator.settings(push_drop=False, push_copies=2, push_delay_seconds=0.2)
    begun = time.monotonic()
    kim.deliver()
    first, second = bell.wait(2)
    assert first == second
    assert time.monotonic() - begun >= 0.2


def test_notification_not_answered_with_2xx_is_tried_again(kim: GraphApi, bell: Doorbell) -> None:
    kim.post("/subscriptions", wanted(bell))
    kim.simulator.settings(push_attempts=2)
    bell.status = 500
    kim.deliver()
    bell.wait(2)
    assert bell.received[0][1] == bell.received[1][1]


@pytest.mark.parametrize("event", ["reauthorizationRequired", "missed", "subscriptionRemoved"])
def test_lifecycle_event_goes_to_its_own_address(kim: GraphApi, bell: Doorbell, event: str) -> None:
    made = kim.post("/subscriptions", wanted(bell))
    assert kim.simulator.lifecycle(kim.email, event) == 1
    (body,) = bell.wait(1)
    assert (body["value"][0]["lifecycleEvent"], body["value"][0]["subscriptionId"]) == (event, made["id"])
    assert len(kim.simulator.subscriptions()) == (event != "subscriptionRemoved")


EVENT = {
    "subject": "Lunch",
    "start": {"dateTime": "2026-03-27T09:00:00", "timeZone": "UTC"},
    "end": {"dateTime": "2026-03-27T10:00:00", "timeZone": "UTC"},
}


@pytest.fixture
def planner(kim: GraphApi) -> GraphApi:
    """Kim's with calendars."""
    return connect_graph(kim.simulator, kim.email, f"{GRAPH_SCOPES} Calendars.ReadWrite")


def test_subscription_to_events_is_told_of_events_alone(planner: GraphApi, bell: Doorbell) -> None:
    made = planner.post("/subscriptions", wanted(bell, resource="me/events"))
    planner.deliver()
    event = planner.post("/me/events", EVENT)
    planner.call("PATCH", f"/me/events/{event['id']}", json={"subject": "Dinner"})
    planner.call("DELETE", f"/me/events/{event['id']}")
    assert bell.changes(3) == [("created", event["id"]), ("updated", event["id"]), ("deleted", event["id"])]
    value = bell.received[0][1]["value"][0]
    assert (value["subscriptionId"], value["clientState"]) == (made["id"], "secret-1")
    assert value["resourceData"]["@odata.type"] == "#Microsoft.Graph.Event"


def test_event_that_moves_to_another_calendar_is_deleted_and_created(planner: GraphApi, bell: Doorbell) -> None:
    team = planner.simulator.control("POST", f"/microsoft/{planner.email}/calendars", {"name": "Team"})["id"]
    event = planner.post("/me/events", EVENT)
    planner.post("/subscriptions", wanted(bell, resource="me/events"))
    planner.simulator.control("PATCH", f"/microsoft/{planner.email}/events/{event['id']}", {"calendar": team})
    assert bell.changes(2) == [("deleted", event["id"]), ("created", event["id"])]


@pytest.mark.parametrize(
    ("resource", "scopes", "status"),
    [
        ("me/events", "Calendars.ReadWrite", 201),
        ("me/events", "Mail.Read", 403),
        ("me/messages", "Calendars.ReadWrite", 403),
        ("users/somebody@else.test/events", "Calendars.ReadWrite", 403),
    ],
)
def test_subscription_needs_the_scope_of_what_it_is_about(
    kim: GraphApi, bell: Doorbell, resource: str, scopes: str, status: int
) -> None:
    narrow = connect_graph(kim.simulator, kim.email, f"openid offline_access User.Read {scopes}")
    assert narrow.call("POST", "/subscriptions", json=wanted(bell, resource=resource)).status == status
