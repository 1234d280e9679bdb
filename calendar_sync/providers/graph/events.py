"""Graph's events as records (reference 3.4): a single event, or a series with what differs from it.

https://learn.microsoft.com/en-us/graph/api/resources/event. Asked for in UTC, as every request of ours is, a time is an
instant; the author's wall clock is found again in `recurrenceTimeZone` or `originalStartTimeZone`. Days stay days.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta

from calendar_sync import zones
from calendar_sync.content import BadCalendar, clean
from calendar_sync.ics import (
    MAX_ADDRESS,
    MAX_ATTENDEES,
    MAX_DURATION,
    MAX_NAME,
    MAX_PLACE,
    MAX_TEXT,
    MAX_TIMES,
    MAX_TITLE,
    MAX_UID,
    MAX_URL,
)
from calendar_sync.providers.graph.patterns import rule_of
from calendar_sync.records import (
    ACCEPTED,
    CANCELLED,
    CONFIDENTIAL,
    CONFIRMED,
    DECLINED,
    NEEDS_ACTION,
    PRIVATE,
    PUBLIC,
    TENTATIVE,
    Invited,
    Person,
    Recurrence,
    RemoteEvent,
    RemoteResource,
    Span,
    key_of,
)
from integrations.providers.graph.answers import Json, child, identifier, objects, text, texts

ETAG = "@odata.etag"
FIELDS = (
    "id,iCalUId,subject,body,location,start,end,isAllDay,originalStartTimeZone,originalEndTimeZone,originalStart,type,"
    "seriesMasterId,recurrence,isCancelled,showAs,sensitivity,organizer,isOrganizer,responseStatus,attendees,"
    "isOnlineMeeting,onlineMeeting,onlineMeetingUrl,lastModifiedDateTime,transactionId"
)
WHOLE = {"select": f"{FIELDS},cancelledOccurrences,exceptionOccurrences", "expand": "exceptionOccurrences"}
"""What differs from a series comes only when it is named in both
(https://learn.microsoft.com/en-us/graph/api/event-get, example 4)."""
RESPONSES = {
    "accepted": ACCEPTED,
    "organizer": ACCEPTED,
    "tentativelyaccepted": TENTATIVE,
    "declined": DECLINED,
}
SENSITIVITY = {"private": PRIVATE, "personal": PRIVATE, "confidential": CONFIDENTIAL}
NOT_BUSY = frozenset({"free", "workingelsewhere"})
"""Microsoft itself offers such time to others for meetings
(https://learn.microsoft.com/en-us/graph/api/user-findmeetingtimes)."""
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?(?:Z|\+00:00)?")
_GLOBAL_ID = re.compile(r"(040000008200E00074C5B7101A82E008)[0-9A-F]{8}([0-9A-F]{40,2000})")
_WRAPPED = bytes.fromhex("7643616c2d55696401000000")
"""Before the UID of who made an event elsewhere, inside Outlook's own ([MS-OXOCAL] 2.2.1.27)."""


def resource_of(item: Json, email: str, time_zone: str) -> RemoteResource:
    """An event with what belongs to it. What cannot be read is told as its `problem`."""
    remote_id, etag = identifier(item), text(item, ETAG)
    raw = json.dumps(item, ensure_ascii=True, separators=(",", ":"))
    try:
        events = tuple(_events(item, email, time_zone))
    except BadCalendar as error:
        return RemoteResource(remote_id, etag, raw, problem=str(error))
    return RemoteResource(remote_id, etag, raw, events)


def _events(item: Json, email: str, time_zone: str) -> Iterator[RemoteEvent]:
    """The master first, then each changed occurrence by the time it had."""
    uid = uid_of(text(item, "iCalUId"))
    span = span_of(item, time_zone)
    recurrence = _recurrence(item, span)
    yield _event(item, uid, span, recurrence, "", email)
    if not recurrence:
        return
    for changed in objects(item, "exceptionOccurrences")[:MAX_TIMES]:
        yield _event(changed, uid, span_of(changed, time_zone), Recurrence(), key_in(changed, span), email)


def _event(item: Json, uid: str, span: Span, recurrence: Recurrence, key: str, email: str) -> RemoteEvent:
    shown_as = text(item, "showAs").lower()
    status = TENTATIVE if shown_as == "tentative" else CONFIRMED
    organizer = child(child(item, "organizer"), "emailAddress")
    return RemoteEvent(
        uid=uid,
        span=span,
        title=" ".join(clean(text(item, "subject"), MAX_TITLE).split()),
        description=clean(text(child(item, "body"), "content"), MAX_TEXT),
        location=clean(text(child(item, "location"), "displayName"), MAX_PLACE),
        conference_url=_conference(item),
        status=CANCELLED if item.get("isCancelled") is True else status,
        visibility=SENSITIVITY.get(text(item, "sensitivity").lower(), PUBLIC),
        busy=shown_as not in NOT_BUSY,
        organizer=Person(_address(organizer), clean(text(organizer, "name"), MAX_NAME)) if organizer else None,
        attendees=tuple(_attendees(item, email)),
        recurrence=recurrence,
        recurrence_key=key,
    )


# --- times --------------------------------------------------------------------------------------------------------


def span_of(item: Json, time_zone: str) -> Span:
    """When it is. `time_zone` stands in for a zone that nobody knows."""
    start, end = instant_of(child(item, "start")), instant_of(child(item, "end"))
    zone = _zone(item, time_zone)
    if item.get("isAllDay") is True:
        first, last = _day(start, zone), _day(end, zone)
        return _checked(Span(first, max(timedelta(days=1), last - first), all_day=True))
    return _checked(Span(zones.wall(start, zones.zone(zone)), max(timedelta(0), end - start), zone))


def _checked(span: Span) -> Span:
    if span.duration > MAX_DURATION:
        raise BadCalendar("An event lasts longer than ten years.")
    return span


def instant_of(moment: Json) -> datetime:
    """A dateTimeTimeZone."""
    found = _MOMENT.fullmatch(text(moment, "dateTime"))
    try:
        if found is None:
            raise ValueError
        wall = datetime.fromisoformat(found[1])
    except ValueError:
        raise BadCalendar("The event has no usable start or end.") from None
    return zones.instant(wall, zones.zone(zones.named(text(moment, "timeZone")) or "UTC"))


def _day(moment: datetime, zone: str) -> datetime:
    """Midnight of the day that is meant: of a day's event midnight in UTC, or in the author's zone."""
    wall = moment.replace(tzinfo=None)
    if wall.time() != time():
        wall = zones.wall(moment, zones.zone(zone))
    return datetime.combine(wall.date(), time())


def _zone(item: Json, time_zone: str) -> str:
    """ "tzone://Microsoft/Custom" and "Customized Time Zone" say nothing: the calendar's then, or UTC."""
    range_ = child(child(item, "recurrence"), "range")
    for name in (text(range_, "recurrenceTimeZone"), text(item, "originalStartTimeZone"), time_zone):
        if found := zones.named(name):
            return found
    return "UTC"


def key_in(occurrence: Json, series: Span) -> str:
    """What an occurrence of this series is called: the time it had (`originalStart`, an instant)."""
    original = instant_of({"dateTime": text(occurrence, "originalStart"), "timeZone": "UTC"})
    if series.all_day:
        return key_of(_day(original, _zone(occurrence, "")), all_day=True)
    return key_of(original)


def _recurrence(item: Json, span: Span) -> Recurrence:
    recurrence = child(item, "recurrence")
    if not recurrence:
        return Recurrence()
    days = [_cancelled_day(name) for name in texts(item, "cancelledOccurrences")[:MAX_TIMES]]
    where = zones.zone(span.zone, span.rules)
    walls = [datetime.combine(day, time() if span.all_day else span.start.time()) for day in days if day is not None]
    left_out = frozenset(walls if span.all_day else (zones.instant(wall, where) for wall in walls))
    return Recurrence(rules=(rule_of(recurrence, span),), left_out=left_out)


def _cancelled_day(name: str) -> datetime | None:
    """OID.<id of the series>.<day>, the day on the series' own wall."""
    try:
        return datetime.strptime(name.rpartition(".")[2], "%Y-%m-%d")  # noqa: DTZ007 - a day
    except ValueError:
        return None


# --- people and places --------------------------------------------------------------------------------------------


def _attendees(item: Json, email: str) -> Iterator[Invited]:
    """In the own copy of an invitation the own answer stands beside the attendees and not among them."""
    own = RESPONSES.get(text(child(item, "responseStatus"), "response").lower())
    for person in objects(item, "attendees")[:MAX_ATTENDEES]:
        given = child(person, "emailAddress")
        address = _address(given)
        response = RESPONSES.get(text(child(person, "status"), "response").lower(), NEEDS_ACTION)
        if own and address.casefold() == email.casefold():
            response = own
        kind = text(person, "type").lower()
        name = clean(text(given, "name"), MAX_NAME)
        yield Invited(address, name, response, optional=kind == "optional", is_resource=kind == "resource")


def _address(given: Json) -> str:
    """ "" where it is Exchange's own form of an address, or none."""
    address = clean(text(given, "address"), MAX_ADDRESS + 1)
    return address if "@" in address and len(address) <= MAX_ADDRESS else ""


def _conference(item: Json) -> str:
    for url in (text(child(item, "onlineMeeting"), "joinUrl"), text(item, "onlineMeetingUrl")):
        if url.lower().startswith("https://"):
            return clean(url, MAX_URL)
    return ""


def uid_of(given: str) -> str:
    """iCalendar's UID: the same in every calendar that has the meeting. Outlook's holds the day of an occurrence, which
    is taken out, and whole inside it the UID of an event that was made elsewhere."""
    found = _GLOBAL_ID.fullmatch(given.strip().upper())
    if found is None:
        return clean(given, MAX_UID)
    data = bytes.fromhex(found[2])[20:] if len(found[2]) % 2 == 0 else b""
    if data.startswith(_WRAPPED):
        return clean(data.removeprefix(_WRAPPED).rstrip(b"\0").decode("utf-8", "replace"), MAX_UID)
    return f"{found[1]}00000000{found[2]}"[:MAX_UID]


def in_utc(moment: datetime) -> str:
    """An instant for a query."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
