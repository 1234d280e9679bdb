"""The calendars of `manage.py demo`: a week of somebody who works in a sales team, beginning on this Monday, at every
vendor whose mailboxes it connects.

Called by the demo command before the accounts are connected, by the simulator's control calls. What there is of an
event is said once, in `Meeting`, and each vendor's own words for it below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import cycle
from typing import Any
from urllib.parse import quote

from simulator.hubspot.control import generate
from simulator.process import Simulator

CONTACTS = 60
"""Of the demo's CRM, some of whom are invited and invite."""
ZONE = "Europe/Berlin"
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")
TEAM = "Team"


@dataclass(frozen=True)
class Meeting:
    """Something in the week: `day` counts from its Monday, `weekly` are the days on which it recurs."""

    title: str
    day: int
    start: str = ""
    """By the clock; "" for whole days."""
    minutes: int = 0
    days: int = 1
    weekly: tuple[int, ...] = ()
    guests: tuple[int, ...] = ()
    """Contacts, by number."""
    host: int | None = None
    """The contact who invites; None where the account does."""
    place: str = ""
    private: bool = False
    team: bool = False
    """In the team's calendar."""


WEEKS = (
    (
        Meeting("Standup", 0, "09:15", 15, weekly=(0, 1, 2, 3, 4), place="Meeting room 2"),
        Meeting("Planning", 0, "10:00", 60, weekly=(0,), place="Meeting room 1"),
        Meeting("Lunch with Sam", 0, "12:30", 60, place="Trattoria Roma"),
        Meeting("Offer for the second site", 1, "11:00", 45, guests=(3, 4)),
        Meeting("Quarterly review", 1, "14:00", 60, host=7, place="Their office"),
        Meeting("Dentist", 2, "08:00", 45, private=True),
        Meeting("Demo for the board", 4, "13:00", 90, guests=(3, 15, 16), place="Meeting room 1"),
        Meeting("Trade fair", 8, days=3, place="Cologne"),
        Meeting("Release", 3, team=True),
    ),
    (
        Meeting("Support round", 1, "08:30", 30, weekly=(1, 3), place="Meeting room 2"),
        Meeting("Contract: open questions", 2, "15:30", 30, guests=(7,)),
        Meeting("Site visit", 3, "13:00", 120, host=9, place="Their office"),
        Meeting("Parents' evening", 3, "18:00", 60, private=True),
        Meeting("Day off", 9),
        Meeting("On call", 0, days=7, team=True),
    ),
    (
        Meeting("One to one", 3, "16:00", 30, weekly=(3,)),
        Meeting("Introduction", 3, "10:30", 30, host=12),
        Meeting("Pricing workshop", 2, "10:00", 120, guests=(21, 22), place="Meeting room 3"),
        Meeting("Physiotherapy", 4, "08:00", 45, private=True),
        Meeting("Company outing", 11),
        Meeting("Retrospective", 4, "15:00", 60, weekly=(4,), team=True),
    ),
)
"""One for each account, in turn: together they are one busy person's."""


def monday_of(day: date) -> date:
    """When its week began."""
    return day - timedelta(days=day.weekday())


def seed(simulator: Simulator, accounts: Mapping[str, str], today: date) -> None:
    """A week for each account (address → vendor)."""
    people = [one.get("email", "") for one in generate("contacts", CONTACTS, 1)]
    write = {"google": _at_google, "microsoft": _at_microsoft}
    for (email, vendor), week in zip(accounts.items(), cycle(WEEKS), strict=False):
        write[vendor](simulator, email, Seeded(week, monday_of(today), people))


@dataclass(frozen=True)
class Seeded:
    """A week in its place."""

    meetings: Sequence[Meeting]
    monday: date
    people: Sequence[str]
    """The contacts' addresses, by number."""


