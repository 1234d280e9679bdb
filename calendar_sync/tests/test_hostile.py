"""What a stranger's invitation may do: whatever it says, reading it and working out its times ends soon, with words.

Bounds are of CPU time and far above what was measured, so that a busy machine fails nothing; without the bounds in the
code these texts take from ten seconds to hours.
"""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from calendar_sync import recurrence
from calendar_sync.content import MAX_CHARACTERS, BadCalendar
from calendar_sync.ics import MAX_RULES, MAX_TIMES, read_events
from calendar_sync.models import CalendarEvent, Occurrence
from calendar_sync.records import RemoteResource
from calendar_sync.recurrence import MOST, Change
from calendar_sync.services import store
from calendar_sync.tests.factories import connect, make_calendar
from workspaces.tests.fixtures import Actor

SECONDS = 5.0
MEGABYTES = 200
BEGIN, END = datetime(2025, 11, 1, tzinfo=UTC), datetime(2028, 11, 1, tzinfo=UTC)
START = "DTSTART:20260105T090000Z"
IN_X = "DTSTART;TZID=X:20260105T090000"


def resource(*events: str, before: str = "") -> str:
    return f"BEGIN:VCALENDAR\r\n{before}{''.join(events)}END:VCALENDAR\r\n"


def event(*lines: str) -> str:
    return "\r\n".join(["BEGIN:VEVENT", "UID:1", *lines, "END:VEVENT", ""])


def zone(name: str = "X", parts: int = 5, rule: str = "FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10") -> str:
    part = "BEGIN:STANDARD\r\nDTSTART:19700101T0{}0000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nRRULE:{}\r\n"
    return f"BEGIN:VTIMEZONE\r\nTZID:{name}\r\n" + "".join(
        part.format(number % 10, rule) + "END:STANDARD\r\n" for number in range(parts)
    ) + "END:VTIMEZONE\r\n"  # fmt: skip


def rest(number: int) -> str:
    clock = f"20260105T{9 + number // 3600:02}{number // 60 % 60:02}{number % 60:02}Z"
    return event(f"RECURRENCE-ID;RANGE=THISANDFUTURE:{clock}", f"DTSTART:{clock}")


TIMES = ",".join(f"2026{1 + n % 12:02}{1 + n % 28:02}T{n % 24:02}{n % 60:02}00Z" for n in range(MAX_TIMES))
HOSTILE = {
    "rules": resource(event(START, *["RRULE:FREQ=DAILY;COUNT=29000"] * MAX_RULES)),
    "excluded rules": resource(event(START, "RRULE:FREQ=SECONDLY", *["EXRULE:FREQ=SECONDLY"] * MAX_RULES)),
    "a zone asked for again and again": resource(
        event(IN_X, "RRULE:FREQ=DAILY", f"EXDATE;TZID=X:{TIMES.replace('Z', '')}"), before=zone()
    ),
    "a zone for many events": resource(*[event(IN_X, "DTEND;TZID=X:20260105T100000")] * 1000, before=zone()),
    "many zones": resource(
        *(event(f"DTSTART;TZID=X{n}:20260105T090000") for n in range(400)),
        before="".join(zone(f"X{n}", 2) for n in range(400)),
    ),
    "a zone that never rests": resource(event(IN_X), before=zone(rule="FREQ=SECONDLY")),
    "rests": resource(event(START, "RRULE:FREQ=SECONDLY"), *map(rest, range(2900))),
    "listed times": resource(event(START, f"RDATE:{TIMES}", f"EXDATE:{TIMES}")),
    "long and often": resource(event(START, "DURATION:P3650D", "RRULE:FREQ=SECONDLY")),
    "parameters": resource(event(START, *[f"ATTENDEE;{';'.join(['X=a'] * 9000)}:mailto:a@b.c"] * 20)),
    "half a link": resource(event(START, "DESCRIPTION:" + "https://a." * 90_000)),
    "a long host": resource(event(START, "DESCRIPTION:https://" + "a." * 400_000)),
    "an open quote": resource(event(START, *['ATTENDEE;CN="' + "a;" * 15_000 + ":mailto:a@b.c"] * 30)),
    "backslashes": resource(event(START, "SUMMARY:" + "\\" * 900_000)),
    "carets": resource(event(START, "ATTENDEE;CN=" + "^n" * 400_000 + ":mailto:a@b.c")),
    "folds": resource(event(START, "SUMMARY:a" + "\r\n b" * 190_000)),
}


def times(text: str) -> recurrence.Expansion[str]:
    """As the writer works them out."""
    master, *others = read_events(text)
    changes = [Change(one.recurrence_key, one.span, one.title, following=one.following) for one in others]
    recurrence.last_end(master.span, master.recurrence)
    return recurrence.expand(master.span, master.recurrence, "", BEGIN, END, changes=changes)


