"""Links of events and CRM entities made by hand: they win over matches, hold for series, and survive a sync."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from calendar_sync.models import Calendar, CalendarEvent, EventLink
from calendar_sync.records import Invited
from calendar_sync.services import store
from calendar_sync.tests.factories import connect, make_calendar, remote, resource, write
from calendar_sync.tests.test_calendar_api import match
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db
BASE = "/api/v1/integrations/calendar"
ENTITY = {"entityType": "contact", "entityId": "42"}
BOB = (Invited("bob@example.com"),)


@pytest.fixture
def calendar(member: Actor) -> Calendar:
    return make_calendar(connect(member, visibility="metadata"))


def link(actor: Actor, event_id: object, entity: dict[str, str] = ENTITY) -> Any:
    return actor.client.post(f"{BASE}/events/{event_id}/entities", entity)


def unlink(actor: Actor, event_id: object, entity: dict[str, str] = ENTITY) -> Any:
    return actor.client.delete(f"{BASE}/events/{event_id}/entities", query_params=entity)


def entities(actor: Actor, event_id: object) -> list[str]:
    event = actor.client.get(f"{BASE}/events/{event_id}").json()
    return [f"{one['entityType']} {one['entityId']} {one['how']}" for one in event["entities"]]


def timeline(actor: Actor) -> list[str]:
    return [event["title"] for event in actor.client.get(f"{BASE}/events/entity/contact/42").json()["data"]]


def test_link_is_shown_on_the_event_and_on_the_timeline_until_it_is_undone(member: Actor, calendar: Calendar) -> None:
    write(calendar, remote("Lunch"))
    event = CalendarEvent.objects.get()
    first = link(member, event.pk)
    assert (first.status_code, link(member, event.pk).status_code) == (201, 200)
    assert first.json() == {
        "eventId": str(event.pk), **ENTITY, "how": "manual", "createdAt": first.json()["createdAt"],
    }  # fmt: skip
    assert (entities(member, event.pk), timeline(member)) == (["contact 42 manual"], ["Lunch"])
    assert [unlink(member, event.pk).status_code for _ in range(2)] == [204, 204]
    assert (entities(member, event.pk), timeline(member)) == ([], [])
    actions = AuditEvent.objects.filter(action__startswith="event.").order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["event.linked", "event.unlinked"]


def test_unlinking_wins_over_matches_and_survives_a_sync(member: Actor, calendar: Calendar) -> None:
    match(member, "bob@example.com")
    write(calendar, remote("Lunch", uid="1", attendees=BOB), remote_id="/1.ics")
    event = CalendarEvent.objects.get()
    assert entities(member, event.pk) == ["contact 42 address"]
    unlink(member, event.pk)
    assert (entities(member, event.pk), timeline(member)) == ([], [])
    write(calendar, remote("Dinner", uid="1", attendees=BOB), remote_id="/1.ics", etag="2")
    assert (entities(member, event.pk), timeline(member)) == ([], [])
    link(member, event.pk)
    assert (entities(member, event.pk), timeline(member)) == (["contact 42 manual"], ["Dinner"])


def test_link_of_a_series_holds_for_its_occurrences_and_one_of_a_changed_occurrence_for_that(
    member: Actor, calendar: Calendar
) -> None:
    series = remote("Daily", rule="FREQ=DAILY;COUNT=4", uid="1")
    moved = remote("Late", datetime(2026, 1, 6, 15), uid="1", recurrence_key="20260106T080000Z")
    store.write(calendar=calendar, resources=[resource(series, moved)])
    master = CalendarEvent.objects.get(recurrence__isnull=False)
    plain, changed = f"{master.pk}_20260105T080000Z", f"{master.pk}_20260106T080000Z"
    assert link(member, plain).json()["eventId"] == str(master.pk)  # no row of its own: the series
    assert entities(member, master.pk) == entities(member, plain) == entities(member, changed) == ["contact 42 manual"]
    assert unlink(member, changed).status_code == 204
    assert (entities(member, plain), entities(member, changed)) == (["contact 42 manual"], [])
    assert timeline(member) == ["Daily"]
    other = {"entityType": "deal", "entityId": "7"}
    assert link(member, changed, other).json()["eventId"] == changed
    assert entities(member, changed) == ["deal 7 manual"]
    [on_timeline] = member.client.get(f"{BASE}/events/entity/deal/7").json()["data"]
    assert on_timeline["id"] == str(master.pk)


def test_link_holds_for_every_copy_of_the_meeting_and_shows_colleagues_what_they_may_see(
    member: Actor, admin: Actor, outsider: Actor, calendar: Calendar
) -> None:
    other = make_calendar(connect(member), "Second")
    for where in (calendar, other):
        write(where, remote("Meeting", uid="same", description="Text"))
    write(calendar, remote("Secret", uid="2", visibility="private"))
    link(member, CalendarEvent.objects.get(calendar=other).pk)
    link(member, CalendarEvent.objects.get(uid="2").pk)
    assert EventLink.objects.count() == 3
    assert sorted(timeline(member)) == ["Meeting", "Secret"]
    shown = admin.client.get(f"{BASE}/events/entity/contact/42").json()["data"]
    assert sorted((one["title"], one["access"], one["description"], one["entities"] != []) for one in shown) == [
        ("Busy", "busy", "", False),
        ("Meeting", "metadata", "", True),
    ]
    assert timeline(outsider) == []


def test_foreign_event_answers_like_a_missing_one(
    member: Actor, admin: Actor, outsider: Actor, calendar: Calendar
) -> None:
    write(calendar, remote("Lunch"))
    event = CalendarEvent.objects.get()
    for actor in (admin, outsider):
        ids = (event.pk, "00000000-0000-7000-8000-000000000000", "nonsense")
        assert {(link(actor, id).status_code, link(actor, id).json()["error"]["code"]) for id in ids} == {
            (404, "not_found")
        }
        assert unlink(actor, event.pk).status_code == 404
    assert not EventLink.objects.exists()


@pytest.mark.parametrize(
    ("entity", "field"),
    [
        ({"entityType": "contact"}, "entityId"),
        ({"entityType": "", "entityId": "1"}, "entityType"),
        ({"entityType": "contact", "entityId": "a b"}, "entityId"),
    ],
)
def test_link_to_nothing_names_the_field(member: Actor, calendar: Calendar, entity: dict[str, str], field: str) -> None:
    write(calendar, remote("Lunch"))
    for answer in (link(member, CalendarEvent.objects.get().pk, entity),):
        assert answer.status_code == 400
        assert field in answer.json()["error"]["fields"]


def test_timeline_asks_as_often_for_many_links_as_for_few(member: Actor, calendar: Calendar) -> None:
    member.client.get(f"{BASE}/calendars")  # the first use of a token is noted on it
    counts = []
    for number in (1, 12):
        write(calendar, *(remote(f"{number} {n}") for n in range(number)))
        for event in CalendarEvent.objects.filter(title__startswith=f"{number} "):
            link(member, event.pk)
        with CaptureQueriesContext(database) as queries:
            timeline(member)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 14, counts
