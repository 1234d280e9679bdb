"""Finding a time: the arithmetic against a count of minutes, working hours on DST nights, and the route."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from hypothesis import example, given, settings
from hypothesis import strategies as st

from calendar_sync import working_hours, zones
from calendar_sync.intervals import clipped, merged, without
from calendar_sync.models import Calendar
from calendar_sync.records import Span
from calendar_sync.services import finding
from calendar_sync.services.finding import Wanted
from calendar_sync.tests.factories import connect, make_calendar, remote, write
from workspaces.tests.fixtures import Actor, make_actor

BASE = "/api/v1/integrations/calendar"
MINUTE = timedelta(minutes=1)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
MONDAY = {"start": "2026-01-05", "end": "2026-01-06", "timeZone": "Europe/Berlin"}

# --- against a count of minutes -----------------------------------------------------------------------------------

NIGHTS = [
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("America/New_York", date(2026, 3, 8)),
    ("America/New_York", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),  # half an hour back
    ("Africa/Cairo", date(2026, 4, 24)),  # midnight is skipped
    ("America/Santiago", date(2026, 4, 5)),  # back over midnight
    ("Asia/Kathmandu", date(2026, 5, 1)),
]
"""A zone and a day on which, mostly, its clocks change."""


def by_counting(wanted: Wanted, taken: list[tuple[datetime, datetime]]) -> list[datetime]:
    """Every minute is looked at by itself: the clock's reading, who is busy, and how long it has been free."""
    first = wanted.start - timedelta(days=2)
    minutes = [first + number * MINUTE for number in range((wanted.end - first) // MINUTE + 2 * 24 * 60)]
    walls = {moment: zones.wall(moment, wanted.zone) for moment in minutes}
    found = set()
    for day in sorted({wall.date() for wall in walls.values()})[1:-1]:
        midnight = datetime.combine(day, datetime.min.time())
        for begin, end in wanted.hours.days[day.weekday()]:
            opened = next(m for m in minutes if walls[m] >= midnight + begin * MINUTE)
            closed = next(m for m in minutes if walls[m] >= midnight + end * MINUTE)
            start = opened
            while start < closed:
                whole = [start + number * MINUTE for number in range(wanted.duration // MINUTE)]
                around = [
                    start - wanted.buffer + n * MINUTE for n in range((wanted.duration + 2 * wanted.buffer) // MINUTE)
                ]
                inside = all(max(opened, wanted.start) <= m < min(closed, wanted.end) for m in whole)
                if inside and not any(b <= m < e for m in around for b, e in taken):
                    found.add(start)
                start += wanted.step
    return sorted(found)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Wanted, list[tuple[datetime, datetime]]]:
    name, day = draw(st.sampled_from(NIGHTS))
    start = datetime.combine(day, datetime.min.time(), UTC) + draw(st.integers(-720, 720)) * MINUTE
    end = start + draw(st.integers(1, 48 * 60)) * MINUTE
    cuts = sorted(draw(st.sets(st.integers(0, 24 * 4), min_size=2, max_size=6)))
    hours = tuple((cuts[n] * 15, cuts[n + 1] * 15) for n in range(0, len(cuts) - 1, 2))
    busy = st.tuples(st.integers(-300, 50 * 60), st.integers(0, 200))
    taken = [(start + a * MINUTE, start + (a + length) * MINUTE) for a, length in draw(st.lists(busy, max_size=6))]
    return Wanted(
        start=start,
        end=end,
        zone=zones.zone(name),
        hours=working_hours.WorkingHours((hours,) * 7),
        duration=draw(st.integers(1, 120)) * MINUTE,
        step=draw(st.integers(5, 90)) * MINUTE,
        buffer=draw(st.integers(0, 45)) * MINUTE,
    ), taken


@settings(max_examples=60, deadline=None, derandomize=True)
@given(questions())
def test_slots_are_those_that_counting_every_minute_finds(
    question: tuple[Wanted, list[tuple[datetime, datetime]]],
) -> None:
    wanted, taken = question
    found = [run.first + n * wanted.step for run in finding.runs(wanted, merged(taken)) for n in range(run.count)]
    assert found == by_counting(wanted, taken)


Stretches = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(Stretches, Stretches, st.integers(0, 60), st.integers(0, 60))
@example([(0, 10)], [(2, 3), (5, 6)], 0, 60)
def test_merging_and_taking_away_are_those_of_sets(
    some: list[tuple[int, int]], others: list[tuple[int, int]], begin: int, end: int
) -> None:
    one, two = ([(EPOCH + a * MINUTE, EPOCH + b * MINUTE) for a, b in pairs] for pairs in (some, others))

    def within(stretches: list[tuple[datetime, datetime]]) -> set[datetime]:
        return {EPOCH + n * MINUTE for n in range(61) if any(a <= EPOCH + n * MINUTE < b for a, b in stretches)}

    assert within(merged(one)) == within(one)
    assert within(without(merged(one), merged(two))) == within(one) - within(two)
    inside = {EPOCH + n * MINUTE for n in range(begin, end)}
    assert within(clipped(one, EPOCH + begin * MINUTE, EPOCH + end * MINUTE)) == within(one) & inside
    assert all(before[1] < after[0] for before, after in zip(merged(one), merged(one)[1:], strict=False))


# --- working hours ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 28), 24), (date(2026, 3, 29), 23), (date(2026, 10, 25), 25)])
def test_working_day_is_as_long_as_its_clock_makes_it(day: date, hours: int) -> None:
    whole, berlin = working_hours.parse("MO-SU 00:00-24:00"), zones.zone("Europe/Berlin")
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    [(opened, closed)] = working_hours.stretches(whole, berlin, noon, noon + MINUTE)
    assert closed - opened == timedelta(hours=hours)


def test_working_hours_name_ranges_of_weekdays_over_the_weekend_too() -> None:
    nine_to_five = (9 * 60, 17 * 60)
    days = working_hours.parse("fr-mo 09:00-17:00,  WE 10:00-11:00, WE 09:00-10:00").days
    assert days == ((nine_to_five,), (), ((540, 600), (600, 660)), (), *((nine_to_five,),) * 3)


@pytest.mark.parametrize(
    "text",
    ["MO", "XX 09:00-17:00", "MO 9-17", "MO 17:00-09:00", "MO 09:00-24:30", "MO 09:00-12:00,MO 11:00-13:00", ","],
)
def test_working_hours_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(working_hours.BadHours):
        working_hours.parse(text)


# --- the route ----------------------------------------------------------------------------------------------------


@pytest.fixture
def calendar(member: Actor) -> Calendar:
    return make_calendar(connect(member, "ada@contract.test"))


def asked(actor: Actor, **query: object) -> dict[str, Any]:
    response = actor.client.get(f"{BASE}/slots", {**MONDAY, "duration": 60, **query})
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer


def starts(answer: dict[str, Any]) -> list[str]:
    return [one["start"][11:16] for one in answer["data"]]


@pytest.mark.django_db
def test_slots_are_free_for_everybody_known_and_name_who_is_not(member: Actor, calendar: Calendar) -> None:
    colleague = make_actor(workspace=member.workspace)
    theirs = make_calendar(connect(colleague, "bob@contract.test", visibility="metadata"))
    write(calendar, remote("Own", datetime(2026, 1, 5, 9), length=timedelta(hours=3)))
    write(theirs, remote("Theirs", datetime(2026, 1, 5, 13), status="tentative", visibility="private"))
    answer = asked(member, attendees="bob@contract.test,eve@example.com", step=60)
    assert starts(answer) == ["11:00", "13:00", "14:00", "15:00"]  # 12 to 13 and 14 to 17 in Berlin
    assert (answer["unknown"], answer["timeZone"]) == (["eve@example.com"], "Europe/Berlin")
    assert answer["data"][0] == {"start": "2026-01-05T11:00:00.000Z", "end": "2026-01-05T12:00:00.000Z"}
    assert "Theirs" not in str(answer)
    assert starts(asked(member, attendees="bob@contract.test", step=60, buffer=30)) == ["14:00", "15:00"]


@pytest.mark.django_db
def test_slots_respect_what_lies_just_outside_the_range_by_the_buffer(member: Actor, calendar: Calendar) -> None:
    write(calendar, remote("Before", datetime(2026, 1, 5, 9)))
    nine_utc = {"start": "2026-01-05T09:00:00Z", "end": "2026-01-05T11:00:00Z"}
    assert starts(asked(member, **nine_utc, step=30)) == ["09:00", "09:30", "10:00"]
    assert starts(asked(member, **nine_utc, step=30, buffer=15)) == ["09:30", "10:00"]


@pytest.mark.django_db
def test_slots_leave_out_whole_days_in_the_zone_asked_for(member: Actor, calendar: Calendar) -> None:
    write(calendar, remote("Day", span=Span(datetime(2026, 1, 6), timedelta(days=1), all_day=True)))
    week = asked(member, end="2026-01-08", duration=480)
    assert [one["start"] for one in week["data"]] == ["2026-01-05T08:00:00.000Z", "2026-01-07T08:00:00.000Z"]


@pytest.mark.django_db
def test_slots_page_by_number_and_by_cursor(member: Actor, calendar: Calendar) -> None:
    write(calendar, remote("Lunch", datetime(2026, 1, 5, 12)))
    whole = starts(asked(member, limit=100))
    first = asked(member, limit=5)
    assert first["pagination"]["total"] == len(whole) == 12
    pages, cursor = [starts(first)], first["pagination"]["nextCursor"]
    while cursor:
        answer = asked(member, limit=5, cursor=cursor)
        pages.append(starts(answer))
        cursor = answer["pagination"]["nextCursor"]
    assert [one for page in pages for one in page] == whole
    assert starts(asked(member, limit=5, page=3)) == pages[2]
    assert starts(asked(member, limit=5, page=9)) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"duration": ""}, "duration"),
        ({"duration": "0"}, "duration"),
        ({"duration": "1441"}, "duration"),
        ({"step": "1"}, "step"),
        ({"buffer": "-1"}, "buffer"),
        ({"workingHours": "always"}, "workingHours"),
        ({"attendees": "no address"}, "attendees"),
        ({"end": "2027-01-07"}, "end"),
        ({"start": "9999-12-30", "end": "9999-12-31"}, "start"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "WyJ4Il0"}, "cursor"),
    ],
)
def test_question_that_makes_no_sense_names_the_field(member: Actor, query: dict[str, str], field: str) -> None:
    response = member.client.get(f"{BASE}/slots", {**MONDAY, "duration": 60, **query})
    assert response.status_code == 400
    assert field in response.json()["error"]["fields"]


@pytest.mark.django_db
def test_slots_ask_as_often_for_many_people_and_events_as_for_few(member: Actor) -> None:
    calendar, emails, counts = make_calendar(connect(member)), [], []
    member.client.get(f"{BASE}/calendars")  # the first use of a token is noted on it
    for number in (1, 8):
        for one in range(number):
            colleague = make_actor(workspace=member.workspace)
            account = connect(colleague, f"{number}-{one}@contract.test", visibility="metadata")
            emails.append(account.account_email)
            write(make_calendar(account), *(remote(rule="FREQ=DAILY") for _ in range(number)))
        write(calendar, *(remote(f"{n}", rule="FREQ=DAILY") for n in range(number)))
        with CaptureQueriesContext(database) as queries:
            answer = member.client.get(f"{BASE}/slots", {**MONDAY, "duration": 30, "attendees": ",".join(emails)})
        assert answer.status_code == 200, answer.content
        assert answer.json()["unknown"] == []
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 14, counts
