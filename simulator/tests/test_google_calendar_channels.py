"""The stand-in's push of calendars: channels, what is posted on them, and how they end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from simulator.tests.doorbell import Doorbell, doorbell
from simulator.tests.test_google_calendar import EVENTS, PREFIX, CalendarApi, ada, caller, reason

__all__ = ["ada"]
WATCH = f"{EVENTS}/watch"


@pytest.fixture
def bell() -> Iterator[Doorbell]:
    with doorbell() as found:
        yield found


def wanted(bell: Doorbell, **changes: Any) -> dict[str, Any]:
    body = {"id": "channel-1", "type": "web_hook", "address": bell.url, "token": "secret-1"} | changes
    return {name: value for name, value in body.items() if value is not None}


def states(bell: Doorbell, count: int) -> list[str]:
    bell.wait(count)
    return [headers["x-goog-resource-state"] for headers, _ in bell.received]


def test_channel_says_that_it_stands_and_then_that_something_changed(ada: CalendarApi, bell: Doorbell) -> None:
    made = ada.call("POST", WATCH, json=wanted(bell)).json
    assert (made["id"], made["token"]) == ("channel-1", "secret-1")
    assert 0 < int(made["expiration"]) / 1000 - time.time() <= 7 * 86_400
    assert states(bell, 1) == ["sync"]
    ada.add()
    assert states(bell, 2) == ["sync", "exists"]
    headers, _ = bell.received[1]
    assert bell.raw == [b"", b""]
    assert headers["x-goog-channel-id"] == "channel-1"
    assert headers["x-goog-channel-token"] == "secret-1"
    assert headers["x-goog-resource-id"] == made["resourceId"]
    assert int(headers["x-goog-message-number"]) > int(bell.received[0][0]["x-goog-message-number"])


def test_change_in_another_calendar_is_not_told(ada: CalendarApi, bell: Doorbell) -> None:
    ada.truth("POST", "/calendars", {"id": "home@group.calendar.google.com"})
    ada.call("POST", WATCH, json=wanted(bell))
    bell.wait(1)
    ada.call(
        "POST", "/calendars/home@group.calendar.google.com/events",
        json={"summary": "x", "start": {"date": "2026-03-27"}, "end": {"date": "2026-03-28"}},
    )  # fmt: skip
    assert [one["kind"] for one in ada.simulator.pushes(kind="channel")] == ["channel"]


def test_channel_of_the_list_tells_that_calendars_come_go_and_change_and_of_no_event(
    ada: CalendarApi, bell: Doorbell
) -> None:
    made = ada.call("POST", "/users/me/calendarList/watch", json=wanted(bell)).json
    assert made["resourceUri"].endswith("/users/me/calendarList?alt=json")
    assert states(bell, 1) == ["sync"]
    ada.add()
    ada.truth("POST", "/calendars", {"id": "home@group.calendar.google.com"})
    assert states(bell, 2) == ["sync", "exists"]
    assert bell.received[1][0]["x-goog-resource-id"] == made["resourceId"]
    ada.truth("PATCH", "/calendars/home@group.calendar.google.com", {"summary": "Home"})
    ada.truth("DELETE", "/calendars/home@group.calendar.google.com")
    assert states(bell, 4) == ["sync", "exists", "exists", "exists"]
    assert ada.call("POST", "/channels/stop", json={"id": made["id"], "resourceId": made["resourceId"]}).status == 204


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"type": "email"}, (400, "invalid")),
        ({"id": None}, (400, "invalid")),
        ({"id": "x" * 65}, (400, "invalid")),
        ({"token": "x" * 257}, (400, "invalid")),
        ({"address": "http://hub.example/hook"}, (400, "push.webhookUrlNotHttps")),
        ({"params": {"ttl": "soon"}}, (400, "invalid")),
    ],
    ids=str,
)
def test_channel_that_makes_no_sense_is_refused(
    ada: CalendarApi, bell: Doorbell, changes: dict[str, Any], answer: tuple[int, str]
) -> None:
    assert reason(ada.call("POST", WATCH, json=wanted(bell, **changes))) == answer


def test_channel_id_is_taken_once_and_holidays_are_told_to_nobody(ada: CalendarApi, bell: Doorbell) -> None:
    ada.call("POST", WATCH, json=wanted(bell))
    assert reason(ada.call("POST", WATCH, json=wanted(bell))) == (400, "channelIdNotUnique")
    ada.truth("POST", "/calendars", {"id": "de@group.v.calendar.google.com", "access_role": "reader"})
    holidays = ada.call("POST", "/calendars/de@group.v.calendar.google.com/events/watch", json=wanted(bell, id="two"))
    assert reason(holidays) == (400, "pushNotSupportedForRequestedResource")


def test_channel_is_stopped_by_its_user_with_both_ids(ada: CalendarApi, bell: Doorbell) -> None:
    made = ada.call("POST", WATCH, json=wanted(bell)).json
    both = {"id": made["id"], "resourceId": made["resourceId"]}
    ada.simulator.create_account("google", "bob@hub.example")
    bob = caller(ada.simulator, "bob@hub.example", PREFIX)
    assert bob.call("POST", "/channels/stop", json=both).status == 404
    assert ada.call("POST", "/channels/stop", json=both | {"resourceId": "other"}).status == 404
    assert len(ada.truth("GET", "/channels")["channels"]) == 1
    assert ada.call("POST", "/channels/stop", json=both).status == 204
    assert ada.truth("GET", "/channels")["channels"] == []
    assert ada.call("POST", "/channels/stop", json=both).status == 404


def test_channel_that_ran_out_is_gone_and_silent(ada: CalendarApi, bell: Doorbell) -> None:
    ada.call("POST", WATCH, json=wanted(bell, params={"ttl": "60"}))
    bell.wait(1)
    ada.simulator.advance(61)
    fresh = caller(ada.simulator, ada.email, PREFIX)
    fresh.add()
    assert ada.truth("GET", "/channels")["channels"] == []
    assert len(ada.simulator.pushes(kind="channel")) == 1


def test_messages_can_be_dropped_and_doubled(ada: CalendarApi, bell: Doorbell) -> None:
    ada.call("POST", WATCH, json=wanted(bell))
    bell.wait(1)
    ada.simulator.settings(push_drop=True)
    ada.add()
    assert [one["status"] for one in ada.simulator.pushes(kind="channel")][-1] == -1
    ada.simulator.settings(push_drop=False, push_copies=2)
    ada.add()
    assert states(bell, 3) == ["sync", "exists", "exists"]
