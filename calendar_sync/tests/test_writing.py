"""Writing events, against a provider in memory: what is refused, what is stored and told, and a sync meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from calendar_sync.models import Calendar, CalendarEvent
from calendar_sync.tests.conftest import Account
from core.errors import ProviderOutcomeUnknown
from integrations.models import SyncCursor
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db
BASE = "/api/v1/integrations/calendar"
MEETING = {"title": "Meeting", "start": "2026-07-01T14:00:00Z", "end": "2026-07-01T15:00:00Z"}


@pytest.fixture
def calendar(account: Account) -> Calendar:
    account.sync()
    return Calendar.objects.get()


def post(actor: Actor, **fields: Any) -> Any:
    headers = {"Idempotency-Key": fields.pop("key")} if "key" in fields else {}
    return actor.client.post(f"{BASE}/events", {**MEETING, **fields}, format="json", headers=headers)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"end": "2026-07-01T13:00:00Z"}, "end"),
        ({"end": "2028-07-01T13:00:00Z"}, "end"),
        ({"start": "2026-07-01T14:00:00"}, "start"),
        ({"start": "yesterday"}, "start"),
        ({"start": "0001-01-01T00:00:00Z"}, "start"),
        ({"start": "0001-01-01T00:00:00+05:00"}, "start"),
        ({"end": "9999-12-31T23:59:00-05:00"}, "end"),
        ({"title": 5}, "title"),
        ({"attendees": [{"email": "bob@example.com", "name": 5}]}, "attendees"),
        ({"start": "2026-07-01"}, "end"),
        ({"start": "2026-07-01", "end": "2026-07-01"}, "end"),
        ({"allDay": True}, "start"),
        ({"start": "2026-07-01", "end": "2026-07-02", "allDay": False}, "start"),
        ({"timeZone": "Mars/Olympus"}, "timeZone"),
        ({"title": "Two\r\nlines"}, "title"),
        ({"attendees": ["nobody"]}, "attendees"),
        ({"attendees": ["bob@example.com\r\nATTENDEE:mailto:eve@example.com"]}, "attendees"),
        ({"attendees": ["bob@example.com", "BOB@example.com"]}, "attendees"),
        ({"attendees": [f"{number}@example.com" for number in range(201)]}, "attendees"),
        ({"recurrence": "FREQ=WEEKLY;INTERVAL=0"}, "recurrence"),
        ({"recurrence": "FREQ=SOMETIMES"}, "recurrence"),
        ({"recurrence": "FREQ=DAILY;COUNT=2;UNTIL=20260801T000000Z"}, "recurrence"),
        ({"recurrence": "FREQ=DAILY\r\nATTACH:file:///etc/passwd"}, "recurrence"),
        ({"recurrence": ["RRULE:FREQ=DAILY", "RRULE:FREQ=WEEKLY"]}, "recurrence"),
        ({"recurrence": ["EXDATE:20260701T140000Z"]}, "recurrence"),
        ({"sendUpdates": "some"}, "sendUpdates"),
    ],
)
def test_create_of_what_makes_no_sense_names_the_field_and_asks_nobody(
    member: Actor, account: Account, calendar: Calendar, fields: dict[str, Any], named: str
) -> None:
    account.box.asked.clear()
    answer = post(member, **fields)
    assert answer.status_code == 400, answer.content
    assert any(name.split(".")[0] == named for name in answer.json()["error"]["fields"])
    assert account.box.asked == []


def test_create_where_it_may_not_be_written_says_why(member: Actor, account: Account, calendar: Calendar) -> None:
    stranger = make_actor()
    assert post(stranger, calendarId=str(calendar.pk)).status_code == 404
    assert post(stranger).status_code == 409
    Calendar.objects.update(read_only=True)
    assert post(member, calendarId=str(calendar.pk)).status_code == 422
    assert post(member).status_code == 409
    Calendar.objects.update(read_only=False, selected=False)
    assert post(member, calendarId=str(calendar.pk)).json()["error"]["code"] == "calendar_not_selected"
    Calendar.objects.update(selected=True)
    account.connection.needs_reauth = True
    account.connection.save()
    assert post(member).json()["error"]["code"] == "needs_reauth"


def test_create_is_told_once_and_a_sync_finds_nothing_new(member: Actor, account: Account, calendar: Calendar) -> None:
    answer = post(member, start="2026-07-01", end="2026-07-03", recurrence="FREQ=MONTHLY;COUNT=3")
    assert answer.status_code == 201, answer.content
    event = answer.json()
    assert (event["start"], event["end"], event["allDay"]) == ("2026-07-01", "2026-07-03", True)
    assert event["recurrence"] == ["RRULE:FREQ=MONTHLY;COUNT=3"]
    account.sync()
    assert account.told() == ["calendar.event.created"]
    assert len(account.titles()) == 3


def test_create_that_nobody_knows_the_outcome_of_may_be_sent_again(
    member: Actor, account: Account, calendar: Calendar
) -> None:
    def lost(call: str) -> None:
        if call == "created":
            raise ProviderOutcomeUnknown

    account.box.fail = lost
    answer = post(member)
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    error = answer.json()["error"]
    assert error["code"] == "provider_outcome_unknown"
    account.box.fail = lambda call: None
    again = post(member, key=error["idempotencyKey"])
    assert again.status_code == 201, again.content
    account.sync()
    assert CalendarEvent.objects.count() == 1
    assert account.told() == ["calendar.event.created"]


def test_create_during_a_first_listing_survives_its_end(member: Actor, account: Account) -> None:
    account.sync()
    calendar = Calendar.objects.get()
    made: list[int] = []
    written: list[Any] = []

    def meanwhile(call: str) -> None:
        if call == "listing" and not made:
            listed = dict(account.box.resources["/work/"])
            made.append(0)
            made[0] = post(member).status_code
            written.append(account.box.resources["/work/"])
            account.box.resources["/work/"] = listed  # the page is of before
        elif call == "changes" and written:
            account.box.resources["/work/"] = written.pop()

    SyncCursor.objects.filter(stream=str(calendar.pk)).update(reconcile=True)
    account.box.fail = meanwhile
    account.slice()
    assert made == [201]
    assert CalendarEvent.objects.present().filter(leaving_at__isnull=True).count() == 1
    assert account.told() == ["calendar.event.created"]


def test_create_about_an_entity_is_linked_to_it(member: Actor, account: Account) -> None:
    account.sync()
    half = post(member, entityType="deal")
    assert half.status_code == 400
    assert set(half.json()["error"]["fields"]) == {"entityId"}
    answer = post(member, entityType="deal", entityId=42)
    assert answer.status_code == 201, answer.content
    [entity] = answer.json()["entities"]
    assert (entity["entityType"], entity["entityId"]) == ("deal", "42")
    timeline = member.client.get("/api/v1/integrations/calendar/events/entity/deal/42").json()["data"]
    assert [one["id"] for one in timeline] == [answer.json()["id"]]
