"""The calendar API: ranges, single events, the timeline of an entity, calendars, files; who sees what at what cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator

from calendar_sync.ics import read_events
from calendar_sync.models import Calendar, CalendarEvent
from calendar_sync.records import CANCELLED, Invited, Person, Span
from calendar_sync.services import store
from calendar_sync.tests.factories import connect, make_calendar, remote, resource, write
from entities.models import AddressMatch, DomainMatch
from integrations.models import SyncRun
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db
BASE = "/api/v1/integrations/calendar"
JANUARY = {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}


@pytest.fixture(autouse=True)
def _today() -> Any:
    with time_machine.travel(datetime(2026, 1, 10, 12, tzinfo=UTC), tick=True):
        yield


@pytest.fixture
def calendar(member: Actor) -> Calendar:
    return make_calendar(connect(member))


def listed(actor: Actor, **query: object) -> list[dict[str, Any]]:
    response = actor.client.get(f"{BASE}/events", {**JANUARY, **query})
    assert response.status_code == 200, response.content
    return response.json()["data"]


def titles(actor: Actor, **query: object) -> list[str]:
    return [f"{event['title']} {event['start'][5:16]}" for event in listed(actor, **query)]


def match(actor: Actor, address: str, entity_id: str = "42") -> None:
    AddressMatch.objects.create(
        workspace=actor.workspace, address=address, address_key=address, entity_type="contact", entity_id=entity_id
    )


def test_events_show_an_event_to_the_letter(member: Actor, calendar: Calendar) -> None:
    match(member, "bob@example.com")
    write(calendar, remote(
        "Lunch", uid="uid-1", description="Text", location="Here", conference_url="https://meet.example/1",
        organizer=Person("ada@example.com", "Ada"), attendees=(Invited("bob@example.com", "Bob", "accepted"),),
        status="tentative", visibility="private",
    ))  # fmt: skip
    [event] = listed(member)
    assert event == {
        "id": str(CalendarEvent.objects.get().pk), "connectionId": str(calendar.connection_id),
        "calendarId": str(calendar.pk), "iCalUid": "uid-1", "title": "Lunch", "description": "Text", "location": "Here",
        "start": "2026-01-05T08:00:00.000Z", "end": "2026-01-05T09:00:00.000Z", "allDay": False,
        "timeZone": "Europe/Berlin", "status": "tentative", "visibility": "private", "busy": True,
        "organizer": {"email": "ada@example.com", "name": "Ada"},
        "attendees": [
            {"email": "bob@example.com", "name": "Bob", "response": "accepted", "optional": False, "resource": False}
        ],
        "recurrence": None, "recurringEventId": None, "originalStart": None, "conferenceUrl": "https://meet.example/1",
        "entities": [{"entityType": "contact", "entityId": "42", "how": "address"}], "etag": "1", "access": "own",
    }  # fmt: skip


def test_events_expand_series_and_every_occurrence_has_an_id_that_answers(member: Actor, calendar: Calendar) -> None:
    series = remote("Daily", rule="FREQ=DAILY;COUNT=4", uid="1")
    moved = remote("Late", datetime(2026, 1, 6, 15), uid="1", recurrence_key="20260106T080000Z")
    off = remote("Off", datetime(2026, 1, 7, 9), uid="1", recurrence_key="20260107T080000Z", status=CANCELLED)
    store.write(calendar=calendar, resources=[resource(series, moved, off)])
    found = listed(member)
    assert titles(member) == ["Daily 01-05T08:00", "Late 01-06T14:00", "Daily 01-08T08:00"]
    for event in found:
        assert member.client.get(f"{BASE}/events/{event['id']}").json() == event
    master = member.client.get(f"{BASE}/events/{found[0]['recurringEventId']}").json()
    assert master["recurrence"] == ["RRULE:FREQ=DAILY;COUNT=4"]
    for key in ("20260107T080000Z", "20260109T080000Z", "20260105", "nonsense", ""):
        answer = member.client.get(f"{BASE}/events/{master['id']}_{key}")
        assert answer.status_code == (404 if key else 200), key


def test_events_are_of_a_half_open_range(member: Actor, calendar: Calendar) -> None:
    write(calendar, remote("Nine"))
    for start, end, shown in (
        ("07:00", "08:00", 0),
        ("08:59", "10:00", 1),
        ("09:00", "10:00", 0),
        ("08:30", "08:31", 1),
    ):
        query = {"start": f"2026-01-05T{start}:00Z", "end": f"2026-01-05T{end}:00Z"}
        assert len(listed(member, **query)) == shown, query


@pytest.mark.parametrize(("zone", "shown"), [("", 0), ("UTC", 0), ("America/New_York", 1)])
def test_range_of_plain_days_begins_at_midnight_in_the_callers_zone(
    member: Actor, calendar: Calendar, zone: str, shown: int
) -> None:
    write(calendar, remote("Night", datetime(2026, 1, 7, 4)))  # 03:00 UTC, 22:00 of the day before in New York
    query = {"start": "2026-01-06", "end": "2026-01-07", **({"timeZone": zone} if zone else {})}
    assert len(listed(member, **query)) == shown


def test_events_that_last_for_months_are_found_from_within(member: Actor, calendar: Calendar) -> None:
    write(calendar, remote("Leave", length=timedelta(days=90)))
    assert titles(member, start="2026-03-20T00:00:00Z", end="2026-03-21T00:00:00Z") == ["Leave 01-05T08:00"]
    assert titles(member, start="2026-04-20T00:00:00Z", end="2026-04-21T00:00:00Z") == []


def test_events_of_whole_days_are_compared_as_days_of_the_callers_zone(member: Actor, calendar: Calendar) -> None:
    write(calendar, remote("Day", span=Span(datetime(2026, 1, 6), timedelta(days=1), all_day=True)))
    evening = {"start": "2026-01-05T23:00:00Z", "end": "2026-01-06T23:00:00Z"}
    [day] = listed(member, **evening, timeZone="Europe/Berlin")
    assert (day["start"], day["end"], day["timeZone"]) == ("2026-01-06", "2026-01-07", None)
    before = {"start": "2026-01-04T23:00:00Z", "end": "2026-01-05T23:00:00Z"}
    assert listed(member, **before, timeZone="Europe/Berlin") == []
    assert listed(member, start="2026-01-06T00:00:00Z", end="2026-01-07T00:00:00Z") == [day]
    assert listed(member, start="2026-01-07T00:00:00Z", end="2026-01-08T00:00:00Z") == []


def test_events_far_outside_the_horizon_are_expanded_in_order_with_the_stored_ones(
    member: Actor, calendar: Calendar
) -> None:
    far = {"start": "2035-01-01T00:00:00Z", "end": "2035-01-31T00:00:00Z"}
    write(calendar, remote("Weekly", rule="FREQ=WEEKLY"), remote("Once", datetime(2035, 1, 3, 9)))
    write(calendar, remote("Over", rule="FREQ=WEEKLY;COUNT=3"))
    assert titles(member, **far)[:3] == ["Weekly 01-01T08:00", "Once 01-03T08:00", "Weekly 01-08T08:00"]
    first = listed(member, **far)[0]
    assert member.client.get(f"{BASE}/events/{first['id']}").json() == first
    across = {"start": "2027-12-20T00:00:00Z", "end": "2028-02-01T00:00:00Z"}  # where the horizon ends
    assert len(titles(member, **across)) == len(set(titles(member, **across))) == 7


def test_events_page_by_number_and_by_cursor(member: Actor, calendar: Calendar) -> None:
    write(calendar, remote("Daily", rule="FREQ=DAILY;COUNT=7"))
    pages, query = [], {**JANUARY, "limit": 3}
    response = member.client.get(f"{BASE}/events", query).json()
    while True:
        pages.append([event["id"] for event in response["data"]])
        assert response["pagination"]["total"] == 7
        if not response["pagination"]["nextCursor"]:
            break
        response = member.client.get(f"{BASE}/events", {**query, "cursor": response["pagination"]["nextCursor"]}).json()
    assert [len(page) for page in pages] == [3, 3, 1]
    assert len({one for page in pages for one in page}) == 7
    assert member.client.get(f"{BASE}/events", {**query, "page": 9}).json()["pagination"]["total"] == 7


def test_events_show_a_meeting_of_two_own_calendars_once(member: Actor, calendar: Calendar) -> None:
    other = make_calendar(connect(member), "Private")
    for where in (calendar, other):
        write(where, remote("Meeting", uid="same", rule="FREQ=DAILY;COUNT=2"), remote("Alike", uid=where.name))
    assert titles(member).count("Meeting 01-05T08:00") == 1
    assert titles(member).count("Alike 01-05T08:00") == 2
    assert len(listed(member, calendarId=str(other.pk))) == 3


def test_events_are_searched_by_words(member: Actor, calendar: Calendar) -> None:
    write(calendar, remote("Budget 100%", location="Room_1"), remote("Lunch"))
    for words, count in (("budget", 1), ("room_1 BUDGET", 1), ("budget lunch", 0), ("%", 1), ("_", 1), ("nothing", 0)):
        assert len(listed(member, q=words)) == count, words


def test_events_say_which_series_were_cut_off(member: Actor, calendar: Calendar) -> None:
    write(calendar, remote("Explodes", rule="FREQ=SECONDLY"), remote("Fine"))
    answer = member.client.get(f"{BASE}/events", JANUARY).json()
    [cut] = answer["incomplete"]
    assert cut["eventId"] == str(CalendarEvent.objects.get(title="Explodes").pk)
    assert "cut off after 2000" in cut["reason"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"start": ""}, "start"),
        ({"end": ""}, "end"),
        ({"start": "yesterday"}, "start"),
        ({"start": "2026-01-01T00:00:00"}, "start"),
        ({"end": "2025-01-01T00:00:00Z"}, "end"),
        ({"end": "2026-01-01T00:00:00Z"}, "end"),
        ({"end": "2027-01-03T00:00:00Z"}, "end"),
        ({"timeZone": "Mars/Olympus"}, "timeZone"),
        ({"page": "0"}, "page"),
        ({"cursor": "x"}, "cursor"),
        ({"calendarId": ""}, "calendarId"),
    ],
)
def test_events_with_a_bad_query_name_the_field(member: Actor, query: dict[str, str], field: str) -> None:
    response = member.client.get(f"{BASE}/events", {**JANUARY, **query})
    assert response.status_code == 400
    assert field in response.json()["error"]["fields"]


def test_calendar_that_is_deselected_hides_its_events_and_shows_them_again(member: Actor, calendar: Calendar) -> None:
    write(calendar, remote())
    [event] = listed(member)
    answer = member.client.patch(f"{BASE}/calendars/{calendar.pk}", {"selected": False})
    assert (answer.status_code, answer.json()["selected"]) == (200, False)
    assert listed(member) == []
    assert member.client.get(f"{BASE}/events/{event['id']}").status_code == 404
    member.client.patch(f"{BASE}/calendars/{calendar.pk}", {"selected": True})
    assert len(listed(member)) == 1
    [row] = member.client.get(f"{BASE}/calendars").json()["data"]
    assert (row["name"], row["timeZone"], row["readOnly"]) == ("Work", "Europe/Berlin", False)


@pytest.mark.parametrize("body", [{"selected": "perhaps"}, {"name": "x", "selected": True}, []])
def test_calendar_change_that_makes_no_sense_is_refused(member: Actor, calendar: Calendar, body: Any) -> None:
    assert member.client.patch(f"{BASE}/calendars/{calendar.pk}", body, format="json").status_code == 400


def test_sync_starts_a_run_for_each_account_with_calendars(member: Actor, calendar: Calendar) -> None:
    connect(member, options={})
    response = member.client.post(f"{BASE}/sync")
    assert response.status_code == 202
    assert [run["connectionId"] for run in response.json()["runs"]] == [str(calendar.connection_id)]
    assert SyncRun.objects.get().type == "calendar"


def test_file_of_an_event_holds_the_series_with_its_changes(member: Actor, calendar: Calendar) -> None:
    series = remote("Daily", rule="FREQ=DAILY;COUNT=4", uid="1")
    moved = remote("Late", datetime(2026, 1, 6, 15), uid="1", recurrence_key="20260106T080000Z")
    store.write(calendar=calendar, resources=[resource(series, moved)])
    [first, *_] = listed(member)
    response = member.client.get(f"{BASE}/events/{first['id']}.ics")
    assert response.headers["Content-Type"] == "text/calendar; charset=utf-8"
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert read_events(response.content.decode()) == (series, moved)


# --- entities -----------------------------------------------------------------------------------------------------


def of_entity(actor: Actor, entity_id: str = "42") -> list[dict[str, Any]]:
    return actor.client.get(f"{BASE}/events/entity/contact/{entity_id}").json()["data"]


def test_entity_shows_events_by_address_and_domain_old_ones_too(member: Actor, calendar: Calendar) -> None:
    bob, eve = Invited("Bob+x@example.com"), Person("eve@corp.example")
    write(calendar, remote("With Bob", attendees=(bob,)), remote("By Eve", datetime(2026, 1, 6, 9), organizer=eve))
    write(
        calendar,
        remote("Weekly with Bob", datetime(2026, 1, 7, 9), rule="FREQ=WEEKLY", attendees=(bob,)),
        remote("Other"),
    )
    assert of_entity(member) == []
    match(member, "bob@example.com")
    DomainMatch.objects.create(workspace=member.workspace, domain="corp.example", entity_type="contact", entity_id="42")
    assert [event["title"] for event in of_entity(member)] == ["Weekly with Bob", "By Eve", "With Bob"]


def test_entity_is_not_met_in_the_calendar_of_its_own_address(member: Actor) -> None:
    own = make_calendar(connect(member, "ada@corp.example"))
    write(own, remote(organizer=Person("ada@corp.example"), attendees=(Invited("colleague@corp.example"),)))
    match(member, "ada@corp.example")
    assert of_entity(member) == []


@pytest.mark.parametrize(
    ("visibility", "shown"),
    [("private", None), ("metadata", ("Open", "", "")), ("full", ("Open", "Text", "Here"))],
)
def test_entity_shows_of_a_colleagues_calendar_what_its_owner_allows(
    member: Actor, visibility: str, shown: tuple[str, ...] | None
) -> None:
    colleague = make_actor(workspace=member.workspace)
    theirs = make_calendar(connect(colleague, visibility=visibility))
    bob = (Invited("bob@example.com"),)
    write(theirs, remote("Open", description="Text", location="Here", attendees=bob))
    write(theirs, remote("Secret", datetime(2026, 1, 4, 9), description="Text", visibility="private", attendees=bob))
    match(member, "bob@example.com")
    found = of_entity(member)
    if shown is None:
        assert found == []
        return
    open_event, private = found
    assert (open_event["title"], open_event["description"], open_event["location"]) == shown
    assert (private["title"], private["description"], private["attendees"], private["access"]) == (
        "Busy",
        "",
        [],
        "busy",
    )
    assert "Secret" not in str(found)
    assert listed(member) == []
    assert member.client.get(f"{BASE}/events/{open_event['id']}").status_code == 404


def test_match_counts_the_events_it_links(member: Actor, calendar: Calendar) -> None:
    other = make_calendar(connect(member))
    bob = (Invited("bob@example.com"),)
    write(calendar, remote("One", uid="1", attendees=bob), remote("Two", rule="FREQ=DAILY", attendees=bob))
    write(other, remote("One", uid="1", attendees=bob), remote("Nobody"))
    body = {"emailAddress": "bob@example.com", "entityType": "contact", "entityId": "42"}
    answer = member.client.post("/api/v1/integrations/email/match", body)
    assert answer.json()["matchedEvents"] == 2


# --- cost and shape -----------------------------------------------------------------------------------------------


def _queries(actor: Actor, path: str, query: dict[str, Any]) -> int:
    with CaptureQueriesContext(database) as queries:
        assert actor.client.get(path, query).status_code == 200
    return len(queries)


def test_lists_ask_as_often_for_many_events_as_for_few(member: Actor, calendar: Calendar) -> None:
    match(member, "bob@example.com")
    bob = (Invited("bob@example.com"),)
    far = {"start": "2035-01-01T00:00:00Z", "end": "2035-01-31T00:00:00Z"}
    asked = [("events", JANUARY), ("events", far), ("events/entity/contact/42", {}), ("calendars", {})]
    counts = []
    member.client.get(f"{BASE}/calendars")  # the first use of a token is noted on it
    for number in (1, 15):
        write(calendar, *(remote(f"{number} {n}", rule="FREQ=WEEKLY", attendees=bob) for n in range(number)))
        counts.append([_queries(member, f"{BASE}/{path}", query) for path, query in asked])
    assert counts[0] == counts[1]
    assert max(counts[0]) <= 14, counts


def test_range_reads_what_is_in_it_and_not_what_is_stored(member: Actor, calendar: Calendar) -> None:
    """By the plan's own count of rows: hundreds of events beside the month cost nothing."""
    from calendar_sync.services import reading

    write(calendar, *(remote(f"{n}", datetime(2027, 2, 1) + timedelta(hours=n)) for n in range(600)))
    write(calendar, remote("Here"), remote("Weekly", rule="FREQ=WEEKLY"))
    asked = reading.Range(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    values, _ = reading._values(asked, {calendar.pk: calendar})
    with database.cursor() as cursor:
        cursor.execute("ANALYZE calendar_sync_occurrence")
        cursor.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {reading._sql(reading._PAGE, values)}",
            {**values, "limit": 25, "offset": 0},
        )
        plan = cursor.fetchone()[0][0]["Plan"]
    assert _most_rows(plan) <= 10


