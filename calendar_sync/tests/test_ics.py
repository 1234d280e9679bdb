"""Reading and writing iCalendar: what the fields become, and what hostile or broken text does."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calendar_sync import content
from calendar_sync.content import BadCalendar
from calendar_sync.ics import read_events
from calendar_sync.ics_writing import write_events
from calendar_sync.records import Invited, Person, Recurrence, RemoteEvent, Span
from calendar_sync.tests.series import Series, series
from calendar_sync.tests.test_zones import BERLIN_AS_CUSTOM

STAMP = datetime(2026, 1, 1, tzinfo=UTC)


def event(*lines: str, before: str = "") -> RemoteEvent:
    """The one event of these lines."""
    text = f"BEGIN:VCALENDAR\r\n{before}BEGIN:VEVENT\r\n" + "\r\n".join(lines) + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    [read] = read_events(text)
    return read


def test_read_of_a_whole_event_gives_every_field() -> None:
    read = event(
        "UID:1@test", "SEQUENCE:4", "DTSTART;TZID=W. Europe Standard Time:20260105T090000", "DURATION:PT1H30M",
        "SUMMARY:Lunch\\, later", "DESCRIPTION:One\\nTwo", "LOCATION:Caf", " é", "STATUS:TENTATIVE", "CLASS:PRIVATE",
        "TRANSP:TRANSPARENT", "ORGANIZER;CN=Ada:mailto:ada@example.com",
        'ATTENDEE;CN="Bob, B.";PARTSTAT=DECLINED;ROLE=OPT-PARTICIPANT:MAILTO:bob@example.com',
        "ATTENDEE;CUTYPE=ROOM:mailto:room@example.com", "X-GOOGLE-CONFERENCE:https://meet.google.com/abc-defg-hij",
        "RRULE:FREQ=WEEKLY;COUNT=3", "EXDATE;TZID=Europe/Berlin:20260112T090000",
    )  # fmt: skip
    assert read == RemoteEvent(
        uid="1@test", sequence=4,
        span=Span(datetime(2026, 1, 5, 9), timedelta(minutes=90), "Europe/Berlin", nominal=True),
        title="Lunch, later", description="One\nTwo", location="Café", status="tentative", visibility="private",
        busy=False, organizer=Person("ada@example.com", "Ada"),
        attendees=(
            Invited("bob@example.com", "Bob, B.", "declined", optional=True),
            Invited("room@example.com", is_resource=True),
        ),
        conference_url="https://meet.google.com/abc-defg-hij",
        recurrence=Recurrence(
            rules=("FREQ=WEEKLY;COUNT=3",), left_out=frozenset({datetime(2026, 1, 12, 8, tzinfo=UTC)})
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "span"),
    [
        (["DTSTART:20260105"], Span(datetime(2026, 1, 5), timedelta(days=1), all_day=True)),
        (["DTSTART;VALUE=DATE:20260105", "DTEND;VALUE=DATE:20260108"],
         Span(datetime(2026, 1, 5), timedelta(days=3), all_day=True)),
        (["DTSTART:20260105T090000"], Span(datetime(2026, 1, 5, 9), timedelta(0))),
        (["DTSTART:20260105T090000Z", "DTEND:20260105T080000Z"], Span(datetime(2026, 1, 5, 9), timedelta(0), "UTC")),
        (["DTSTART;TZID=America/New_York:20260105T090000", "DTEND;TZID=Europe/Berlin:20260105T170000"],
         Span(datetime(2026, 1, 5, 9), timedelta(hours=2), "America/New_York")),
        (["DTSTART;TZID=Nowhere:20260105T090000"], Span(datetime(2026, 1, 5, 9), timedelta(0), "UTC")),
        (["DTSTART;TZID=GMT+0200:20260105T090000"], Span(datetime(2026, 1, 5, 9), timedelta(0), "UTC+02:00")),
        (["DTSTART;TZID=Europe/Berlin:20260328T220000", "DTEND;TZID=Europe/Berlin:20260329T060000"],
         Span(datetime(2026, 3, 28, 22), timedelta(hours=7), "Europe/Berlin")),
    ],
)  # fmt: skip
def test_read_of_a_time_gives_its_span(lines: list[str], span: Span) -> None:
    assert event("UID:1", *lines).span == span


def test_read_of_a_zone_nobody_knows_uses_the_definition_that_came_along() -> None:
    zone = BERLIN_AS_CUSTOM.partition("\n")[2].rpartition("END:VCALENDAR")[0]
    read = event("UID:1", "DTSTART;TZID=Customized Time Zone:20260705T090000", "RRULE:FREQ=DAILY", before=zone)
    assert read.span.zone == "Customized Time Zone"
    [again] = read_events(write_events([read], stamp=STAMP))
    assert again == read


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["SUMMARY:No start"], "no start"),
        (["DTSTART:garbage"], "no date"),
        (["DTSTART:20260231T090000Z"], "no date"),
        (["DTSTART:20260105T090000Z", "DURATION:1 hour"], "no duration"),
        (["DTSTART:20260105T090000Z", "RRULE:FREQ=DAILY;INTERVAL=0"], "INTERVAL has to be from 1"),
        (["DTSTART:20260105T090000Z", "RRULE:FREQ=SOMETIMES"], "needs FREQ"),
        (["DTSTART:20260105T090000Z", "RRULE:FREQ=DAILY;BYMONTH=13"], "BYMONTH has to be from 1 to 12"),
        (["DTSTART:20260105T090000Z", "RRULE:FREQ=DAILY;UNTIL=tomorrow"], "UNTIL has to be"),
        (["DTSTART:20260105T090000Z", "DTEND:29990105T090000Z"], "longer than ten years"),
        (["DTSTART:20260105T090000Z", "RDATE:" + ",".join(["20260105T090000Z"] * 5001)], "more than 5000"),
    ],
)
def test_read_of_a_broken_event_says_what_is_wrong(lines: list[str], words: str) -> None:
    with pytest.raises(BadCalendar, match=words):
        event("UID:1", *lines)


@pytest.mark.parametrize(
    "text",
    ["", "no calendar", "BEGIN:VCALENDAR", "END:VEVENT", "BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VCALENDAR",
     "BEGIN:X\n" * 2999, "BEGIN:A\nEND:A\n" * 4000, "X" * 1_000_001, "A:1\n" * 20_001],
)  # fmt: skip
def test_read_of_what_is_no_calendar_is_refused_at_once(text: str) -> None:
    started = time.monotonic()
    with pytest.raises(BadCalendar):
        read_events(text)
    assert time.monotonic() - started < 2


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_read_of_mutated_text_reads_or_refuses(data: st.DataObject) -> None:
    text = data.draw(series()).ics()
    at = data.draw(st.integers(0, len(text)))
    cut = text[:at] + data.draw(st.text(max_size=8)) + text[at + data.draw(st.integers(0, 12)) :]
    try:
        read_events(cut)
    except BadCalendar:
        return


def test_text_holds_nothing_the_database_refuses() -> None:
    assert event("UID:1", "DTSTART:20260105T090000Z", "SUMMARY:A\x00B\ud800C").title == "ABC"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(one=series())
def test_write_of_what_was_read_reads_the_same(one: Series) -> None:
    read = read_events(one.ics())
    assert read_events(write_events(read, stamp=STAMP)) == read


WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60).map(str.strip)


@settings(max_examples=40, deadline=None)
@given(title=WORDS, description=WORDS, name=WORDS)
def test_write_of_any_words_reads_the_same_words(title: str, description: str, name: str) -> None:
    span = Span(datetime(2026, 1, 5, 9), timedelta(hours=1), "Europe/Berlin")
    person = Invited("bob@example.com", name.replace('"', "").replace("^", ""))
    made = RemoteEvent("1", span, " ".join(title.split()), description, attendees=(person,))
    [read] = read_events(write_events([made], stamp=STAMP))
    assert read == made


def test_write_of_a_title_with_a_line_break_adds_no_line() -> None:
    span = Span(datetime(2026, 1, 5, 9), timedelta(hours=1), "UTC")
    text = write_events([RemoteEvent("1", span, "A\r\nATTENDEE:mailto:eve@example.com")], stamp=STAMP)
    [calendar] = content.read(text)
    assert "ATTENDEE" not in calendar.children[0].properties
