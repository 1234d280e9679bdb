"""Google's events as records: developers.google.com/workspace/calendar/api/v3/reference/events.

Called by `provider`. A series and each of its changed or cancelled instances is a resource of its own there, so that an
instance may come before its series or without it. What cannot be read becomes a resource with its `problem`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

from calendar_sync import ics, zones
from calendar_sync.content import BadCalendar, clean
from calendar_sync.providers.google.answers import Json, child, is_set, objects, text
from calendar_sync.records import (
    CANCELLED,
    CONFIDENTIAL,
    CONFIRMED,
    NEEDS_ACTION,
    PRIVATE,
    PUBLIC,
    RESPONSES,
    TENTATIVE,
    Invited,
    Person,
    Recurrence,
    RemoteEvent,
    RemoteResource,
    Span,
    key_of,
)

_STATUS = {TENTATIVE: TENTATIVE, CANCELLED: CANCELLED}
_VISIBILITY = {"private": PRIVATE, "confidential": CONFIDENTIAL}


def is_gone(item: Json) -> bool:
    """Whether this tells of a deletion: a cancelled event that is no instance of a series. Of a cancelled instance a
    series has to know for as long as it is there itself."""
    return text(item, "status") == CANCELLED and not text(item, "recurringEventId")


def resource_of(item: Json, time_zone: str) -> RemoteResource:
    """The event in an item that is not gone. `time_zone` is the calendar's."""
    events: tuple[RemoteEvent, ...] = ()
    problem = ""
    try:
        events = (_event(item, time_zone),)
    except BadCalendar as error:
        problem = str(error)
    return RemoteResource(
        remote_id=text(item, "id"),
        etag=text(item, "etag"),
        raw=json.dumps(item, ensure_ascii=True, separators=(",", ":")),
        events=events,
        problem=problem,
        series_remote_id=text(item, "recurringEventId"),
    )


def _event(item: Json, time_zone: str) -> RemoteEvent:
    span, key = _span(item, time_zone), _key(item, time_zone)
    organizer = child(item, "organizer")
    return RemoteEvent(
        uid=clean(text(item, "iCalUID"), ics.MAX_UID),
        span=span,
        title=" ".join(clean(text(item, "summary"), ics.MAX_TITLE).split()),
        description=clean(text(item, "description"), ics.MAX_TEXT),
        location=clean(text(item, "location"), ics.MAX_PLACE),
        conference_url=_conference(item),
        status=_STATUS.get(text(item, "status"), CONFIRMED),
        visibility=_VISIBILITY.get(text(item, "visibility"), PUBLIC),
        busy=text(item, "transparency") != "transparent",
        organizer=Person(*_who(organizer)) if organizer else None,
        attendees=tuple(_attendees(item)),
        recurrence=Recurrence() if key else _recurrence(item, span, time_zone),
        recurrence_key=key,
        sequence=_sequence(item),
    )


# --- times --------------------------------------------------------------------------------------------------------


def _span(item: Json, time_zone: str) -> Span:
    """Of a cancelled instance, of which only that is promised, its original start."""
    given = child(item, "start") or (child(item, "originalStartTime") if text(item, "status") == CANCELLED else {})
    if not given:
        raise BadCalendar("An event has no start.")
    start, zone = _moment(given, time_zone)
    ended = child(item, "end")
    end, _ = _moment(ended, time_zone) if ended else (start, zone)
    if (start.tzinfo is None) != (end.tzinfo is None):
        raise BadCalendar("An event begins at a time and ends on a day.")
    length = max(timedelta(0), end - start)
    if length > ics.MAX_DURATION:
        raise BadCalendar("An event lasts longer than ten years.")
    if start.tzinfo is None:
        return Span(start, max(length, timedelta(days=1)), all_day=True)
    return Span(zones.wall(start, zones.zone(zone)), length, zone)


def _moment(given: Json, time_zone: str) -> tuple[datetime, str]:
    """An instant and the name of its zone; of a day its midnight, without zone."""
    try:
        if day := text(given, "date"):
            return datetime.combine(date.fromisoformat(day), time()), ""
        moment = datetime.fromisoformat(text(given, "dateTime")).replace(microsecond=0)
    except ValueError:
        raise BadCalendar("An event's time is no date and no time.") from None
    zone = _zone(text(given, "timeZone"), time_zone)
    if moment.tzinfo is None:
        return zones.instant(moment, zones.zone(zone)), zone
    return moment, zone


def _zone(name: str, time_zone: str) -> str:
    """The event's own zone, else the calendar's; Google also has fixed ones ("GMT+02:00")."""
    return zones.named(name) or zones.offset_named(name) or zones.named(time_zone) or "UTC"


def _key(item: Json, time_zone: str) -> str:
    """Which instance of its series this is; "" where it is none."""
    if not text(item, "recurringEventId"):
        return ""
    original = child(item, "originalStartTime")
    if not original:
        raise BadCalendar("A changed occurrence does not say which one it is.")
    moment, _ = _moment(original, time_zone)
    return key_of(moment, all_day=moment.tzinfo is None)


def _recurrence(item: Json, span: Span, time_zone: str) -> Recurrence:
    given = item.get("recurrence")
    lines = [line for line in given if isinstance(line, str)] if isinstance(given, list) else []
    return ics.read_recurrence(lines, span, time_zone=time_zone) if lines else Recurrence()


# --- people and places --------------------------------------------------------------------------------------------


def _who(person: Json) -> tuple[str, str]:
    email = clean(text(person, "email"), ics.MAX_ADDRESS + 1)
    fits = "@" in email and len(email) <= ics.MAX_ADDRESS
    return email if fits else "", clean(text(person, "displayName"), ics.MAX_NAME)


def _attendees(item: Json) -> Iterator[Invited]:
    for person in objects(item, "attendees")[: ics.MAX_ATTENDEES]:
        email, name = _who(person)
        response = text(person, "responseStatus")
        yield Invited(
            email=email,
            name=name,
            response=response if response in RESPONSES else NEEDS_ACTION,
            optional=is_set(person, "optional"),
            is_resource=is_set(person, "resource"),
        )


def _conference(item: Json) -> str:
    """Where to join: the conference's video entry, Google's own link, else a link of a known service in the text."""
    entries = objects(child(item, "conferenceData"), "entryPoints")
    video = next((text(one, "uri") for one in entries if text(one, "entryPointType") == "video"), "")
    for link in (video, text(item, "hangoutLink")):
        if link.startswith("https://"):
            return clean(link, ics.MAX_URL)
    return ics.meeting_link(text(item, "location"), text(item, "description"))


def _sequence(item: Json) -> int:
    value = item.get("sequence")
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1_000_000_000 else 0
