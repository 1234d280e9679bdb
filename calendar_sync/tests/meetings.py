"""Meetings as people's programs write them: random series in every dress iCalendar has, always the same ones.

A `Series` is the time of it; `dressed` gives it zones under other names, floating times, words, people, privacy,
periods, a rest that was moved, alarms and properties nobody knows.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from calendar_sync.tests.series import Series, series
from calendar_sync.tests.test_zones import BERLIN_AS_CUSTOM

CUSTOM_NAME = "Customized Time Zone"
CUSTOM_ZONE = BERLIN_AS_CUSTOM.partition("\n")[2].rpartition("END:VCALENDAR")[0]
WINDOWS_NAME = "W. Europe Standard Time"
WORDS = (
    "Lunch\\, later",
    "Großes Treffen 🎉",
    "Quarterly: \\n second line",
    "x" * 300,
    "半年の会議" * 30,
    "a\\;b\\\\c",
)
PEOPLE = (
    'ORGANIZER;CN="Lovelace, Ada":mailto:ada@contract.test',
    "ATTENDEE;CN=Bob;PARTSTAT=ACCEPTED:mailto:bob@example.com",
    'ATTENDEE;CN="O\'Neil: Eve";PARTSTAT=DECLINED;ROLE=OPT-PARTICIPANT:mailto:eve@example.com',
    "ATTENDEE;CUTYPE=ROOM;CN=Room 1:mailto:room@example.com",
)
ALARM = ["BEGIN:VALARM", "ACTION:DISPLAY", "TRIGGER:-PT15M", "DESCRIPTION:Soon", "END:VALARM"]
LONG = 20 * 1440


@dataclass(frozen=True)
class Meeting:
    """One resource; `dress` says what is special about it."""

    number: int
    dress: str
    ics: str


def meetings(count: int, seed: int = 6, *, without: Collection[str] = ()) -> list[Meeting]:
    """So many, in every dress by turns."""
    names = [name for name in DRESSES if name not in without]
    return [dressed(one, number, names[number % len(names)]) for number, one in enumerate(_generated(count, seed))]


def _generated(count: int, seed: int) -> list[Series]:
    found: list[Series] = []

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(series(), min_size=1, max_size=1))
    def collect(some: list[Series]) -> None:
        found.extend(some)

    random.seed(seed)
    collect()
    return (found * (1 + count // max(1, len(found))))[:count]


def dressed(one: Series, number: int, dress: str) -> Meeting:
    """The resource of it, with a UID of its own."""
    text = DRESSES[dress](one, random.Random(number))
    return Meeting(number, dress, text.replace("UID:series@test", f"UID:{number}@test"))


def _plain(one: Series, dice: random.Random) -> str:
    return one.ics()


def _in_windows_words(one: Series, dice: random.Random) -> str:
    return _defined(one, WINDOWS_NAME)


def _in_a_zone_of_its_own(one: Series, dice: random.Random) -> str:
    return _defined(one, CUSTOM_NAME)


def _defined(one: Series, name: str) -> str:
    """By another name for Berlin's clocks, with its definition."""
    text = replace(one, zone="Europe/Berlin").ics().replace("TZID=Europe/Berlin", f"TZID={name}")
    zone = "\r\n".join(CUSTOM_ZONE.replace(CUSTOM_NAME, name).strip().splitlines())
    return text.replace("BEGIN:VEVENT", f"{zone}\r\nBEGIN:VEVENT", 1)


def _floating(one: Series, dice: random.Random) -> str:
    return re.sub(r";TZID=[^:]*:", ":", replace(one, zone="Europe/Berlin").ics())


def _all_day(one: Series, dice: random.Random) -> str:
    return replace(
        one, all_day=True, start=_day(one.start), exdates=tuple(map(_day, one.exdates)),
        rdates=tuple(map(_day, one.rdates)), cancelled=tuple(map(_day, one.cancelled)),
        moved=tuple((_day(before), _day(before) + timedelta(days=1)) for before, _ in one.moved),
    ).ics()  # fmt: skip


def _day(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0)


def _with_a_rest(one: Series, dice: random.Random) -> str:
    """All from one occurrence on are later, or cancelled."""
    first = one.start + timedelta(days=7)
    made = Series(one.start, one.minutes, one.zone, f"FREQ=WEEKLY;COUNT={dice.randint(3, 12)}")
    moved = dice.random() < 0.7
    made = replace(made, moved=((first, first + timedelta(hours=2)),)) if moved else replace(made, cancelled=(first,))
    return re.sub(r"RECURRENCE-ID(?=[;:])", "RECURRENCE-ID;RANGE=THISANDFUTURE", made.ics())


def _with_periods(one: Series, dice: random.Random) -> str:
    begin = (one.start + timedelta(days=dice.randint(1, 60))).strftime("%Y%m%dT%H%M%SZ")
    timed = replace(one, all_day=False, zone="America/New_York")
    return timed.ics().replace(
        "SUMMARY:Series", f"RDATE;VALUE=PERIOD:{begin}/PT{dice.randint(1, 9)}H\r\nSUMMARY:Series"
    )


def _long(one: Series, dice: random.Random) -> str:
    return replace(one, minutes=LONG + dice.randint(0, 600)).ics()


def _by_the_clock(one: Series, dice: random.Random) -> str:
    """With a DURATION instead of an end."""
    text = replace(one, all_day=False).ics()
    return re.sub(r"DTEND[^\r]*", f"DURATION:P{dice.randint(0, 2)}DT{dice.randint(1, 9)}H", text)


def _private(one: Series, dice: random.Random) -> str:
    lines = [
        dice.choice(["CLASS:PRIVATE", "CLASS:CONFIDENTIAL"]),
        dice.choice(["STATUS:TENTATIVE", "TRANSP:TRANSPARENT"]),
    ]
    return one.ics().replace("SUMMARY:Series", "\r\n".join([*lines, "SEQUENCE:3", "SUMMARY:Series"]))


def _with_people_and_words(one: Series, dice: random.Random) -> str:
    lines = [f"SUMMARY:{dice.choice(WORDS)}", f"DESCRIPTION:{dice.choice(WORDS)}", f"LOCATION:{dice.choice(WORDS)}"]
    lines += [*PEOPLE[: dice.randint(1, 4)], "X-OWN;X-A=b:kept as it is", "URL:https://meet.google.com/abc-defg-hij"]
    folded = "\r\n".join(_folded(line) for line in [*lines, *ALARM])
    return one.ics().replace("SUMMARY:Series", folded, 1)


def _folded(line: str) -> str:
    """At 70 octets and less, between characters (RFC 5545 3.1)."""
    pieces, piece = [], ""
    for letter in line:
        if len((piece + letter).encode()) > 70:
            pieces.append(piece)
            piece = " "
        piece += letter
    return "\r\n".join([*pieces, piece])


DRESSES: dict[str, Callable[[Series, random.Random], str]] = {
    "plain": _plain,
    "windows": _in_windows_words,
    "own zone": _in_a_zone_of_its_own,
    "floating": _floating,
    "all day": _all_day,
    "rest": _with_a_rest,
    "periods": _with_periods,
    "long": _long,
    "duration": _by_the_clock,
    "private": _private,
    "people": _with_people_and_words,
}