def _most_rows(node: dict[str, Any]) -> int:
    """Of any scan of occurrences: what it gave and what it threw away."""
    own = 0
    if node.get("Relation Name") == "calendar_sync_occurrence":
        own = int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
    return max([own, *(_most_rows(child) for child in node.get("Plans", []))])


def test_answers_have_the_documented_shape(member: Actor, calendar: Calendar) -> None:
    match(member, "bob@example.com")
    write(calendar, remote(rule="FREQ=DAILY", attendees=(Invited("bob@example.com"),), organizer=Person("a@b.example")))
    schema = SchemaGenerator().get_schema(request=None, public=True)
    pages = {
        "EventRangeShape": (f"{BASE}/events", JANUARY),
        "EventPageShape": (f"{BASE}/events/entity/contact/42", {}),
        "CalendarPageShape": (f"{BASE}/calendars", {}),
    }
    for name, (path, query) in pages.items():
        answer = member.client.get(path, query).json()
        assert answer["data"]
        shape = {**schema["components"]["schemas"][name], "components": schema["components"]}
        assert [error.message for error in Draft202012Validator(shape).iter_errors(answer)] == []
        item = schema["components"]["schemas"][name.replace("Page", "").replace("Range", "")]
        assert set(answer["data"][0]) == set(item["properties"])
