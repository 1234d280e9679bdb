"""An entity's events page by page: each meeting once, in one order, at the cost of the page."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from calendar_sync.models import Attendee, Calendar, CalendarEvent
from calendar_sync.records import Invited
from calendar_sync.services import store, timelines
from calendar_sync.tests.factories import connect, make_calendar, remote, resource, write
from calendar_sync.tests.test_calendar_api import match
from core.api.pagination import PageQuery, encode_cursor
from entities.models import DomainMatch
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db
PATH = "/api/v1/integrations/calendar/events/entity/contact/42"
BOB = (Invited("bob@corp.example"),)
DAY = timedelta(days=1)
FIRST = datetime(2026, 1, 5, 9)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeline of more than so many rows is long."""
    monkeypatch.setattr(timelines, "WHOLE", 4)


@pytest.fixture
def calendar(member: Actor) -> Calendar:
    return make_calendar(connect(member))


def by_cursor(actor: Actor, limit: int = 3) -> list[list[str]]:
    """The titles of each page, to the end."""
    pages, cursor = [], ""
    while cursor is not None:
        answer = actor.client.get(PATH, {"limit": limit, "cursor": cursor}).json()
        pages.append([f"{event['title']} {event['access']}" for event in answer["data"]])
        cursor = answer["pagination"]["nextCursor"]
        assert len(pages) < 30
    return pages


def both(title: str, day: int, calendars: list[Calendar], **fields: Any) -> None:
    """One meeting in each of these."""
    for calendar in calendars:
        write(calendar, remote(title, FIRST + day * DAY, uid=title, attendees=BOB, **fields))


def test_pages_by_cursor_show_each_meeting_once_and_the_latest_first(member: Actor, calendar: Calendar) -> None:
    match(member, "bob@corp.example")
    DomainMatch.objects.create(workspace=member.workspace, domain="corp.example", entity_type="contact", entity_id="42")
    theirs = make_calendar(connect(make_actor(workspace=member.workspace), visibility="full"))
    for day in range(10):
        both(f"{day}", day, [calendar] if day % 3 == 0 else [theirs] if day % 3 == 1 else [theirs, calendar])
    series = remote("Daily", FIRST + 2 * DAY, "FREQ=DAILY;COUNT=9", uid="daily", attendees=BOB)
    moved = remote("Moved", FIRST + 20 * DAY, uid="daily", recurrence_key="20260109T080000Z", attendees=BOB)
    store.write(calendar=calendar, resources=[resource(series, moved)])
    one_page = [event for page in by_cursor(member, 100) for event in page]
    access = ("own", "full", "own")
    assert one_page == ["Daily own", *(f"{day} {access[day % 3]}" for day in range(9, -1, -1))]
    for limit in (1, 3, 4):
        pages = by_cursor(member, limit)
        assert [event for page in pages for event in page] == one_page
        assert {len(page) for page in pages[:-1]} == {limit}


def test_pages_by_number_are_those_by_cursor(member: Actor, calendar: Calendar) -> None:
    match(member, "bob@corp.example")
    for day in range(8):
        both(f"{day}", day, [calendar])
    pages = [member.client.get(PATH, {"limit": 3, "page": page}).json() for page in (1, 2, 3, 4)]
    assert [[event["title"] for event in page["data"]] for page in pages] == [
        ["7", "6", "5"], ["4", "3", "2"], ["1", "0"], []
    ]  # fmt: skip
    assert pages[0]["pagination"]["totalIsExact"] is False
    assert [page["pagination"]["nextCursor"] is None for page in pages] == [False, False, True, True]


def test_short_timeline_is_counted_exactly(member: Actor, calendar: Calendar) -> None:
    match(member, "bob@corp.example")
    for day in range(4):
        both(f"{day}", day, [calendar])
    paging = member.client.get(PATH, {"limit": 3}).json()["pagination"]
    assert (paging["total"], paging["totalIsExact"]) == (4, True)
    assert by_cursor(member) == [["3 own", "2 own", "1 own"], ["0 own"]]