def spent(text: str) -> tuple[float, int]:
    """Seconds of CPU, and how many occurrences; a refusal is an answer."""
    began = time.process_time()
    try:
        found = len(times(text).occurrences)
    except BadCalendar:
        found = 0
    return time.process_time() - began, found


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_text_is_read_and_worked_out_or_refused_soon(name: str) -> None:
    seconds, found = spent(HOSTILE[name])
    assert seconds < SECONDS
    assert found <= MOST + 3000


@pytest.mark.parametrize("name", ["rules", "listed times", "rests", "folds", "parameters"])
def test_hostile_text_takes_no_more_memory_than_its_size_accounts_for(name: str) -> None:
    tracemalloc.start()
    try:
        spent(HOSTILE[name])
        assert tracemalloc.get_traced_memory()[1] < MEGABYTES * 1_000_000
    finally:
        tracemalloc.stop()


def test_more_rules_than_anybody_needs_are_refused_in_words() -> None:
    with pytest.raises(BadCalendar, match="more than 100 of RRULE"):
        read_events(resource(event(START, *["RRULE:FREQ=DAILY"] * (MAX_RULES + 1))))


# --- random ones ------------------------------------------------------------------------------------------------------


def random_texts(count: int, seed: int) -> Iterator[str]:
    """Rules of every shape, many of them, over zones, lists and rests of every size."""
    dice = random.Random(seed)
    for _ in range(count):
        lines = [dice.choice([START, IN_X, "DTSTART:00010101", "DTSTART:99991231T235959Z", "DTSTART:16010101T000000"])]
        lines += [f"{dice.choice(['RRULE', 'EXRULE'])}:{_rule(dice)}" for _ in range(dice.choice([1, 1, 2, 90]))]
        if dice.random() < 0.4:
            lines.append(f"{dice.choice(['RDATE', 'EXDATE;TZID=X'])}:{TIMES[: 17 * dice.randint(1, MAX_TIMES) - 1]}")
        if dice.random() < 0.3:
            lines.append(f"DURATION:{dice.choice(['P9999W', 'PT99999999S', '-P1D', 'P3650D', 'PT0S'])}")
        rests = map(rest, range(dice.choice([0, 0, 0, 5, 800])))
        before = zone(parts=dice.randint(1, 40), rule=_rule(dice)) if dice.random() < 0.7 else ""
        yield resource(event(*lines), *rests, before=before)[:MAX_CHARACTERS]


def _rule(dice: random.Random) -> str:
    parts = [f"FREQ={dice.choice(['YEARLY', 'MONTHLY', 'WEEKLY', 'DAILY', 'HOURLY', 'MINUTELY', 'SECONDLY'])}"]
    extras = {
        "INTERVAL": dice.choice(["0", "1", "7", "100000"]),
        "COUNT": dice.choice(["1", "29000", "1000000000"]),
        "BYMONTH": dice.choice(["2", "1,2,3,4,5,6,7,8,9,10,11,12"]),
        "BYMONTHDAY": dice.choice(["30", "31", "-31,31"]),
        "BYDAY": dice.choice(["53MO", "MO,TU,WE,TH,FR,SA,SU", "-5SU"]),
        "BYYEARDAY": dice.choice(["366", "-366"]),
        "BYWEEKNO": dice.choice(["53", "-53"]),
        "BYHOUR": ",".join(map(str, range(24))),
        "BYMINUTE": ",".join(map(str, range(60))),
        "BYSECOND": ",".join(map(str, range(60))),
        "BYSETPOS": dice.choice(["366", "-1", "1,-1"]),
        "UNTIL": dice.choice(["99991231", "16010101T000000Z"]),
    }
    return ";".join(parts + [f"{name}={extras[name]}" for name in dice.sample(list(extras), dice.randint(0, 5))])


@pytest.mark.parametrize("count", [25, pytest.param(1000, marks=pytest.mark.chaos)])
def test_random_hostile_text_is_read_and_worked_out_or_refused_soon(count: int) -> None:
    for text in random_texts(count, seed=6):
        seconds, found = spent(text)
        assert seconds < SECONDS, text[:3000]
        assert found <= MOST + 3000


# --- what is stored ---------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_resource_that_says_everything_twice_is_stored_once(member: Actor) -> None:
    """Nobody may write so (RFC 4791 4.1), and servers take it."""
    series = [event(START, "RRULE:FREQ=DAILY;COUNT=3", f"SUMMARY:{words}", f"SEQUENCE:{n}")
              for n, words in enumerate(("Old", "New", "Old"))]  # fmt: skip
    series[2] = series[0]
    changed = event("RECURRENCE-ID:20260106T090000Z", "DTSTART:20260106T120000Z", "SUMMARY:Moved")
    events = read_events(resource(*series, changed, changed))
    calendar = make_calendar(connect(member))
    for _ in range(2):
        store.write(calendar=calendar, resources=[RemoteResource("/1.ics", "1", "", events)])
        titles = CalendarEvent.objects.order_by("recurrence_key").values_list("title", flat=True)
        assert list(titles) == ["New", "Moved"]
        assert Occurrence.objects.count() == 3
