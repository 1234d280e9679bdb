"""The stand-in's Google Calendar: sync tokens, tombstones, instances, versions, refusals and quota."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from simulator.process import Simulator
from simulator.tests.factories import Answer, send

PREFIX = "https://www.googleapis.com/auth/calendar"
EVENTS = "/calendars/primary/events"


@dataclass
class CalendarApi:
    """A caller with one token; `truth` is its account's part of the control API."""

    simulator: Simulator
    email: str
    token: str

    def call(self, method: str, path: str, **more: Any) -> Answer:
        query = more.pop("query", None)
        suffix = f"?{urlencode(query, doseq=True)}" if query else ""
        return send(self.simulator, method, f"/calendar/v3{path}{suffix}", token=self.token, **more)

    def get(self, path: str, **query: Any) -> Any:
        answer = self.call("GET", path, query=query)
        assert answer.status == 200, answer.body
        return answer.json

    def add(self, body: dict[str, Any] | None = None, **query: Any) -> Any:
        answer = self.call("POST", EVENTS, json=event() | (body or {}), query=query)
        assert answer.status == 200, answer.body
        return answer.json

    def truth(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return self.simulator.control(method, f"/calendar/{quote(self.email)}{path}", body)

    def whole(self, **query: Any) -> tuple[list[dict[str, Any]], str]:
        """Every item of a listing, and the sync token it ends with."""
        items: list[dict[str, Any]] = []
        token: dict[str, str] = {}
        while True:
            page = self.get(EVENTS, **query, **token)
            items += page["items"]
            if "nextSyncToken" in page:
                return items, page["nextSyncToken"]
            token = {"pageToken": page["nextPageToken"]}


def caller(simulator: Simulator, email: str, *scopes: str) -> CalendarApi:
    given = simulator.control("POST", f"/calendar/{quote(email)}/tokens", {"scopes": list(scopes or [PREFIX])})
    return CalendarApi(simulator, email, given["access_token"])


@pytest.fixture
def ada(simulator: Simulator) -> CalendarApi:
    simulator.create_account("google", "ada@hub.example")
    return caller(simulator, "ada@hub.example")


def event(**fields: Any) -> dict[str, Any]:
    """An hour in New York, at a calendar in Berlin."""
    where = {"timeZone": "America/New_York"}
    start, end = ({"dateTime": f"2026-03-27T{hour}:00:00"} | where for hour in ("09", "10"))
    return {"summary": "Lunch", "start": start, "end": end} | fields


def reason(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.reason


def test_listing_comes_in_small_pages_and_begins_with_empty_ones(ada: CalendarApi) -> None:
    made = {ada.add()["id"] for _ in range(5)}
    ada.simulator.settings(google_calendar_page=2, google_calendar_empty_pages=2)
    first = ada.get(EVENTS)
    assert first["items"] == []
    assert "nextSyncToken" not in first
    items, _ = ada.whole()
    assert {item["id"] for item in items} == made


def test_sync_token_tells_what_changed_since_and_of_what_is_gone_only_its_id(ada: CalendarApi) -> None:
    first, second = ada.add(), ada.add()
    _, token = ada.whole()
    third = ada.add()
    ada.call("PATCH", f"{EVENTS}/{first['id']}", json={"summary": "Dinner"})
    ada.call("DELETE", f"{EVENTS}/{second['id']}")
    items, following = ada.whole(syncToken=token)
    assert [item["id"] for item in items] == [third["id"], first["id"], second["id"]]
    assert set(items[2]) == {"kind", "etag", "id", "status"}
    assert items[2]["status"] == "cancelled"
    assert ada.whole(syncToken=following)[0] == []
    assert {item["id"] for item in ada.whole()[0]} == {first["id"], third["id"]}


def test_sync_token_of_a_listing_has_seen_everything_since_its_first_page(ada: CalendarApi) -> None:
    made = sorted(ada.add()["id"] for _ in range(4))
    ada.simulator.settings(google_calendar_page=2)
    page = ada.get(EVENTS)
    ada.call("PATCH", f"{EVENTS}/{made[0]}", json={"summary": "Changed"})
    page = ada.get(EVENTS, pageToken=page["nextPageToken"])
    assert [item["summary"] for item in ada.whole(syncToken=page["nextSyncToken"])[0]] == ["Changed"]


@pytest.mark.parametrize("parameter", ["iCalUID", "eventTypes"])
def test_sync_token_takes_only_the_parameters_it_was_given_for(ada: CalendarApi, parameter: str) -> None:
    _, token = ada.whole()
    answer = ada.call("GET", EVENTS, query={"syncToken": token, parameter: "default"})
    assert reason(answer) == (400, "invalid")


def test_sync_token_that_is_too_old_asks_for_everything(ada: CalendarApi) -> None:
    _, token = ada.whole()
    ada.truth("POST", "/expire-sync", {})
    assert reason(ada.call("GET", EVENTS, query={"syncToken": token})) == (410, "fullSyncRequired")
    assert ada.call("GET", EVENTS, query={"syncToken": "abc"}).status == 400
    _, fresh = ada.whole()
    assert ada.whole(syncToken=fresh)[0] == []


def test_series_has_instances_by_the_clock_of_its_zone(ada: CalendarApi) -> None:
    lines = ["RRULE:FREQ=DAILY;COUNT=5", "EXDATE;TZID=America/New_York:20260328T090000"]
    series = ada.add({"recurrence": lines})
    found = ada.get(f"{EVENTS}/{series['id']}/instances")["items"]
    assert [item["id"].partition("_")[2] for item in found] == [f"202603{day}T130000Z" for day in (27, 29, 30, 31)]
    assert [item["start"]["dateTime"][11:] for item in found] == ["14:00:00+01:00"] + ["15:00:00+02:00"] * 3


def test_instance_changed_or_cancelled_is_an_event_of_its_own_before_its_series(ada: CalendarApi) -> None:
    series = ada.add({"recurrence": ["RRULE:FREQ=DAILY;COUNT=3"]})
    changed, cancelled = f"{series['id']}_20260327T130000Z", f"{series['id']}_20260328T130000Z"
    assert ada.call("PATCH", f"{EVENTS}/{changed}", json={"summary": "Late"}).json["recurringEventId"] == series["id"]
    assert ada.call("DELETE", f"{EVENTS}/{cancelled}").status == 204
    items, token = ada.whole()
    assert [(item["id"], item["status"]) for item in items] == [
        (changed, "confirmed"), (cancelled, "cancelled"), (series["id"], "confirmed"),
    ]  # fmt: skip
    assert set(items[1]) == {"kind", "etag", "id", "status", "recurringEventId", "originalStartTime"}
    ada.call("DELETE", f"{EVENTS}/{series['id']}")
    assert {item["status"] for item in ada.whole(syncToken=token)[0]} == {"cancelled"}
    assert ada.whole()[0] == []
    assert reason(ada.call("GET", f"{EVENTS}/{series['id']}_20260401T130000Z")) == (404, "notFound")


def test_write_of_an_old_version_is_refused_and_changes_nothing(ada: CalendarApi) -> None:
    made = ada.add()
    path = f"{EVENTS}/{made['id']}"
    ada.call("PATCH", path, json={"summary": "Other"})
    old = {"If-Match": made["etag"]}
    for method, body in (("PATCH", {"summary": "Mine"}), ("PUT", event()), ("DELETE", {})):
        assert reason(ada.call(method, path, json=body, headers=old)) == (412, "conditionNotMet")
    now = ada.get(path)
    assert now["summary"] == "Other"
    assert ada.call("DELETE", path, headers={"If-Match": now["etag"]}).status == 204
    assert reason(ada.call("DELETE", path)) == (410, "deleted")


def test_insert_of_an_id_that_is_there_makes_no_second_event(ada: CalendarApi) -> None:
    ada.add({"id": "abcde01234"})
    assert reason(ada.call("POST", EVENTS, json=event(id="abcde01234"))) == (409, "duplicate")
    assert reason(ada.call("POST", EVENTS, json=event(id="ABC"))) == (400, "invalid")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"end": {"dateTime": "2026-03-27T08:00:00-04:00"}}, "timeRangeEmpty"),
        ({"end": {"date": "2026-03-28"}}, "invalid"),
        ({"start": {"dateTime": "2026-03-27T09:00:00"}}, "required"),
        ({"start": {"dateTime": "2026-03-27T09:00:00", "timeZone": "Mars/Base"}}, "invalid"),
        ({"recurrence": ["RRULE:FREQ=DAILY;INTERVAL=0"]}, "invalid"),
        ({"recurrence": ["DTSTART:20260101T000000Z"]}, "invalid"),
        ({"attendees": [{"email": "nobody"}]}, "invalid"),
        ({"start": {}}, "invalid"),
    ],
)
def test_insert_of_what_is_no_event_is_refused(ada: CalendarApi, fields: dict[str, Any], why: str) -> None:
    answer = ada.call("POST", EVENTS, json=event() | fields)
    assert (answer.status, answer.reason) in {(400, why), (400, "invalid")}
    assert ada.whole()[0] == []


