"""Random meetings through real CalDAV servers: what comes in is what was sent, and what goes out comes back the same.

In every run a meeting or two in each dress; 500 in `make chaos`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from calendar_sync import recurrence
from calendar_sync.ics import read_events
from calendar_sync.ics_writing import write_events
from calendar_sync.models import CalendarEvent, Occurrence
from calendar_sync.records import RemoteEvent
from calendar_sync.recurrence import Change
from calendar_sync.services.columns import remote_of
from calendar_sync.tests.conftest import Account
from calendar_sync.tests.meetings import meetings
from calendar_sync.tests.servers import Server
from integrations.models import SyncCursor, SyncState

pytestmark = pytest.mark.django_db

BEGIN, END = datetime(2025, 9, 1, tzinfo=UTC), datetime(2027, 9, 1, tzinfo=UTC)
STAMP = datetime(2026, 1, 1, tzinfo=UTC)


def canonical(event: RemoteEvent) -> RemoteEvent:
    """One server writes the parts of a rule in an order of its own. (A rule is a set of parts.)"""
    rules = tuple(";".join(sorted(rule.split(";"))) for rule in event.recurrence.rules)
    return replace(event, recurrence=replace(event.recurrence, rules=rules))


def stored(path: str) -> list[RemoteEvent]:
    rows = CalendarEvent.objects.filter(remote_id=path).order_by("recurrence_key").prefetch_related("attendees")
    return [canonical(remote_of(row, row.attendees.all())) for row in rows]


def times(events: Sequence[RemoteEvent]) -> list[tuple[str, str, str]]:
    """When it takes place, worked out from these records."""
    master, *others = events
    if not master.recurrence:
        return []
    changes = [
        Change(one.recurrence_key, one.span, one.title, cancelled=one.status == "cancelled", following=one.following)
        for one in others
    ]
    found = recurrence.expand(master.span, master.recurrence, master.title, BEGIN, END, changes=changes)
    return [(one.start.isoformat(), one.end.isoformat(), one.source) for one in found.occurrences]


def all_times() -> set[tuple[Any, ...]]:
    return set(Occurrence.objects.values_list("event_id", "key", "starts_at", "ends_at"))


@pytest.mark.parametrize("count", [22, pytest.param(500, marks=pytest.mark.chaos)])
def test_meetings_come_and_go_out_and_come_back_unchanged(served: Account, server: Server, count: int) -> None:
    work, back = server.make_calendar("Work"), server.make_calendar("Back")
    sent: dict[str, Any] = {}
    for meeting in meetings(count, without=server.refuses):
        path = server.put(work, meeting.ics, str(meeting.number))
        sent[path] = (meeting, [canonical(event) for event in read_events(meeting.ics)])
    served.sync()
    assert list(CalendarEvent.objects.exclude(problem="").values_list("remote_id", "problem")) == []
    for path, (meeting, events) in sent.items():
        assert stored(path) == events, (meeting.dress, meeting.ics)
        assert times(stored(path)) == times(events), (meeting.dress, meeting.ics)
    _compare_again(served, len(sent))
    # What is written out of the rows is another server's event, and comes back as the same.
    returned: dict[str, list[RemoteEvent]] = {}
    for path, (meeting, _) in sent.items():
        ours = [replace(event, uid=f"back-{event.uid}") for event in stored(path)]
        returned[server.put(back, write_events(ours, stamp=STAMP), str(meeting.number))] = ours
    served.sync()
    for path, ours in returned.items():
        assert stored(path) == ours, path
        assert times(stored(path)) == times(ours), path
    _compare_again(served, 2 * len(sent))


def _compare_again(served: Account, count: int) -> None:
    """The daily comparison finds everything there and nothing to do."""
    before = all_times()
    SyncCursor.objects.filter(type="calendar").update(reconcile=True)
    SyncState.objects.filter(type="calendar").update(next_check_at=None)
    run = served.sync()
    assert (run.status, run.added, run.changed, run.removed) == ("done", 0, 0, 0)
    assert all_times() == before
    state = SyncState.objects.get(type="calendar")
    assert (state.coverage_remote, state.coverage_stored, state.coverage_missing) == (count, count, 0)


def test_what_is_kept_of_a_meeting_still_says_what_is_not_modelled(served: Account, server: Server) -> None:
    """Alarms and properties nobody knows live in `raw`, for whoever changes the event."""
    work = server.make_calendar("Work")
    wanted = [one for one in meetings(22) if one.dress == "people"]
    for meeting in wanted:
        server.put(work, meeting.ics, str(meeting.number))
    served.sync()
    kept = CalendarEvent.objects.filter(recurrence_key="").values_list("raw", flat=True)
    assert len(kept) == len(wanted) > 0
    assert all("X-OWN;X-A=b:kept as it is" in raw and "BEGIN:VALARM" in raw for raw in kept)