def _moments(meeting: Meeting, monday: date) -> tuple[datetime, datetime]:
    """Start and end by the clock; of whole days midnights."""
    day = monday + timedelta(days=meeting.day)
    start = datetime.combine(day, time.fromisoformat(meeting.start or "00:00"))
    return start, start + (timedelta(minutes=meeting.minutes) if meeting.start else timedelta(days=meeting.days))


# --- Google -------------------------------------------------------------------------------------------------------


def _at_google(simulator: Simulator, email: str, week: Seeded) -> None:
    root = f"/calendar/{quote(email)}/calendars"
    team = f"team.{email.partition('@')[0]}@group.calendar.google.com"
    simulator.control("POST", root, {"id": team, "summary": TEAM, "color": "#f6bf26"})
    for meeting in week.meetings:
        calendar = quote(team if meeting.team else email)
        simulator.control("POST", f"{root}/{calendar}/events", _google(meeting, email, week))


def _google(meeting: Meeting, email: str, week: Seeded) -> dict[str, Any]:
    start, end = _moments(meeting, week.monday)
    body: dict[str, Any] = {"summary": meeting.title, "location": meeting.place}
    for name, moment in (("start", start), ("end", end)):
        timed = {"dateTime": f"{moment:%Y-%m-%dT%H:%M:%S}", "timeZone": ZONE}
        body[name] = timed if meeting.start else {"date": f"{moment:%Y-%m-%d}"}
    if meeting.weekly:
        names = ",".join(DAYS[day][:2].upper() for day in meeting.weekly)
        body["recurrence"] = [f"RRULE:FREQ=WEEKLY;BYDAY={names}"]
    if meeting.private:
        body["visibility"] = "private"
    if meeting.host is not None:
        host = {"email": week.people[meeting.host]}
        body |= {"organizer": host, "attendees": [host | {"responseStatus": "accepted"}, {"email": email}]}
    elif meeting.guests:
        own = {"email": email, "responseStatus": "accepted"}
        body["attendees"] = [own, *({"email": week.people[guest]} for guest in meeting.guests)]
    return body


# --- Microsoft ----------------------------------------------------------------------------------------------------


def _at_microsoft(simulator: Simulator, email: str, week: Seeded) -> None:
    root = f"/microsoft/{quote(email)}"
    team = simulator.control("POST", f"{root}/calendars", {"name": TEAM, "hex_color": "#f6bf26"})["id"]
    events = [
        _microsoft(meeting, email, week) | ({"calendar": team} if meeting.team else {}) for meeting in week.meetings
    ]
    simulator.control("POST", f"{root}/events", {"events": events})


def _microsoft(meeting: Meeting, email: str, week: Seeded) -> dict[str, Any]:
    start, end = _moments(meeting, week.monday)
    fields: dict[str, Any] = {
        "subject": meeting.title,
        "location": {"displayName": meeting.place},
        "isAllDay": not meeting.start,
        "sensitivity": "private" if meeting.private else "normal",
        "attendees": [_recipient(week.people[guest]) for guest in meeting.guests],
    }
    for name, moment in (("start", start), ("end", end)):
        fields[name] = {"dateTime": f"{moment:%Y-%m-%dT%H:%M:%S}", "timeZone": ZONE if meeting.start else "UTC"}
    if meeting.weekly:
        days = [DAYS[day] for day in meeting.weekly]
        pattern = {"type": "weekly", "interval": 1, "daysOfWeek": days, "firstDayOfWeek": "monday"}
        ends = {"type": "noEnd", "startDate": f"{start:%Y-%m-%d}", "recurrenceTimeZone": ZONE}
        fields["recurrence"] = {"pattern": pattern, "range": ends}
    if meeting.host is not None:
        host = week.people[meeting.host]
        invited = {"organizer": _recipient(host), "attendees": [_recipient(host), _recipient(email)]}
        fields |= invited | {"is_organizer": False, "response": "notResponded"}
    return fields


def _recipient(address: str) -> dict[str, Any]:
    return {"emailAddress": {"address": address, "name": address.partition("@")[0].title()}, "type": "required"}
