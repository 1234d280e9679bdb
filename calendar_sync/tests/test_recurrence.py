"""Expansion against an independent engine, on random series and on the traps that are known."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings

from calendar_sync import recurrence
from calendar_sync.ics import read_events
from calendar_sync.records import CANCELLED, Recurrence, RemoteEvent, Span
from calendar_sync.recurrence import Change, Expansion, expand
from calendar_sync.tests.series import Series, independent, series

BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 3, 1, tzinfo=UTC)


def expanded(ics: str, begin: datetime, end: datetime) -> Expansion[RemoteEvent]:
    """As the product does it: read, then expand."""
    master, *changed = read_events(ics)
    changes = [Change(e.recurrence_key, e.span, e, e.status == CANCELLED, e.following) for e in changed]
    return expand(master.span, master.recurrence, master, begin, end, changes=changes)


def ours(ics: str, begin: datetime, end: datetime) -> list[tuple[str, str]]:
    """In the form of `independent`."""
    found = expanded(ics, begin, end)
    assert found.cut == ""
    return sorted(
        (str(one.start.date() if one.source.span.all_day else one.start.timestamp()), one.source.title)
        for one in found.occurrences
    )


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(one=series())
def test_expand_of_a_random_series_agrees_with_an_independent_engine(one: Series) -> None:
    ics = one.ics()
    assert ours(ics, BEGIN, END) == independent(ics, BEGIN, END)


def starts(rule: str, begin: datetime = BEGIN, end: datetime = END, **columns: object) -> list[str]:
    """Local starts of a Berlin series from Monday 5 January 2026, nine o'clock."""
    given = {"start": datetime(2026, 1, 5, 9), "duration": timedelta(hours=1), "zone": "Europe/Berlin", **columns}
    found = expand(Span(**given), Recurrence(rules=(rule,)), None, begin, end)  # type: ignore[arg-type]
    where = recurrence.zone_of(Span(**given))  # type: ignore[arg-type]
    return [f"{one.start.astimezone(where):%m-%d %H:%M}" for one in found.occurrences]


@pytest.mark.parametrize(
    ("rule", "first"),
    [
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", ["01-05 09:00", "01-30 09:00", "02-27 09:00"]),
        ("FREQ=MONTHLY;BYMONTHDAY=31", ["01-05 09:00", "01-31 09:00", "03-31 09:00"]),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO;WKST=SU", ["01-05 09:00", "01-18 09:00", "01-19 09:00"]),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO;WKST=MO", ["01-05 09:00", "01-11 09:00", "01-19 09:00"]),
        ("FREQ=YEARLY;BYYEARDAY=100,-1", ["01-05 09:00", "04-10 09:00", "12-31 09:00"]),
        ("FREQ=YEARLY;BYWEEKNO=20", ["01-05 09:00", "05-11 09:00"]),
        ("FREQ=HOURLY;INTERVAL=5;BYDAY=MO", ["01-05 09:00", "01-05 14:00", "01-05 19:00", "01-12 01:00"]),
        ("FREQ=DAILY;BYHOUR=9,17;BYMINUTE=0,30;COUNT=3", ["01-05 09:00", "01-05 09:30", "01-05 17:00"]),
        ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", ["01-05 09:00"]),
        ("FREQ=DAILY;UNTIL=20260107", ["01-05 09:00", "01-06 09:00", "01-07 09:00"]),
        ("FREQ=DAILY;UNTIL=20260107T080000Z", ["01-05 09:00", "01-06 09:00", "01-07 09:00"]),
        ("FREQ=DAILY;UNTIL=20260107T075959Z", ["01-05 09:00", "01-06 09:00"]),
        ("FREQ=DAILY;COUNT=2;BYDAY=WE", ["01-05 09:00", "01-07 09:00"]),
    ],
)
def test_expand_of_a_rule_gives_its_days(rule: str, first: list[str]) -> None:
    found = starts(rule)
    assert found[: len(first)] == first
    if "COUNT" in rule or "UNTIL" in rule or rule.endswith("=30"):
        assert len(found) == len(first)


def test_expand_stays_at_nine_when_the_clocks_change() -> None:
    begin, end = datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)
    assert starts("FREQ=DAILY", begin, end) == ["03-28 09:00", "03-29 09:00", "03-30 09:00"]


@pytest.mark.parametrize(
    ("rule", "most"),
    [
        ("FREQ=SECONDLY", 2000),
        ("FREQ=SECONDLY;COUNT=1000000000", 2000),
        ("FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30", 1),
        ("FREQ=MINUTELY;BYSECOND=1,2,3,4,5;BYHOUR=1", 2000),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;COUNT=3", 1),
        ("FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7;BYMINUTE=0,1,2,3,4,5,6,7,8;BYSECOND=1,2,3,4,5,6", 2000),
        ("FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYHOUR=1,2,3,4,5,6;BYSETPOS=366", 5),
    ],
)
def test_expand_of_a_hostile_rule_is_bounded_and_says_when_it_is_cut_off(rule: str, most: int) -> None:
    series = Span(datetime(2025, 12, 30, 9), timedelta(hours=1), "Europe/Berlin")
    started = time.monotonic()
    found = expand(series, Recurrence(rules=(rule,)), None, BEGIN, END)
    took = time.monotonic() - started
    assert len(found.occurrences) <= most
    assert found.cut or len(found.occurrences) < 2000
    assert took < 1


