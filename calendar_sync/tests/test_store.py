"""The writer: what a page of a calendar becomes, again and again, and the occurrences that follow from it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from calendar_sync import recurrence
from calendar_sync.models import Attendee, Calendar, CalendarEvent, Occurrence
from calendar_sync.records import CANCELLED, Invited, Person, RemoteResource, Span
from calendar_sync.services import occurrences, store
from calendar_sync.services.columns import remote_of
from calendar_sync.tests.factories import connect, make_calendar, remote, resource, write
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


@pytest.fixture
def calendar(member: Actor) -> Calendar:
    return make_calendar(connect(member))


def rows() -> list[tuple[Any, ...]]:
    """Everything that is stored, without when."""
    events = CalendarEvent.objects.order_by("remote_id", "recurrence_key")
    facts = events.values_list("pk", "remote_id", "recurrence_key", "series_id", "title", "starts_at", "removed_at")
    times = Occurrence.objects.order_by("event_id", "key").values_list("event_id", "source_id", "key", "starts_at")
    people = Attendee.objects.order_by("event_id", "email").values_list("event_id", "email", "response")
    return [*facts, *times, *people]


def starts() -> list[str]:
    found = Occurrence.objects.order_by("starts_at")
    return [f"{one.starts_at:%y-%m-%d %H:%M} {one.source.title}" for one in found.select_related("source")]


def test_write_of_a_series_with_changes_stores_its_occurrences(calendar: Calendar) -> None:
    series = remote("Daily", rule="FREQ=DAILY;COUNT=4", uid="1")
    moved = remote("Late", datetime(2026, 1, 6, 15), uid="1", recurrence_key="20260106T080000Z")
    off = remote("Off", datetime(2026, 1, 7, 9), uid="1", recurrence_key="20260107T080000Z", status=CANCELLED)
    written = store.write(calendar=calendar, resources=[resource(series, moved, off)])
    assert len(written.added) == 1
    assert starts() == ["26-01-05 08:00 Daily", "26-01-06 14:00 Late", "26-01-08 08:00 Daily"]


def test_write_of_the_same_page_again_changes_nothing(calendar: Calendar) -> None:
    page = [resource(remote(rule="FREQ=WEEKLY", attendees=(Invited("a@b.example"),))), resource(remote("Other"))]
    store.write(calendar=calendar, resources=page)
    before = rows()
    store.write(calendar=calendar, resources=page)
    assert rows() == before


def test_write_of_a_change_keeps_the_id_and_drops_what_it_no_longer_has(calendar: Calendar) -> None:
    series = remote("Daily", rule="FREQ=DAILY;COUNT=3", uid="1", attendees=(Invited("a@b.example"),))
    moved = remote("Late", datetime(2026, 1, 6, 15), uid="1", recurrence_key="20260106T080000Z")
    [pk] = store.write(calendar=calendar, resources=[resource(series, moved, remote_id="/1")]).added
    changed = replace(series, title="Later", attendees=(Invited("c@d.example"),))
    written = store.write(calendar=calendar, resources=[resource(changed, remote_id="/1", etag="2")])
    assert written.changed == [pk]
    assert [(row.pk, row.etag) for row in CalendarEvent.objects.all()] == [(pk, "2")]
    assert starts() == ["26-01-05 08:00 Later", "26-01-06 08:00 Later", "26-01-07 08:00 Later"]
    assert [one.email for one in Attendee.objects.all()] == ["c@d.example"]


def test_write_of_an_occurrence_before_its_series_links_them_when_it_comes(calendar: Calendar) -> None:
    """Providers that store changed occurrences apart answer them in any order (reference 8, 73)."""
    moved = remote("Late", datetime(2026, 1, 6, 15), uid="1", recurrence_key="20260106T080000Z")
    off = remote("", datetime(2026, 1, 7, 9), uid="1", recurrence_key="20260107T080000Z", status=CANCELLED)
    store.write(calendar=calendar, resources=[
        resource(moved, remote_id="/1_a", series_remote_id="/1"),
        resource(off, remote_id="/1_b", series_remote_id="/1"),
    ])  # fmt: skip
    assert starts() == ["26-01-06 14:00 Late"]
    store.write(
        calendar=calendar, resources=[resource(remote("Daily", rule="FREQ=DAILY;COUNT=4", uid="1"), remote_id="/1")]
    )
    assert starts() == ["26-01-05 08:00 Daily", "26-01-06 14:00 Late", "26-01-08 08:00 Daily"]
    assert Occurrence.objects.values("event").distinct().count() == 1


def test_write_of_an_occurrence_after_its_series_changes_it(calendar: Calendar) -> None:
    store.write(
        calendar=calendar, resources=[resource(remote("Daily", rule="FREQ=DAILY;COUNT=2", uid="1"), remote_id="/1")]
    )
    moved = remote("Late", datetime(2026, 1, 6, 15), uid="1", recurrence_key="20260106T080000Z")
    store.write(calendar=calendar, resources=[resource(moved, remote_id="/1_a", series_remote_id="/1")])
    assert starts() == ["26-01-05 08:00 Daily", "26-01-06 14:00 Late"]


def test_write_of_what_cannot_be_read_keeps_it_with_its_reason_and_the_rest(calendar: Calendar) -> None:
    bad = RemoteResource("/bad", "1", raw="BEGIN:VCALENDAR", problem="It has no start.")
    written = store.write(calendar=calendar, resources=[bad, resource(remote())])
    assert len(written.added) == 1
    assert store.etags(calendar, ["/bad"]) == {"/bad": "1"}
    assert starts() == ["26-01-05 08:00 Lunch"]
    assert CalendarEvent.objects.readable().count() == 1
    store.write(calendar=calendar, resources=[resource(remote("Mended"), remote_id="/bad", etag="2")])
    assert CalendarEvent.objects.readable().count() == 2


def test_write_of_a_removal_is_a_question_and_not_yet_a_tombstone(calendar: Calendar) -> None:
    store.write(calendar=calendar, resources=[resource(remote(), remote_id="/1")])
    written = store.write(calendar=calendar, removed=["/1", "/never-seen"])
    assert len(written.removed) == 1
    row = CalendarEvent.objects.get()
    assert row.leaving_at is not None
    assert row.removed_at is None
    assert store.etags(calendar, ["/1"]) == {}


def test_write_stores_organizers_who_are_not_invited_for_the_matches(calendar: Calendar) -> None:
    organized = {"organizer": Person("Ada+x@Example.com", "Ada")}
    write(calendar, remote(**organized), remote(**organized, attendees=(Invited("ada@example.com"),)))
    found = Attendee.objects.order_by("id").values_list("address_key", "is_invited")
    assert list(found) == [("ada@example.com", False), ("ada@example.com", True)]


def test_write_costs_the_same_statements_for_any_number_of_events(calendar: Calendar) -> None:
    def statements(count: int) -> int:
        page = [resource(remote(rule="FREQ=MONTHLY", attendees=(Invited("a@b.example"),))) for _ in range(count)]
        with CaptureQueriesContext(
            database,
        ) as queries:
            store.write(calendar=calendar, resources=page)
        return len(queries)

    assert statements(40) == statements(3)


@pytest.mark.parametrize(
    "span",
    [
        Span(datetime(2026, 1, 5), timedelta(days=2), all_day=True),
        Span(datetime(2026, 1, 5, 9), timedelta(hours=1)),
        Span(datetime(2026, 1, 5, 9), timedelta(hours=1), "Own zone", ((0, 3600), (100, 7200)), nominal=True),
    ],
)
def test_write_of_an_event_can_be_written_out_as_it_came(calendar: Calendar, span: Span) -> None:
    came = remote(
        "Lunch", span=span, rule="FREQ=DAILY;COUNT=3", organizer=Person("ada@example.com"), description="Text",
        attendees=(Invited("a@b.example", "A", "accepted", optional=True),), location="Here", visibility="private",
    )  # fmt: skip
    write(calendar, came)
    row = CalendarEvent.objects.get()
    assert remote_of(row, row.attendees.all()) == came


def test_write_of_floating_times_reads_them_by_the_calendars_zone(calendar: Calendar) -> None:
    write(calendar, remote(zone=""))
    assert starts() == ["26-01-05 08:00 Lunch"]


def test_extend_takes_the_horizon_along_with_time(calendar: Calendar) -> None:
    with time_machine.travel(datetime(2026, 1, 10, tzinfo=UTC), tick=False):
        write(calendar, remote(rule="FREQ=WEEKLY"), remote("Ended", rule="FREQ=WEEKLY;COUNT=3"))
        assert occurrences.extend() == 0
        last = Occurrence.objects.latest("starts_at").starts_at
    with time_machine.travel(datetime(2026, 3, 10, tzinfo=UTC), tick=False):
        assert occurrences.extend() == 1  # the other one is stored to its end
        assert occurrences.extend() == 0
        assert Occurrence.objects.latest("starts_at").starts_at > last + timedelta(days=40)
    with time_machine.travel(datetime(2028, 6, 1, tzinfo=UTC), tick=False):
        assert occurrences.extend() == 1


def beyond(calendar: Calendar, begin: datetime, end: datetime) -> list[tuple[str, str]]:
    """Title and why it was cut off."""
    found = occurrences.beyond([calendar.pk], begin, end, limit=10)
    assert {home for _, home, _ in found} <= {calendar.pk}
    return [(CalendarEvent.objects.get(pk=pk).title, reason) for pk, _, reason in found]


def test_beyond_names_the_series_that_are_not_stored_that_far(calendar: Calendar) -> None:
    with time_machine.travel(datetime(2026, 1, 10, tzinfo=UTC), tick=False):
        write(
            calendar, remote("Endless", rule="FREQ=YEARLY"), remote("Ended", rule="FREQ=DAILY;COUNT=3"),
            remote("Explodes", rule="FREQ=SECONDLY"), remote("Single", datetime(2040, 1, 1, 9)),
        )  # fmt: skip
        far = beyond(calendar, datetime(2040, 1, 1, tzinfo=UTC), datetime(2041, 1, 1, tzinfo=UTC))
        near = beyond(calendar, datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
    explodes = ("Explodes", CalendarEvent.objects.get(title="Explodes").cut)
    assert "cut off" in explodes[1]
    assert far == [explodes, ("Endless", "")]
    assert near == [explodes]
    before = beyond(calendar, datetime(2024, 6, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    assert before == [explodes]  # what begins inside the horizon has nothing before it


def test_series_with_an_occurrence_moved_out_of_the_horizon_is_looked_at_again_there(calendar: Calendar) -> None:
    with time_machine.travel(datetime(2026, 1, 10, tzinfo=UTC), tick=False):
        series = remote("Daily", rule="FREQ=DAILY;COUNT=3", uid="1")
        moved = remote("Moved", datetime(2029, 1, 6, 9), uid="1", recurrence_key="20260106T080000Z")
        store.write(calendar=calendar, resources=[resource(series, moved)])
    row = CalendarEvent.objects.get(title="Daily")
    assert row.expanded_until < datetime(2029, 1, 1, tzinfo=UTC) < recurrence.LATEST
    write(calendar, remote("Whole", rule="FREQ=DAILY;COUNT=3"))
    assert CalendarEvent.objects.get(title="Whole").expanded_until == recurrence.LATEST