def test_event_that_moves_takes_its_place_along(member: Actor, calendar: Calendar) -> None:
    match(member, "bob@corp.example")
    for day in range(6):
        both(f"{day}", day, [calendar])
    stored = CalendarEvent.objects.get(title="1")
    moved = remote("1", FIRST + 30 * DAY, uid="1", attendees=BOB)
    write(calendar, moved, remote_id=stored.remote_id, etag="2")
    assert by_cursor(member)[0][0] == "1 own"
    assert Attendee.objects.get(event=stored).starts_at == CalendarEvent.objects.get(pk=stored.pk).starts_at


def test_hidden_removed_and_foreign_events_are_passed_over(member: Actor, calendar: Calendar) -> None:
    match(member, "bob@corp.example")
    other = make_calendar(calendar.connection, "Hidden", selected=False)
    private = make_calendar(connect(make_actor(workspace=member.workspace), visibility="private"))
    for day in range(6):
        both(f"{day}", day, [calendar])
        both(f"hidden {day}", 100 + day, [other])
        both(f"private {day}", 200 + day, [private])
    CalendarEvent.objects.filter(title="3").update(removed_at=FIRST.astimezone())
    assert by_cursor(member) == [["5 own", "4 own", "2 own"], ["1 own", "0 own"]]


@pytest.mark.parametrize(
    "values", [["x"], ["2026-01-01T00:00:00+00:00", "x"], [1, 2], ["9999999-01-01T00:00", "0" * 32]]
)
def test_forged_cursor_is_refused(member: Actor, calendar: Calendar, values: list[Any]) -> None:
    answer = member.client.get(PATH, {"cursor": encode_cursor(values)})
    assert answer.status_code == 400
    assert set(answer.json()["error"]["fields"]) == {"cursor"}


def test_page_number_out_of_reach_is_refused_in_words(
    member: Actor, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timelines, "REACH", 6)
    match(member, "bob@corp.example")
    for day in range(9):
        both(f"{day}", day, [calendar])
    assert member.client.get(PATH, {"limit": 3, "page": 2}).status_code == 200
    refused = member.client.get(PATH, {"limit": 3, "page": 3})
    assert (refused.status_code, set(refused.json()["error"]["fields"])) == (400, {"page"})


def test_page_reads_what_it_shows_and_not_what_is_stored(member: Actor, calendar: Calendar) -> None:
    """By the plan's own count of rows: hundreds of events with the same people beside the page cost nothing."""
    match(member, "bob@corp.example")
    write(calendar, *(remote(f"{n}", FIRST + n * DAY, uid=f"{n}", attendees=BOB) for n in range(600)))
    statements: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, values: Any, many: bool, context: Any) -> Any:
        statements.append((sql, values))
        return execute(sql, values, many, context)

    with database.cursor() as cursor:
        cursor.execute("ANALYZE calendar_sync_attendee, calendar_sync_calendarevent")
        with database.execute_wrapper(note):
            page = timelines.timeline(
                user=member.user, workspace=member.workspace, entity_type="contact", entity_id="42",
                paging=PageQuery(limit=5),
            )  # fmt: skip
        assert [seen.event.title for seen in page.rows] == ["599", "598", "597", "596", "595"]
        for sql, values in statements:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", values)
            assert _most_rows(cursor.fetchone()[0][0]["Plan"]) <= 20, sql


def _most_rows(node: dict[str, Any]) -> int:
    """Of any scan of large tables: what it gave and what it threw away."""
    own = 0
    if node.get("Relation Name") in ("calendar_sync_attendee", "calendar_sync_calendarevent"):
        own = int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
    return max([own, *(_most_rows(child) for child in node.get("Plans", []))])


def test_timeline_asks_as_often_far_down_and_for_many_as_for_few(member: Actor, calendar: Calendar) -> None:
    match(member, "bob@corp.example")
    counts = []
    for day in range(30):
        both(f"{day}", day, [calendar])
        if day in (9, 29):
            first = member.client.get(PATH, {"limit": 3}).json()
            for query in ({}, {"cursor": first["pagination"]["nextCursor"]}):
                with CaptureQueriesContext(database) as queries:
                    assert member.client.get(PATH, {"limit": 3, **query}).status_code == 200
                counts.append(len(queries))
    assert len(set(counts[::2])) == len(set(counts[1::2])) == 1, counts
    assert max(counts) <= 16, counts
