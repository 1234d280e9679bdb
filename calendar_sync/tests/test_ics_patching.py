"""Changing stored iCalendar text in places: what is not modelled survives, series take their changed days along."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from calendar_sync import composing
from calendar_sync.ics import read_events
from calendar_sync.ics_nodes import parse, text_of
from calendar_sync.ics_patching import Resource
from calendar_sync.moving import is_first, split
from calendar_sync.records import EventDraft, Person, RemoteEvent
from core.errors import InvalidInput

STAMP = datetime(2026, 1, 1, tzinfo=UTC)
ADA = Person("ada@contract.test")
TEXT = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//else//EN
X-WR-CALNAME:Mine
BEGIN:VEVENT
UID:1
DTSTAMP:20250101T000000Z
DTSTART;TZID=Europe/Berlin:20260302T090000
DTEND;TZID=Europe/Berlin:20260302T100000
RRULE:FREQ=WEEKLY;BYDAY=MO;COUNT=6
EXDATE;TZID=Europe/Berlin:20260309T090000
SUMMARY:Old
CATEGORIES:A,B
X-COLOR;X-P="a;b:c":red
ATTACH:https://example.com/a.pdf
ORGANIZER:mailto:bob@example.com
ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE;X-NOTED="yes:1":mailto:ada@contract.test
BEGIN:VALARM
ACTION:DISPLAY
TRIGGER:-PT10M
DESCRIPTION:Soon
END:VALARM
END:VEVENT
BEGIN:VEVENT
UID:1
DTSTAMP:20250101T000000Z
RECURRENCE-ID;TZID=Europe/Berlin:20260316T090000
DTSTART;TZID=Europe/Berlin:20260317T110000
DTEND;TZID=Europe/Berlin:20260317T120000
SUMMARY:Moved
END:VEVENT
END:VCALENDAR
""".replace("\n", "\r\n")
KEPT = (
    "CATEGORIES:A,B",
    'X-COLOR;X-P="a;b:c":red',
    "ATTACH:https://example.com/a.pdf",
    "TRIGGER:-PT10M",
    "X-WR-CALNAME",
)


def resource() -> Resource:
    return Resource(TEXT, time_zone="Europe/Berlin", stamp=STAMP)


def master() -> RemoteEvent:
    return read_events(TEXT)[0]


def changed(current: RemoteEvent, **given: object) -> tuple[EventDraft, frozenset[str]]:
    draft = composing.changed_draft(current, given, "Europe/Berlin")
    return draft, composing.changes(current, draft)


def test_text_that_is_not_touched_comes_out_as_it_went_in() -> None:
    assert text_of(parse(TEXT)).replace("\r\n ", "") == TEXT
    folded = TEXT.replace("SUMMARY:Old", "SUMMARY:" + "ä" * 100)
    out = text_of(parse(folded))
    assert max(len(line.encode()) for line in out.split("\r\n")) <= 75
    assert read_events(out)[0].title == "ä" * 100


def test_change_of_the_title_leaves_everything_else() -> None:
    changing = resource()
    changing.change("", *changed(master(), title="New"), ADA)
    text = changing.text()
    assert all(line in text for line in KEPT)
    assert read_events(text)[0] == replace(master(), title="New", sequence=1)
    assert "SUMMARY:Moved" in text


def test_series_that_moves_takes_its_exceptions_and_left_out_days_along() -> None:
    changing = resource()
    given = {"start": datetime(2026, 3, 3, 9, tzinfo=UTC), "end": datetime(2026, 3, 3, 11, tzinfo=UTC)}  # Tuesday, 10
    changing.change("", *changed(master(), **given), ADA)
    series, moved = read_events(changing.text())
    assert series.recurrence.rules == ("FREQ=WEEKLY;BYDAY=TU;COUNT=6",)
    assert series.recurrence.left_out == {datetime(2026, 3, 10, 9, tzinfo=UTC)}
    assert moved.recurrence_key == "20260317T090000Z"
    assert (moved.span.start, moved.span.duration) == (datetime(2026, 3, 18, 12), timedelta(hours=2))


def test_rule_that_changes_drops_the_exceptions_that_no_longer_fit() -> None:
    changing = resource()
    changing.change("", *changed(master(), recurrence=["FREQ=MONTHLY"]), ADA)
    [series] = read_events(changing.text())
    assert series.recurrence.rules == ("FREQ=MONTHLY",)


def test_change_of_one_occurrence_is_a_part_of_its_own_with_the_alarm() -> None:
    changing = resource()
    key = "20260330T070000Z"  # after the clocks went forward
    occurrence = replace(master(), span=replace(master().span, start=datetime(2026, 3, 30, 9)))
    changing.change(key, *changed(occurrence, title="Once"), ADA)
    events = read_events(changing.text())
    [once] = [event for event in events if event.recurrence_key == key]
    assert (once.title, once.span.start, bool(once.recurrence)) == ("Once", datetime(2026, 3, 30, 9), False)
    assert events[0] == master()
    assert changing.text().count("TRIGGER:-PT10M") == 2


def test_cancel_of_an_occurrence_leaves_it_out_and_drops_what_it_was() -> None:
    changing = resource()
    changing.cancel("20260316T080000Z")
    [series] = read_events(changing.text())
    assert datetime(2026, 3, 16, 8, tzinfo=UTC) in series.recurrence.left_out
    assert len(series.recurrence.left_out) == 2


def test_answer_to_an_invitation_changes_nothing_but_the_answer() -> None:
    changing = resource()
    assert changing.respond("", "ADA@contract.test", "accepted")
    [line] = [line for line in changing.text().replace("\r\n ", "").split("\r\n") if line.startswith("ATTENDEE")]
    assert line == 'ATTENDEE;X-NOTED="yes:1";PARTSTAT=ACCEPTED:mailto:ada@contract.test'
    assert not resource().respond("", "eve@example.com", "accepted")


def test_split_counts_what_was_before_and_keeps_cancelled_days_out() -> None:
    head, rest = split(master(), "20260323T080000Z", ["20260330T070000Z"])
    assert head.rules == ("FREQ=WEEKLY;BYDAY=MO;UNTIL=20260323T075959Z",)
    assert rest.recurrence.rules == ("FREQ=WEEKLY;BYDAY=MO;COUNT=3",)
    assert rest.recurrence.left_out == {datetime(2026, 3, 30, 7, tzinfo=UTC)}
    assert rest.span.start == datetime(2026, 3, 23, 9)
    assert is_first(master(), "20260302T080000Z")
    assert not is_first(master(), "20260323T080000Z")


def test_series_whose_rule_names_other_days_asks_for_the_rule() -> None:
    series = replace(master(), recurrence=replace(master().recurrence, rules=("FREQ=MONTHLY;BYDAY=1MO",)))
    with pytest.raises(InvalidInput) as refused:
        changed(series, start=datetime(2026, 3, 3, 8, tzinfo=UTC))
    assert "recurrence" in refused.value.fields
