"""The console's pages of calendars: what an owner sees of a member's, what its user sees, and what they cost."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from calendar_sync.admin.looks import WITHHELD
from calendar_sync.models import Calendar, CalendarEvent
from calendar_sync.records import NO_EVENT, RemoteResource
from calendar_sync.services import standing, store
from calendar_sync.services.standing import State
from calendar_sync.tests.factories import connect, make_calendar, remote, write
from core.ids import uuid7
from integrations.models import SyncCursor
from workspaces.models import Role
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db

REASON = "'strictly confidential' is no date or time."


def text(actor: Actor, address: str, **query: str) -> str:
    client = Client()
    client.force_login(actor.user, backend="django.contrib.auth.backends.ModelBackend")
    response = client.get(address, query)
    assert response.status_code == 200, response
    return response.content.decode()


def page(model: str, name: str, *args: object) -> str:
    return reverse(f"admin:calendar_sync_{model}_{name}", args=args)


def cursor_of(calendar: Calendar, **columns: object) -> SyncCursor:
    given = {"connection": calendar.connection, "type": "calendar", "stream": str(calendar.pk), "backfill_done": True}
    return SyncCursor.objects.create(**{**given, **columns})


def unreadable(calendar: Calendar, problem: str = REASON) -> CalendarEvent:
    path = f"/{uuid7().hex}.ics"
    store.write(calendar=calendar, resources=[RemoteResource(path, "1", "strictly confidential", problem=problem)])
    return CalendarEvent.objects.get(calendar=calendar, remote_id=path)


@pytest.fixture
def colleague(owner: Actor) -> Calendar:
    """A member's calendar with a series that explodes and an event nobody can read."""
    connection = connect(make_actor(workspace=owner.workspace, role=Role.MEMBER), "bob@contract.test")
    calendar = make_calendar(connection, "Therapy", read_only=True)
    cursor_of(calendar, held_reason="70 of 100 events would be removed.", last_error="")
    write(calendar, remote("Breathing", datetime(2026, 1, 5), rule="FREQ=SECONDLY"), remote("Walk"))
    unreadable(calendar)
    unreadable(calendar, NO_EVENT)
    return calendar


def test_calendars_show_an_owner_how_they_stand_and_nothing_that_is_private(owner: Actor, colleague: Calendar) -> None:
    listed = text(owner, page("calendar", "changelist"))
    whole = text(owner, page("calendar", "change", colleague.pk))
    for shown in (listed, whole):
        assert "bob@contract.test" in shown
        assert WITHHELD in shown
        assert "Removals held back" in shown
        assert "Read only" in shown
        assert "Therapy" not in shown
    assert "70 of 100 events would be removed." in whole
    found = standing.of([colleague])[colleague.pk]
    assert (found.state, found.events.number, found.unreadable.number, found.cut.number) == (State.HELD, 2, 1, 1)


def test_events_show_an_owner_that_something_is_wrong_and_not_what_it_says(owner: Actor, colleague: Calendar) -> None:
    listed = text(owner, page("calendarevent", "changelist"))
    assert listed.count("bob@contract.test") >= 2
    assert ("Unreadable" in listed, "cut off after 2000" in listed) == (True, True)
    for row in CalendarEvent.objects.exclude(problem="", cut="").exclude(problem=NO_EVENT):
        whole = text(owner, page("calendarevent", "change", row.pk))
        for words in ("strictly confidential", "Breathing", "SECONDLY", "Therapy"):
            assert words not in listed
            assert words not in whole


def test_pages_show_its_user_everything(owner: Actor) -> None:
    calendar = make_calendar(connect(owner, "ada@contract.test"), "Therapy")
    cursor_of(calendar, last_error="The calendar server said no.")
    series = remote("Breathing", datetime(2026, 1, 5), rule="FREQ=SECONDLY")
    write(calendar, series)
    broken = unreadable(calendar)
    listed = text(owner, page("calendar", "changelist"))
    assert "Therapy" in listed
    assert "The calendar server said no." in listed
    assert "Refused by the provider" in listed
    events = text(owner, page("calendarevent", "changelist"), kind="unreadable", calendar__id__exact=str(calendar.pk))
    assert "strictly confidential" in events
    assert "Breathing" not in events
    assert "strictly confidential" in text(owner, page("calendarevent", "change", broken.pk))
    cut = CalendarEvent.objects.exclude(cut="").get()
    assert "FREQ=SECONDLY" in text(owner, page("calendarevent", "change", cut.pk))


def test_an_event_that_is_shown_in_its_calendar_has_no_page(owner: Actor, colleague: Calendar) -> None:
    fine = CalendarEvent.objects.get(title="Walk")
    client = Client()
    client.force_login(owner.user, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(page("calendarevent", "change", fine.pk)).status_code == 302


@pytest.mark.parametrize(
    ("columns", "cursor", "state"),
    [
        ({}, None, State.COMING),
        ({}, {"backfill_done": False}, State.COMING),
        ({}, {}, State.SYNCED),
        ({}, {"last_error": "no"}, State.REFUSED),
        ({}, {"held_reason": "70 of 100"}, State.HELD),
        ({"selected": False}, {}, State.DESELECTED),
        ({"removed_at": "2026-01-05T00:00:00Z"}, None, State.GONE),
    ],
)
def test_state_of_a_calendar_follows_its_cursor(
    owner: Actor, columns: dict[str, object], cursor: dict[str, object] | None, state: State
) -> None:
    calendar = make_calendar(connect(owner), **columns)
    if cursor is not None:
        cursor_of(calendar, **cursor)
    calendar.refresh_from_db()
    assert standing.of([calendar])[calendar.pk].state == state


def test_counts_of_a_list_stop_and_those_of_a_page_do_not(owner: Actor) -> None:
    calendar = make_calendar(connect(owner))
    write(calendar, *(remote(f"{number}") for number in range(5)))
    assert standing.of([calendar], most=4)[calendar.pk].events.words == "over 4"
    assert standing.of([calendar], most=5)[calendar.pk].events.words == "5"
    assert standing.of([calendar], most=None)[calendar.pk].events.words == "5"


@pytest.mark.parametrize("model", ["calendar", "calendarevent"])
def test_lists_cost_the_same_whatever_they_hold(owner: Actor, model: str) -> None:
    client = Client()
    client.force_login(owner.user, backend="django.contrib.auth.backends.ModelBackend")
    connection = connect(owner)
    counts = []
    for size in (1, 12):
        for number in range(size):
            unreadable(make_calendar(connection, f"{size} {number}"))
        client.get(page(model, "changelist"))
        with CaptureQueriesContext(database) as queries:
            client.get(page(model, "changelist"))
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert counts[0] <= 13
