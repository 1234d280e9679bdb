"""Random series of events, as iCalendar text and as records, and what an independent engine makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import recurring_ical_events
from hypothesis import strategies as st
from icalendar import Calendar

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo", "UTC")
NIGHTS = (
    datetime(2026, 3, 29, 2, 30), datetime(2026, 10, 25, 2, 30), datetime(2026, 3, 8, 2, 15),
    datetime(2026, 11, 1, 1, 45), datetime(2026, 4, 5, 1, 45), datetime(2026, 10, 4, 2, 10),
)  # fmt: skip
"""When clocks go forward or back in one of ZONES."""
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


@dataclass(frozen=True)
class Series:
    """A series as its author would send it."""

    start: datetime
    minutes: int
    zone: str
    rule: str
    all_day: bool = False
    exdates: tuple[datetime, ...] = ()
    rdates: tuple[datetime, ...] = ()
    moved: tuple[tuple[datetime, datetime], ...] = ()
    """Occurrences that are at another time: original start, new start."""
    cancelled: tuple[datetime, ...] = ()

    def _when(self, name: str, moment: datetime) -> str:
        if self.all_day:
            return f"{name};VALUE=DATE:{moment:%Y%m%d}"
        if self.zone == "UTC":
            return f"{name}:{moment:%Y%m%dT%H%M%S}Z"
        return f"{name};TZID={self.zone}:{moment:%Y%m%dT%H%M%S}"

    def _event(self, start: datetime, *more: str) -> list[str]:
        length = timedelta(days=1 + self.minutes // 600) if self.all_day else timedelta(minutes=self.minutes)
        when = [self._when("DTSTART", start), self._when("DTEND", start + length)]
        return ["BEGIN:VEVENT", "UID:series@test", "DTSTAMP:20260101T000000Z", *when, *more, "END:VEVENT"]

    def ics(self) -> str:
        """The whole resource."""
        more = [f"RRULE:{self.rule}"] if self.rule else []
        more += [self._when("EXDATE", moment) for moment in self.exdates]
        more += [self._when("RDATE", moment) for moment in self.rdates]
        lines = [
            "BEGIN:VCALENDAR",
            "VERSION:2.0",
            "PRODID:-//test//EN",
            *self._event(self.start, "SUMMARY:Series", *more),
        ]
        for original, new in self.moved:
            lines += self._event(new, self._when("RECURRENCE-ID", original), "SUMMARY:Moved")
        for original in self.cancelled:
            lines += self._event(original, self._when("RECURRENCE-ID", original), "STATUS:CANCELLED", "SUMMARY:Off")
        return "\r\n".join([*lines, "END:VCALENDAR", ""])


@st.composite
def rule_texts(draw: st.DrawFn, start: datetime) -> str:
    """A rule whose first occurrence is `start`, so that all engines agree what COUNT counts."""
    frequency = draw(st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]))
    parts = [f"FREQ={frequency}", f"INTERVAL={draw(st.integers(1, 4))}"]
    weekday, week = WEEKDAYS[start.weekday()], (start.day - 1) // 7 + 1
    others = draw(st.lists(st.sampled_from(WEEKDAYS), max_size=3, unique=True))
    if frequency == "WEEKLY" and draw(st.booleans()):
        parts.append("BYDAY=" + ",".join(sorted({weekday, *others})))
    elif frequency == "MONTHLY":
        shapes = [f"BYMONTHDAY={start.day}", f"BYDAY={week}{weekday}", f"BYDAY={weekday}"]
        days = sorted({weekday, *others})
        shapes += [f"BYMONTHDAY={start.day},-1", "", f"BYDAY={','.join(days)}"]
        parts.append(draw(st.sampled_from(shapes)))
    elif frequency == "YEARLY":
        parts.append(draw(st.sampled_from([
            "", f"BYMONTH={start.month}", f"BYMONTH={start.month};BYDAY={week}{weekday}",
            f"BYYEARDAY={start.timetuple().tm_yday}", f"BYMONTH={start.month},12;BYMONTHDAY={start.day}",
            f"BYWEEKNO={start.isocalendar().week};BYDAY={weekday}",
        ])))  # fmt: skip
    if draw(st.booleans()):
        parts.append(f"COUNT={draw(st.integers(1, 40))}")
    elif draw(st.booleans()):
        parts.append(f"UNTIL={start + timedelta(days=draw(st.integers(0, 500))):%Y%m%d}T235959Z")
    if draw(st.booleans()):
        parts.append(f"WKST={draw(st.sampled_from(WEEKDAYS))}")
    return ";".join(filter(None, parts))


@st.composite
def series(draw: st.DrawFn) -> Series:
    """A series with single days added, left out, moved and cancelled."""
    all_day = draw(st.integers(0, 4)) == 0
    start = draw(st.one_of(st.sampled_from(NIGHTS), st.datetimes(datetime(2025, 10, 1), datetime(2026, 12, 31))))
    start = start.replace(second=0, microsecond=0, fold=0) - timedelta(days=draw(st.sampled_from([0, 0, 7, 28])))
    if all_day:
        start = start.replace(hour=0, minute=0)
    rule = draw(rule_texts(start)) if draw(st.integers(0, 5)) else ""
    days = st.integers(1, 60).map(lambda number: start + timedelta(days=number))
    left_out = tuple(draw(st.lists(days, max_size=3, unique=True))) if rule else ()
    shift = timedelta(days=1) if all_day else timedelta(hours=3, minutes=7)
    changed = [day for day in draw(st.lists(days, max_size=3, unique=True)) if day not in left_out] if rule else []
    return Series(
        start=start, minutes=draw(st.sampled_from([0, 15, 60, 1500])), zone=draw(st.sampled_from(ZONES)), rule=rule,
        all_day=all_day, exdates=left_out, rdates=tuple(draw(st.lists(days, max_size=2, unique=True))),
        moved=tuple((day, day + shift) for day in changed[:2]), cancelled=tuple(changed[2:]),
    )  # fmt: skip


def independent(ics: str, begin: datetime, end: datetime) -> list[tuple[str, str]]:
    """(start, title) of every occurrence that `recurring_ical_events` sees in the stretch."""
    found = []
    for event in recurring_ical_events.of(Calendar.from_ical(ics)).between(begin, end):
        if str(event.get("STATUS", "")) == "CANCELLED":
            continue
        start = event["DTSTART"].dt
        moment = start if isinstance(start, date) and not isinstance(start, datetime) else start.timestamp()
        found.append((str(moment), str(event.get("SUMMARY", ""))))
    return sorted(found)