@pytest.mark.parametrize("start", [datetime(1, 1, 1), datetime(1601, 1, 1), datetime(9999, 12, 31, 23)])
@pytest.mark.parametrize(
    "rule", ["FREQ=DAILY", "FREQ=YEARLY;INTERVAL=100000", "FREQ=SECONDLY;INTERVAL=7", "FREQ=WEEKLY"]
)
def test_expand_at_the_ends_of_time_does_not_break(start: datetime, rule: str) -> None:
    far = datetime(9999, 12, 30, tzinfo=UTC)
    for begin, end in ((BEGIN, END), (far - timedelta(days=30), far), (datetime(1, 1, 1, tzinfo=UTC), BEGIN)):
        expand(Span(start, timedelta(days=3), "Pacific/Kiritimati"), Recurrence(rules=(rule,)), None, begin, end)


def test_expand_is_half_open_and_counts_an_event_without_length_at_its_moment() -> None:
    nine = datetime(2026, 1, 5, 8, tzinfo=UTC)
    hour = timedelta(hours=1)
    assert starts("FREQ=DAILY", nine - hour, nine) == []
    assert starts("FREQ=DAILY", nine + hour, nine + 2 * hour) == []
    assert starts("FREQ=DAILY", nine, nine + hour) == ["01-05 09:00"]
    assert starts("FREQ=DAILY", nine, nine + hour, duration=timedelta(0)) == ["01-05 09:00"]
    assert starts("FREQ=DAILY", nine + hour, nine + 2 * hour, duration=timedelta(0)) == []


def test_expand_of_a_rest_that_is_moved_shifts_every_later_one() -> None:
    one = Series(
        datetime(2026, 1, 5, 9),
        60,
        "Europe/Berlin",
        "FREQ=WEEKLY",
        moved=((datetime(2026, 1, 19, 9), datetime(2026, 1, 20, 14)),),
    )
    ics = one.ics().replace("RECURRENCE-ID;", "RECURRENCE-ID;RANGE=THISANDFUTURE;")
    found = expanded(ics, BEGIN, datetime(2026, 4, 3, tzinfo=UTC)).occurrences
    times = [f"{event.start:%m-%d %H:%M} {event.source.title}" for event in found]
    assert times[:3] == ["01-05 08:00 Series", "01-12 08:00 Series", "01-20 13:00 Moved"]
    assert times[-1] == "03-31 12:00 Moved"  # summer time: still two in the afternoon
    assert found[2].key == "20260119T080000Z"


def test_expand_of_a_rest_that_is_cancelled_ends_the_series() -> None:
    one = Series(datetime(2026, 1, 5, 9), 60, "Europe/Berlin", "FREQ=WEEKLY", cancelled=(datetime(2026, 1, 19, 9),))
    ics = one.ics().replace("RECURRENCE-ID;", "RECURRENCE-ID;RANGE=THISANDFUTURE;")
    assert len(expanded(ics, BEGIN, END).occurrences) == 2


def test_expand_sees_an_occurrence_that_was_moved_into_the_stretch_from_far_away() -> None:
    one = Series(
        datetime(2026, 1, 5, 9),
        60,
        "Europe/Berlin",
        "FREQ=WEEKLY",
        moved=((datetime(2026, 1, 19, 9), datetime(2026, 9, 1, 7)),),
    )
    day = expanded(one.ics(), datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 9, 2, tzinfo=UTC)).occurrences
    assert [event.key for event in day] == ["20260119T080000Z"]
    assert not expanded(one.ics(), datetime(2026, 1, 19, tzinfo=UTC), datetime(2026, 1, 20, tzinfo=UTC)).occurrences


def test_expand_of_a_period_among_the_added_times_has_its_own_length() -> None:
    added = ((datetime(2026, 1, 7, 9, tzinfo=UTC), timedelta(hours=5)),)
    found = expand(Span(datetime(2026, 1, 5, 9), timedelta(hours=1), "UTC"), Recurrence(added=added), None, BEGIN, END)
    assert [one.end - one.start for one in found.occurrences] == [timedelta(hours=1), timedelta(hours=5)]


def test_expand_of_an_excluded_day_leaves_out_its_times() -> None:
    rules = Recurrence(("FREQ=DAILY;COUNT=3",), left_out_days=frozenset({datetime(2026, 1, 6)}))
    found = expand(Span(datetime(2026, 1, 5, 9), timedelta(hours=1), "UTC"), rules, None, BEGIN, END)
    assert [one.start.day for one in found.occurrences] == [5, 7]


@pytest.mark.parametrize(
    ("rule", "over"),
    [
        ("FREQ=DAILY", None),
        ("FREQ=DAILY;COUNT=3", 9),
        ("FREQ=DAILY;UNTIL=20260110", 13),
        ("FREQ=SECONDLY;COUNT=99999999", None),
    ],
)
def test_last_end_says_when_a_series_surely_is_over(rule: str, over: int | None) -> None:
    end = recurrence.last_end(Span(datetime(2026, 1, 5, 9), timedelta(hours=1), "UTC"), Recurrence(rules=(rule,)))
    assert (end and end.day) == over