def test_patch_merges_and_replaces_lists(ada: CalendarApi) -> None:
    made = ada.add({"attendees": [{"email": "bob@else.example"}], "location": "Here"})
    path = f"{EVENTS}/{made['id']}"
    days = {"start": {"date": "2026-03-27", "dateTime": None, "timeZone": None}}
    days |= {"end": {"date": "2026-03-28", "dateTime": None, "timeZone": None}}
    changed = ada.call("PATCH", path, json=days | {"location": None, "attendees": [{"email": "eve@else.example"}]}).json
    assert (changed["start"], changed["end"]) == ({"date": "2026-03-27"}, {"date": "2026-03-28"})
    assert [person["email"] for person in changed["attendees"]] == ["eve@else.example"]
    assert "location" not in changed
    assert changed["summary"] == "Lunch"


def test_guest_may_answer_and_change_nothing_shared(ada: CalendarApi) -> None:
    invited = [{"email": "bob@else.example"}, {"email": "ada@hub.example"}]
    body = event(organizer={"email": "bob@else.example"}, attendees=invited)
    made = ada.truth("POST", f"/calendars/{quote(ada.email)}/events", body)
    path = f"{EVENTS}/{made['id']}"
    refused = ada.call("PATCH", path, json={"summary": "Mine"})
    assert reason(refused) == (403, "forbiddenForNonOrganizer")
    own = {"attendeesOmitted": True, "attendees": [{"email": ada.email, "responseStatus": "accepted"}]}
    answered = ada.call("PATCH", path, json=own).json
    assert [(person["email"], person["responseStatus"]) for person in answered["attendees"]] == [
        ("bob@else.example", "needsAction"), ("ada@hub.example", "accepted"),
    ]  # fmt: skip


