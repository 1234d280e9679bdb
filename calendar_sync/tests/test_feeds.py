"""The private address of one's calendars: what is in it, who can open it, and what it costs."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from icalendar import Calendar as Parsed
from rest_framework.test import APIClient

from calendar_sync.ics import read_events
from calendar_sync.models import Calendar, CalendarEvent, Feed
from calendar_sync.records import Invited, Person, Span
from calendar_sync.services import feeds, store
from calendar_sync.tests.factories import connect, make_calendar, remote, resource, write
from calendar_sync.views import feeds as views
from core.redaction import RedactSecrets
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db
FEED = "/api/v1/integrations/calendar/feed"


@pytest.fixture(autouse=True)
def _today() -> Any:
    with time_machine.travel(datetime(2026, 1, 10, 12, tzinfo=UTC), tick=True):
        yield


@pytest.fixture
def calendar(member: Actor) -> Calendar:
    return make_calendar(connect(member))


def made(actor: Actor, **options: bool) -> str:
    """The path of a new feed."""
    answer = actor.client.post(FEED, options)
    assert answer.status_code == 201, answer.content
    url: str = answer.json()["url"]
    return url[url.index("/api/") :]


def read(path: str, **headers: str) -> Any:
    return APIClient().get(path, headers=headers)


def test_feed_made_again_with_the_same_idempotency_key_is_the_same_address(member: Actor) -> None:
    first, second = (member.client.post(FEED, headers={"Idempotency-Key": "once"}) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["Idempotency-Replayed"] == "true"
    assert read(made(member)).status_code == 200
    assert read(first.json()["url"][first.json()["url"].index("/api/") :]).status_code == 404


def test_feed_is_valid_icalendar_of_all_that_is_shown(member: Actor, calendar: Calendar) -> None:
    series = remote("Daily", rule="FREQ=DAILY;COUNT=4", uid="1")
    moved = remote("Late", datetime(2026, 1, 6, 15), uid="1", recurrence_key="20260106T080000Z")
    store.write(calendar=calendar, resources=[resource(series, moved)])
    people = {"organizer": Person("ada@example.com"), "attendees": (Invited("bob@example.com"),)}
    write(calendar, remote("Lunch, with; marks\n", uid="2", **people))
    write(calendar, remote("Day", uid="3", span=Span(datetime(2026, 1, 6), timedelta(days=2), all_day=True)))
    write(calendar, remote("No UID", uid=""), remote("Past", datetime(2025, 1, 1)), remote("Far", datetime(2028, 1, 1)))
    write(make_calendar(calendar.connection, "Second"), remote("Lunch again", uid="2"), remote("Other", uid="4"))
    write(make_calendar(calendar.connection, "Hidden", selected=False), remote("Hidden", uid="5"))
    answer = read(made(member))
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/calendar; charset=utf-8")
    text = answer.content.decode()
    parsed = Parsed.from_ical(text)
    assert [zone["TZID"] for zone in parsed.walk("VTIMEZONE")] == ["Europe/Berlin"]
    shown = sorted(str(event["SUMMARY"]).strip() for event in parsed.walk("VEVENT"))
    assert shown == ["Daily", "Day", "Late", "Lunch, with; marks", "No UID", "Other"]
    assert "bob@" not in text
    assert "ada@" not in text
    assert len(read_events(text)) == len(shown)


def test_private_events_are_busy_blocks_unless_their_user_wants_them(member: Actor, calendar: Calendar) -> None:
    write(calendar, remote("Doctor", uid="doctor-1", visibility="private", description="Why", location="Where"))
    text = read(made(member)).content.decode()
    assert "SUMMARY:Busy" in text
    assert not any(word in text for word in ("Doctor", "doctor-1", "Why", "Where"))
    assert "SUMMARY:Doctor" in read(made(member, showsPrivate=True)).content.decode()


def test_address_is_shown_once_rotated_and_revoked(member: Actor, admin: Actor, calendar: Calendar) -> None:
    assert member.client.get(FEED).status_code == 404
    first = made(member)
    seen = member.client.get(FEED).json()
    assert (seen["url"], seen["showsPrivate"]) == (None, False)
    assert seen["fingerprint"].endswith("_****")
    assert admin.client.get(FEED).status_code == 404
    second = made(member)
    assert (read(first).status_code, read(second).status_code) == (404, 200)
    assert [member.client.delete(FEED).status_code for _ in range(2)] == [204, 204]
    assert read(second).status_code == 404
    actions = AuditEvent.objects.filter(action__startswith="feed.").order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["feed.made", "feed.made", "feed.revoked"]


def test_token_is_stored_as_a_hash_and_in_no_log(
    member: Actor, calendar: Calendar, caplog: pytest.LogCaptureFixture
) -> None:
    path = made(member)
    token = path.rsplit("/", 1)[1].removesuffix(".ics")
    row = Feed.objects.get()
    assert token not in str(row.__dict__)
    assert token.split("_", 2)[2] not in str(row.__dict__)
    assert token not in str(list(AuditEvent.objects.values()))
    member.client.delete(FEED)
    caplog.handler.addFilter(RedactSecrets())  # as on every handler of ours
    with caplog.at_level(logging.DEBUG):
        assert read(path).status_code == 404
    assert "Not Found" in caplog.text
    assert token not in caplog.text


@pytest.mark.parametrize("text", ["x", "feed_000000000000_" + "a" * 49, "hub_000000000000_" + "a" * 49])
def test_other_texts_open_nothing(member: Actor, calendar: Calendar, text: str) -> None:
    made(member)
    assert read(f"{FEED}s/{text}.ics").status_code == 404


def test_feed_ends_with_its_member(member: Actor, calendar: Calendar) -> None:
    path = made(member)
    member.user.is_active = False
    member.user.save()
    assert read(path).status_code == 404
    member.user.is_active = True
    member.user.save()
    assert read(path).status_code == 200
    member.membership.delete()
    assert read(path).status_code == 404


def test_unchanged_feed_is_a_304_until_something_in_it_changes(member: Actor, calendar: Calendar) -> None:
    write(calendar, remote("Lunch", uid="1"), remote_id="/1.ics")
    path = made(member)
    first = read(path)
    known = {"if-none-match": first["ETag"]}
    assert read(path, **known).status_code == 304
    assert read(path, **{"if-modified-since": first["Last-Modified"]}).status_code == 304
    assert read(path).content == first.content
    write(calendar, remote("Dinner", uid="1"), remote_id="/1.ics", etag="2")
    with time_machine.travel(datetime(2026, 1, 10, 13, tzinfo=UTC), tick=True):
        assert b"Dinner" in read(path, **known).content
    with time_machine.travel(datetime(2026, 1, 10, 14, tzinfo=UTC), tick=True):
        CalendarEvent.objects.update(removed_at=datetime.now(UTC))
        again = read(path, **{"if-modified-since": first["Last-Modified"]})
    assert again.status_code == 200
    assert b"VEVENT" not in again.content


def test_feed_is_bounded_and_says_so(member: Actor, calendar: Calendar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "MAX_EVENTS", 3)
    write(calendar, *(remote(f"{n}", datetime(2026, 1, 5 + n, 9)) for n in range(5)))
    parsed = Parsed.from_ical(read(made(member)).content)
    assert [str(event["SUMMARY"]) for event in parsed.walk("VEVENT")] == ["0", "1", "2"]
    assert "X-WR-CALDESC" in parsed


def test_feed_asks_as_often_for_many_events_as_for_few(member: Actor, calendar: Calendar) -> None:
    path, counts = made(member), []
    for number in (1, 15):
        write(calendar, *(remote(f"{number} {n}", rule="FREQ=WEEKLY") for n in range(number)))
        with CaptureQueriesContext(database) as queries:
            assert read(path).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 12, counts


def test_feed_is_throttled(member: Actor, calendar: Calendar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "PER_MINUTE", 2)
    path = made(member)
    assert [read(path).status_code for _ in range(3)] == [200, 200, 429]
