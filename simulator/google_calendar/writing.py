"""events.insert, patch, update, delete, move and instances: what Google checks, refuses and makes of an event."""

from __future__ import annotations

import re
from typing import Any

from simulator.errors import google_error
from simulator.google_access import flag, invalid, opaque, reveal
from simulator.google_calendar.access import Call, Handler, page_size
from simulator.google_calendar.store import Calendar, CalendarState, Item, Json, stamp
from simulator.google_calendar.times import checked, instance, moment_of, moments

OWN_ID = re.compile(r"[0-9a-v]{5,1024}")
READ_ONLY = {"kind", "etag", "htmlLink", "created", "updated", "creator", "hangoutLink", "recurringEventId"}
READ_ONLY |= {"originalStartTime", "iCalUID", "privateCopy", "locked", "eventType"}
SHARED = {"summary", "description", "location", "start", "end", "recurrence", "visibility", "conferenceData"}
"""What only its organizer may change in everybody's copy."""
TIMES = {"start", "end", "recurrence"}
RESPONSES = {"needsAction", "declined", "tentative", "accepted"}


def insert(call: Call) -> Json:
    calendar, body = call.writable(), call.body()
    identity = str(body.get("id") or call.world.part(CalendarState).new_id(call.world.seed))
    if not OWN_ID.fullmatch(identity):
        raise invalid("Invalid resource id value.", "invalid")
    if identity in calendar.items:
        raise google_error(409, "The requested identifier already exists.", "duplicate")
    given = {name: value for name, value in body.items() if name not in READ_ONLY and value is not None}
    own = {"email": calendar.id, "self": True}
    made = {
        "status": "confirmed", "eventType": "default", "sequence": 0, "reminders": {"useDefault": True},
        "htmlLink": f"https://www.google.com/calendar/event?eid={identity}", "created": stamp(call.world.now()),
        "iCalUID": f"{identity}@google.com", "creator": own, "organizer": own,
    }  # fmt: skip
    item = store(call, calendar, made | given | {"id": identity})
    call.changed("event.insert", calendar, item)
    return item.body


def patch(call: Call) -> Json:
    """Objects are merged, null takes away, lists are replaced."""
    return _change(call, merge=True)


def update(call: Call) -> Json:
    return _change(call, merge=False)


def _change(call: Call, *, merge: bool) -> Json:
    calendar, given = call.writable(), call.body()
    before = call.item(calendar)
    if before.cancelled and not before.parent and given.get("status") != "confirmed":
        raise google_error(404, "Not Found", "notFound")
    call.match(before)
    wanted = {name: value for name, value in given.items() if name not in READ_ONLY and name != "id"}
    kept = {name: value for name, value in before.body.items() if merge or name in READ_ONLY | {"id", "organizer"}}
    own = before.body.get("organizer", {"self": True}).get("self") or before.body.get("guestsCanModify")
    if not own and any(wanted[name] != before.body.get(name) for name in SHARED & set(wanted)):
        words = "Shared properties can only be changed by the organizer of the event."
        raise google_error(403, words, "forbiddenForNonOrganizer")
    if wanted.pop("attendeesOmitted", False) and "attendees" in wanted:
        wanted["attendees"] = _answered(before.body.get("attendees", []), wanted["attendees"])
    body: Json = {"status": "confirmed"} | merged(kept, wanted)
    if TIMES & set(wanted):
        body["sequence"] = int(before.body.get("sequence", 0)) + 1
    item = store(call, calendar, body)
    call.changed("event.patch" if merge else "event.update", calendar, item)
    return item.body


def _answered(attendees: list[Json], own: list[Json]) -> list[Json]:
    """attendeesOmitted: the list given holds the caller alone, and changes nobody else."""
    answers = {str(person.get("email", "")).lower(): person for person in own}
    return [person | answers.get(str(person.get("email", "")).lower(), {}) for person in attendees]


def merged(before: Any, change: Json) -> Json:
    """A merge patch (RFC 7396)."""
    result = dict(before) if isinstance(before, dict) else {}
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value) if isinstance(value, dict) else value
    return result


def store(call: Call, calendar: Calendar, body: Json) -> Item:
    """Checks and stores an event as it shall be."""
    body = body | checked(body, calendar.time_zone)
    if body.get("recurrence") == []:
        del body["recurrence"]
    if "attendees" in body:
        body["attendees"] = [_attendee(person, calendar, body) for person in body["attendees"]]
    _confer(call, body)
    return calendar.put(body, call.world.now())


def _attendee(person: Json, calendar: Calendar, body: Json) -> Json:
    email = str(person.get("email", ""))
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", email):
        raise invalid("Invalid attendee email.", "invalid")
    response = person.get("responseStatus", "needsAction")
    if response not in RESPONSES:
        raise invalid("Invalid value for attendee response status.", "invalid")
    flags = {
        "self": email.lower() == calendar.id.lower(),
        "organizer": email.lower() == str(body.get("organizer", {}).get("email", "")).lower(),
    }
    kept = {name: value for name, value in person.items() if name not in flags}
    return kept | {"responseStatus": response} | {name: True for name, value in flags.items() if value}