def test_conference_is_made_where_it_is_asked_for_with_its_version(ada: CalendarApi) -> None:
    wanted = {"conferenceData": {"createRequest": {"requestId": "one"}}}
    assert "conferenceData" not in ada.add(wanted)
    assert ada.add(wanted, conferenceDataVersion=1)["hangoutLink"].startswith("https://meet.google.com/")
    ada.simulator.settings(google_calendar_conference_pending=True)
    pending = ada.add(wanted, conferenceDataVersion=1)["conferenceData"]
    assert pending["createRequest"]["status"] == {"statusCode": "pending"}


def test_move_takes_a_series_whole_and_leaves_a_tombstone(ada: CalendarApi) -> None:
    ada.truth("POST", "/calendars", {"id": "home@group.calendar.google.com"})
    series = ada.add({"recurrence": ["RRULE:FREQ=DAILY;COUNT=3"]})
    ada.call("PATCH", f"{EVENTS}/{series['id']}_20260327T130000Z", json={"summary": "Late"})
    path = f"{EVENTS}/{series['id']}/move"
    moved = ada.call("POST", path, query={"destination": "home@group.calendar.google.com"})
    assert moved.json["id"] == series["id"]
    assert ada.whole()[0] == []
    there = ada.get("/calendars/home%40group.calendar.google.com/events")["items"]
    assert [item["summary"] for item in there] == ["Late", "Lunch"]


def test_calendar_that_may_only_be_read_takes_no_event_and_busy_times_hide_what_they_are(ada: CalendarApi) -> None:
    ada.add()
    for role in ("reader", "freeBusyReader"):
        ada.truth("PATCH", f"/calendars/{quote(ada.email)}", {"access_role": role})
        assert reason(ada.call("POST", EVENTS, json=event())) == (403, "requiredAccessLevel")
    [shown] = ada.whole()[0]
    assert "summary" not in shown
    assert shown["visibility"] == "private"


def test_ledger_tells_what_was_done_and_who_is_told_by_mail(ada: CalendarApi) -> None:
    ada.add({"attendees": [{"email": "bob@else.example"}]}, sendUpdates="externalOnly")
    [entry] = ada.simulator.ledger(operation="calendar.events.insert")
    effect = entry["effect"]
    assert (effect["kind"], effect["sendUpdates"], effect["attendees"]) == (
        "event.insert", "externalOnly", ["bob@else.example"],
    )  # fmt: skip


def test_scopes_are_enforced_by_method(simulator: Simulator, ada: CalendarApi) -> None:
    narrow = caller(simulator, ada.email, f"{PREFIX}.events")
    assert reason(narrow.call("GET", "/users/me/calendarList")) == (403, "insufficientPermissions")
    assert narrow.get(EVENTS)["items"] == []


@pytest.mark.parametrize("status", [403, 429])
def test_quota_is_of_requests_a_minute(ada: CalendarApi, status: int) -> None:
    ada.simulator.settings(google_calendar_requests_per_minute=2, google_calendar_quota_status=status)
    ada.get(EVENTS), ada.get(EVENTS)
    assert reason(ada.call("GET", EVENTS)) == (status, "rateLimitExceeded")
    ada.simulator.advance(61)
    ada.get(EVENTS)


def test_revoked_grant_and_unknown_calendar_are_refused(ada: CalendarApi) -> None:
    assert reason(ada.call("GET", "/calendars/nobody%40else.example/events")) == (404, "notFound")
    ada.simulator.revoke(vendor="google", email=ada.email)
    assert reason(ada.call("GET", EVENTS)) == (401, "authError")
