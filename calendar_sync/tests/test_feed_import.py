"""A feed, taken by a real CalDAV server event by event and synced back: the same events at the same times."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from icalendar import Calendar as Parsed

from calendar_sync.models import Calendar, CalendarEvent, Occurrence
from calendar_sync.records import RemoteEvent
from calendar_sync.services.columns import remote_of
from calendar_sync.tests.conftest import Account
from calendar_sync.tests.meetings import meetings
from calendar_sync.tests.servers import Server
from calendar_sync.tests.test_feeds import made, read
from calendar_sync.tests.test_round_trip import canonical
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db
MEETINGS = 33
"""A few in each dress."""


@pytest.fixture(autouse=True)
def _today() -> Any:
    with time_machine.travel(datetime(2026, 1, 10, 12, tzinfo=UTC), tick=True):
        yield


def events(calendar: Calendar) -> dict[tuple[str, str], RemoteEvent]:
    """UID and occurrence → what is stored, without the people: a feed leaves them out."""
    rows = CalendarEvent.objects.readable().filter(calendar=calendar)
    return {(row.uid, row.recurrence_key): canonical(replace(remote_of(row, ()), organizer=None)) for row in rows}


def times(calendar: Calendar) -> set[tuple[Any, ...]]:
    rows = Occurrence.objects.filter(calendar=calendar)
    return set(rows.values_list("event__uid", "key", "starts_at", "ends_at", "all_day"))


def by_uid(feed: bytes) -> dict[str, Parsed]:
    """The feed as files that hold one event or series each, as CalDAV wants them."""
    parsed = Parsed.from_ical(feed)
    parts: defaultdict[str, list[Any]] = defaultdict(list)
    for event in parsed.walk("VEVENT"):
        parts[str(event["UID"])].append(event)
    files = {}
    for uid, some in parts.items():
        files[uid] = Parsed(VERSION="2.0", PRODID="-//test//EN")
        files[uid].subcomponents = [*parsed.walk("VTIMEZONE"), *some]
    return files


def test_feed_taken_by_a_server_reads_back_the_same(member: Actor, served: Account, server: Server) -> None:
    work, back = server.make_calendar("Work"), server.make_calendar("Back")
    for meeting in meetings(MEETINGS, without=server.refuses):
        server.put(work, meeting.ics, str(meeting.number))
    served.sync()
    files = by_uid(read(made(member, showsPrivate=True)).content)
    assert len(files) > MEETINGS / 2
    for number, file in enumerate(files.values()):
        server.put(back, file.to_ical().decode(), str(number))
    served.sync()
    ours, theirs = (Calendar.objects.get(remote_id=path) for path in (work, back))
    assert {uid for uid, _ in events(theirs)} == set(files)
    shown = {key: event for key, event in events(ours).items() if key[0] in files}
    assert events(theirs) == shown
    assert times(theirs) == {row for row in times(ours) if row[0] in files}