def _confer(call: Call, body: Json) -> None:
    """Makes the conference that is asked for; without conferenceDataVersion=1 nothing of it is heard."""
    wanted = (body.get("conferenceData") or {}).get("createRequest")
    if not wanted or "entryPoints" in body["conferenceData"]:
        return
    if call.request.argument("conferenceDataVersion", "0") != "1":
        del body["conferenceData"]
        return
    if not wanted.get("requestId"):
        raise invalid("Invalid conference type value.", "invalid")
    if call.world.settings.google_calendar_conference_pending:
        body["conferenceData"] = {"createRequest": wanted | {"status": {"statusCode": "pending"}}}
        return
    link = f"https://meet.google.com/{body['id'][:3]}-{body['id'][3:7]}-{body['id'][-3:]}"
    body["hangoutLink"] = link
    body["conferenceData"] = {
        "createRequest": wanted | {"status": {"statusCode": "success"}},
        "entryPoints": [{"entryPointType": "video", "uri": link, "label": link.removeprefix("https://")}],
        "conferenceSolution": {"key": {"type": "hangoutsMeet"}, "name": "Google Meet"},
        "conferenceId": link.rpartition("/")[2],
    }


def delete(call: Call) -> None:
    """Of a series with everything that was changed in it; of an instance what cancels it."""
    calendar = call.writable()
    item = call.item(calendar)
    if item.cancelled:
        raise google_error(410, "Resource has been deleted", "deleted")
    call.match(item)
    call.changed("event.delete", calendar, item)
    remove(calendar, item, call.world.now())


def remove(calendar: Calendar, item: Item, now: float) -> None:
    for changed in calendar.instances_of(item.id):
        calendar.cancel(changed, now)
    calendar.cancel(item, now)


def move(call: Call) -> Json:
    """To another calendar of the account, whole: its id stays, and the old one is told that it was deleted."""
    source, target = call.writable(), call.writable(call.request.argument("destination"))
    item = call.item(source)
    if item.parent or item.cancelled or item.body.get("eventType", "default") != "default":
        raise invalid("Cannot change the organizer of an instance.", "cannotChangeOrganizerOfInstance")
    moved = carry(source, target, item, call.world.now())
    call.changed("event.move", target, moved)
    return moved.body


def carry(source: Calendar, target: Calendar, item: Item, now: float) -> Item:
    for changed in source.instances_of(item.id):
        target.put(changed.body, now)
    own = {"email": target.id, "self": True}
    moved = target.put(item.body | {"organizer": own}, now)
    remove(source, item, now)
    return moved


def instances(call: Call) -> Json:
    """The instances of a series, changed ones as they are; cancelled ones where they are asked for."""
    calendar, request = call.calendar(), call.request
    item = call.item(calendar)
    if item.cancelled or not item.body.get("recurrence"):
        raise google_error(400, "Not a recurring event.", "invalid")
    deleted_too, original = flag(request, "showDeleted"), request.argument("originalStart")
    edges = [_edge(call, calendar, name) for name in ("timeMin", "timeMax")]
    found = []
    for moment in moments(item.body, calendar.time_zone):
        usual = instance(item.body, moment, calendar.time_zone)
        there = calendar.items.get(usual["id"])
        body = there.body if there else usual
        where = [usual["originalStartTime"].get(name) for name in ("dateTime", "date")]
        if (original and original not in where) or (body["status"] == "cancelled" and not deleted_too):
            continue
        if _overlaps(body, usual, edges, calendar.time_zone):
            found.append(body)
    token, size = request.argument("pageToken"), page_size(call, 250, 2500)
    start = reveal(token) if token else 0
    if not isinstance(start, int):
        raise invalid("Invalid page token value.", "invalid")
    answer: Json = {"kind": "calendar#events", "summary": calendar.summary, "timeZone": calendar.time_zone}
    answer["items"] = found[start : start + size]
    return answer | ({"nextPageToken": opaque(start + size)} if len(found) > start + size else {})


def _edge(call: Call, calendar: Calendar, name: str) -> float | None:
    text = call.request.argument(name)
    return moment_of({"dateTime": text}, calendar.time_zone).timestamp() if text else None


def _overlaps(body: Json, usual: Json, edges: list[float | None], zone: str) -> bool:
    begin, end = (moment_of((body if name in body else usual)[name], zone).timestamp() for name in ("start", "end"))
    return (edges[0] is None or end > edges[0]) and (edges[1] is None or begin < edges[1])


HANDLERS: dict[str, Handler] = {
    "calendar.events.insert": insert,
    "calendar.events.patch": patch,
    "calendar.events.update": update,
    "calendar.events.delete": delete,
    "calendar.events.move": move,
    "calendar.events.instances": instances,
}
