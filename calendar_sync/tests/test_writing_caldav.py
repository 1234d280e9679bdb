"""Writing events against Radicale and xandikos: what a server has afterwards, and what is stored here."""

from __future__ import annotations

from typing import Any

import pytest

from calendar_sync.ics import read_events
from calendar_sync.models import CalendarEvent
from calendar_sync.tests.conftest import Account
from calendar_sync.tests.servers import Server
from calendar_sync.tests.test_changing import at_once, check_one_won
from workspaces.models import IdempotencyRecord
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db
BASE = "/api/v1/integrations/calendar"
MEETING = {
    "title": "Client Meeting",
    "start": "2026-07-01T14:00:00Z",
    "end": "2026-07-01T15:00:00Z",
    "description": "Quarterly review",
    "attendees": ["contact@company.com"],
}


@pytest.fixture
def work(served: Account, server: Server) -> str:
    path = server.make_calendar("Work")
    served.sync()
    return path


def post(actor: Actor, body: dict[str, Any], **headers: str) -> Any:
    return actor.client.post(f"{BASE}/events", body, format="json", headers=headers)


def on_server(server: Server) -> Any:
    """The text of the only event."""
    row = CalendarEvent.objects.present().values_list("remote_id", flat=True).distinct().get()
    status, body = server.ask("GET", row)
    assert status == 200
    return body.decode()


def test_create_puts_the_event_on_the_server_and_answers_like_get(
    member: Actor, served: Account, server: Server, work: str
) -> None:
    answer = post(member, MEETING)
    assert answer.status_code == 201, answer.content
    event = answer.json()
    assert (event["title"], event["start"], event["end"]) == (
        "Client Meeting", "2026-07-01T14:00:00.000Z", "2026-07-01T15:00:00.000Z"
    )  # fmt: skip
    assert [person["email"] for person in event["attendees"]] == ["contact@company.com"]
    assert member.client.get(f"{BASE}/events/{event['id']}").json() == event
    [there] = read_events(on_server(server))
    assert (there.title, there.description) == ("Client Meeting", "Quarterly review")
    assert served.told() == ["calendar.event.created"]
    run = served.sync()
    assert (run.added, run.changed, run.removed) == (0, 0, 0)
    assert served.told() == ["calendar.event.created"]


def test_create_with_the_same_key_makes_one_event_even_where_the_answer_was_lost(
    member: Actor, served: Account, server: Server, work: str
) -> None:
    first = post(member, MEETING, **{"Idempotency-Key": "one"})
    CalendarEvent.objects.all().delete()
    IdempotencyRecord.objects.all().delete()  # the process died before it could answer
    again = post(member, MEETING, **{"Idempotency-Key": "one"})
    assert again.status_code == 201, again.content
    assert again.json()["iCalUid"] == first.json()["iCalUid"]
    served.sync()
    assert CalendarEvent.objects.present().count() == 1
    other = post(member, {**MEETING, "title": "Another"}, **{"Idempotency-Key": "two"})
    assert other.json()["iCalUid"] != first.json()["iCalUid"]


def test_create_of_a_series_in_a_zone_defines_the_zone(
    member: Actor, served: Account, server: Server, work: str
) -> None:
    body = {
        **MEETING, "start": "2026-03-02T09:00:00", "end": "2026-03-02T10:00:00", "timeZone": "Europe/Berlin",
        "recurrence": "FREQ=WEEKLY;UNTIL=20260401", "attendees": [],
    }  # fmt: skip
    answer = post(member, body)
    assert answer.status_code == 201, answer.content
    assert answer.json()["recurrence"] == ["RRULE:FREQ=WEEKLY;UNTIL=20260401T215959Z"]
    text = on_server(server)
    assert "BEGIN:VTIMEZONE" in text
    assert "DTSTART;TZID=Europe/Berlin:20260302T090000" in text
    listed = member.client.get(f"{BASE}/events", {"start": "2026-03-20", "end": "2026-04-10"}).json()["data"]
    assert [one["start"][:16] for one in listed] == ["2026-03-23T08:00", "2026-03-30T07:00"]


def test_create_refuses_another_way_of_inviting_than_the_server_has(member: Actor, server: Server, work: str) -> None:
    schedules = server.name == "xandikos"  # it says so; Radicale does not
    answer = post(member, {**MEETING, "sendUpdates": "none" if schedules else "all"})
    assert answer.status_code == 422
    assert "sendUpdates" in answer.json()["error"]["fields"]
    assert not CalendarEvent.objects.exists()


