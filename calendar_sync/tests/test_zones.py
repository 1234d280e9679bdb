"""Zones by every kind of name, and what the clocks skip or show twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from calendar_sync import content, definitions, zones
from calendar_sync.content import BadCalendar

BERLIN_AS_CUSTOM = """BEGIN:VCALENDAR
BEGIN:VTIMEZONE
TZID:Customized Time Zone
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT
END:VTIMEZONE
END:VCALENDAR
"""


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("W. Europe Standard Time", "Europe/Berlin"),
        ('"Pacific Standard Time"', "America/Los_Angeles"),
        ("/freeassociation.sourceforge.net/Tzfile/Europe/Berlin", "Europe/Berlin"),
        ("/softwarestudio.org/Olson_20011030_5/America/Indiana/Knox", "America/Indiana/Knox"),
        ("tzone://Microsoft/Utc", "UTC"),
        ("Etc/UTC", "UTC"),
        ("GMT", "UTC"),
        ("Customized Time Zone", ""),
        ("", ""),
        ("../../etc/passwd", ""),
        ("Europe/" + "x" * 500, ""),
        ("US/Pacific-New", ""),
    ],
)
def test_named_maps_what_events_call_zones(name: str, known: str) -> None:
    assert zones.named(name) == known


def test_zone_of_a_fixed_offset_has_it() -> None:
    where = zones.zone(zones.offset_named("GMT-0330"))
    assert zones.instant(datetime(2026, 7, 1, 12), where) == datetime(2026, 7, 1, 15, 30, tzinfo=UTC)


def test_instant_the_clocks_skipped_is_read_by_the_offset_before() -> None:
    where = zones.zone("Europe/Berlin")
    assert zones.instant(datetime(2026, 3, 29, 2, 30), where) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_instant_shown_twice_is_the_first() -> None:
    where = zones.zone("Europe/Berlin")
    assert zones.instant(datetime(2026, 10, 25, 2, 30), where) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_definition_of_a_known_zone_agrees_with_it_every_half_hour_around_every_change() -> None:
    [calendar] = content.read(BERLIN_AS_CUSTOM)
    defined = zones.zone("Customized Time Zone", definitions.rules_of(calendar.children[0]))
    known = ZoneInfo("Europe/Berlin")
    for year in range(2001, 2036, 7):
        for month in (1, 3, 7, 10):
            for step in range(24 * 62):
                wall = datetime(year, month, 1) + timedelta(minutes=30 * step)
                assert wall.replace(tzinfo=defined).utcoffset() == wall.replace(tzinfo=known).utcoffset(), wall
        for moment in (datetime(year, 3, 31, 1, tzinfo=UTC), datetime(year, 10, 25, 0, 30, tzinfo=UTC)):
            for minutes in (-90, -30, 0, 30, 60, 90):
                at = moment + timedelta(minutes=minutes)
                ours, theirs = at.astimezone(defined), at.astimezone(known)
                assert (ours.replace(tzinfo=None), ours.fold) == (theirs.replace(tzinfo=None), theirs.fold), at


@pytest.mark.parametrize(
    "line",
    ["RRULE:FREQ=SECONDLY", "RRULE:FREQ=YEARLY;INTERVAL=0", "TZOFFSETTO:+9900", "DTSTART:garbage", "RRULE:FREQ=DAILY"],
)
def test_definition_that_explodes_or_means_nothing_is_refused(line: str) -> None:
    name = line.partition(":")[0]
    text = BERLIN_AS_CUSTOM.replace("RRULE", "X-OLD", 1) if name == "RRULE" else BERLIN_AS_CUSTOM
    lines = [line if one.startswith(f"{name}:") else one for one in text.splitlines()]
    lines.insert(4, line)
    [calendar] = content.read("\n".join(lines))
    with pytest.raises(BadCalendar):
        definitions.rules_of(calendar.children[0])