# --- changing -----------------------------------------------------------------------------------------------------

SERIES = {
    **MEETING, "title": "Daily", "start": "2026-06-01T09:00:00", "end": "2026-06-01T09:30:00",
    "timeZone": "Europe/Berlin", "recurrence": "FREQ=DAILY;COUNT=5", "attendees": [],
}  # fmt: skip
JUNE = {"start": "2026-06-01", "end": "2026-07-01"}


@pytest.fixture
def series(member: Actor, work: str) -> str:
    """Daily at nine, five times; its id."""
    answer = post(member, SERIES)
    assert answer.status_code == 201, answer.content
    return str(answer.json()["id"])


def patch(actor: Actor, event_id: str, **body: Any) -> Any:
    return actor.client.patch(f"{BASE}/events/{event_id}", body, format="json")


def shown(actor: Actor) -> list[str]:
    """Day, hour in UTC and title of all that takes place."""
    rows = actor.client.get(f"{BASE}/events", JUNE).json()["data"]
    return [f"{row['start'][8:13]} {row['title']}" for row in rows]


def test_change_of_one_occurrence_then_of_all_then_of_the_rest(
    member: Actor, served: Account, server: Server, series: str
) -> None:
    one = f"{series}_20260603T070000Z"
    assert patch(member, one, title="Late", start="2026-06-03T10:00:00Z", end="2026-06-03T11:00:00Z").status_code == 200
    assert shown(member) == ["01T07 Daily", "02T07 Daily", "03T10 Late", "04T07 Daily", "05T07 Daily"]
    assert patch(member, series, location="Room 1").status_code == 200
    text = on_server(server)
    assert "LOCATION:Room 1" in text
    assert "RECURRENCE-ID;TZID=Europe/Berlin:20260603T090000" in text
    rest = patch(member, f"{series}_20260604T070000Z", scope="following", title="Rest")
    assert rest.status_code == 200, rest.content
    expected = ["01T07 Daily", "02T07 Daily", "03T10 Late", "04T07 Rest", "05T07 Rest"]
    assert shown(member) == expected
    run = served.sync()
    assert (run.added, run.changed, run.removed) == (0, 0, 0)
    assert shown(member) == expected


def test_change_made_elsewhere_meanwhile_is_refused_and_shown(member: Actor, server: Server, series: str) -> None:
    seen = member.client.get(f"{BASE}/events/{series}").json()
    path, theirs = CalendarEvent.objects.get().remote_id, on_server(server).replace("SUMMARY:Daily", "SUMMARY:Theirs")
    assert server.ask("PUT", path, theirs, Content_Type="text/calendar; charset=utf-8")[0] in (200, 201, 204)
    for body in ({"title": "Mine"}, {"title": "Mine", "etag": seen["etag"]}):  # as it is stored here, as it was seen
        answer = patch(member, series, **body)
        assert answer.status_code == 409, answer.content
        assert answer.json()["error"]["current"]["title"] == "Theirs"
    assert "SUMMARY:Theirs" in on_server(server)


def test_delete_of_one_occurrence_and_of_the_series(
    member: Actor, served: Account, server: Server, series: str
) -> None:
    assert member.client.delete(f"{BASE}/events/{series}_20260602T070000Z").status_code == 204
    assert shown(member) == ["01T07 Daily", "03T07 Daily", "04T07 Daily", "05T07 Daily"]
    assert "EXDATE" in on_server(server)
    path = CalendarEvent.objects.filter(recurrence_key="").get().remote_id
    assert member.client.delete(f"{BASE}/events/{series}").status_code == 204
    assert server.ask("GET", path)[0] in (404, 410)
    assert member.client.get(f"{BASE}/events/{series}").status_code == 404
    served.sync()
    assert shown(member) == []


@pytest.mark.django_db(transaction=True)
def test_two_who_write_one_event_at_once_do_not_overwrite_one_another(
    member: Actor, served: Account, server: Server, work: str
) -> None:
    made = post(member, MEETING).json()
    winner = check_one_won(at_once(member, made["id"], ["Mine", "Yours"], made["etag"]))
    [there] = read_events(on_server(server))
    assert there.title == winner
    run = served.sync()
    assert (run.added, run.changed, run.removed) == (0, 0, 0)
