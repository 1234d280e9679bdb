"""calendarList.list and events.list: pages, and sync tokens that know where they began, what they were asked with, and
when they are too old (410). A listing's token has seen everything since its first page."""

from __future__ import annotations

from itertools import islice
from typing import Any

from simulator.errors import Refusal, google_error
from simulator.google_access import flag, invalid, opaque, reveal
from simulator.google_calendar.access import Call, Handler, page_size
from simulator.google_calendar.store import ROLES, Calendar, Item

FORBIDDEN_WITH_TOKEN: tuple[str, ...] = (
    "iCalUID",
    "orderBy",
    "privateExtendedProperty",
    "q",
    "sharedExtendedProperty",
    "timeMin",
)
FORBIDDEN_WITH_TOKEN += ("timeMax", "updatedMin")
PER_PAGE = {"pageToken", "syncToken", "maxResults", "fields", "prettyPrint", "alt"}
"""What may differ from page to page; everything else has to be as in the first request."""
BUSY = (
    "kind",
    "etag",
    "id",
    "status",
    "start",
    "end",
    "recurrence",
    "recurringEventId",
    "originalStartTime",
    "iCalUID",
)


def list_calendars(call: Call) -> dict[str, Any]:
    least = call.request.argument("minAccessRole", ROLES[0])
    if least not in ROLES:
        raise invalid(f"Invalid value: {least}", "invalidParameter")
    hidden_too = flag(call.request, "showHidden")
    found = [
        calendar
        for calendar in call.book.values()
        if ROLES.index(calendar.access_role) >= ROLES.index(least) and (hidden_too or not calendar.hidden)
    ]
    token = call.request.argument("pageToken")
    start = reveal(token) if token else 0
    if not isinstance(start, int):
        raise invalid("Invalid page token value.", "invalid")
    size = page_size(call, 100, 250)
    answer: dict[str, Any] = {"kind": "calendar#calendarList", "etag": '"list"'}
    answer["items"] = [calendar.describe() for calendar in found[start : start + size]]
    if len(found) > start + size:
        answer["nextPageToken"] = opaque(start + size)
    else:
        answer["nextSyncToken"] = opaque(["list", len(found)])
    return answer


def get_calendar(call: Call) -> dict[str, Any]:
    return call.calendar().describe()


def list_events(call: Call) -> dict[str, Any]:
    calendar = call.calendar()
    if flag(call.request, "singleEvents"):
        raise invalid("Not imitated here: singleEvents=true", "invalidParameter")
    asked = {name: values for name, values in sorted(call.request.query.items()) if name not in PER_PAGE}
    state = _begun(call, calendar, asked)
    size, empty = page_size(call, 250, 2500), call.world.settings.google_calendar_empty_pages
    answer: dict[str, Any] = {
        "kind": "calendar#events", "etag": f'"{calendar.number}"', "summary": calendar.summary,
        "timeZone": calendar.time_zone, "accessRole": calendar.access_role, "defaultReminders": [], "items": [],
    }  # fmt: skip
    if state["empty"] < empty:
        return answer | {"nextPageToken": opaque(state | {"empty": state["empty"] + 1})}
    found = list(islice(_items(call, calendar, state), size + 1))
    answer["items"] = [_shown(calendar, item) for item in found[:size]]
    if len(found) > size:
        last = found[size - 1]
        place = last.number if state["since"] is not None else list(last.position)
        return answer | {"nextPageToken": opaque(state | {"at": place})}
    return answer | {"nextSyncToken": opaque(["sync", calendar.id, state["until"], asked])}


def _begun(call: Call, calendar: Calendar, asked: dict[str, list[str]]) -> dict[str, Any]:
    """Where a listing stands: since when, until when, after what, and how many empty pages it had."""
    request, since = call.request, None
    if token := request.argument("syncToken"):
        forbidden = [name for name in FORBIDDEN_WITH_TOKEN if name in asked]
        if forbidden or asked.get("showDeleted") == ["false"]:
            raise invalid(f"Sync token cannot be used with {(forbidden or ['showDeleted=false'])[0]}.", "invalid")
        since = _since(token, calendar, asked)
    if page := request.argument("pageToken"):
        state = reveal(page)
        if not isinstance(state, dict) or state["calendar"] != calendar.id or state["since"] != since:
            raise invalid("Invalid page token value.", "invalid")
        return dict(state)
    return {"calendar": calendar.id, "since": since, "until": calendar.number, "at": None, "empty": 0}


def _since(token: str, calendar: Calendar, asked: dict[str, list[str]]) -> int:
    match reveal(token):
        case ["sync", calendar.id, int(since), dict(first)]:
            if since < calendar.floor:
                raise full_sync_required()
            if first != asked:
                raise invalid("The parameters differ from those the sync token was given for.", "invalid")
            return since
    raise invalid("Invalid sync token value.", "invalid")


def full_sync_required() -> Refusal:
    words = "Sync token is no longer valid, a full sync is required."
    return google_error(410, words, "fullSyncRequired", parameter="syncToken")


def _items(call: Call, calendar: Calendar, state: dict[str, Any]) -> Any:
    """What a listing shows from its place on: of deleted events the instances alone, unless it asks for them; what
    changed since a token with everything deleted."""
    types = set(call.request.query.get("eventTypes", []))
    if state["since"] is not None:
        changed = calendar.changed(state["at"] or state["since"], state["until"])
        return (item for item in changed if _fits(item, types))
    uid, deleted_too = call.request.argument("iCalUID"), flag(call.request, "showDeleted")
    after = tuple(state["at"]) if state["at"] else None
    return (
        item
        for item in calendar.listed(after)
        if (not item.cancelled or deleted_too or _has_parent(calendar, item))
        and _fits(item, types)
        and (not uid or item.body.get("iCalUID") == uid)
    )


def _fits(item: Item, types: set[str]) -> bool:
    return item.cancelled or not types or item.body.get("eventType", "default") in types


def _has_parent(calendar: Calendar, item: Item) -> bool:
    """A cancelled instance is shown for as long as its series is there."""
    parent = calendar.items.get(item.parent)
    return bool(item.parent) and (parent is None or not parent.cancelled)


def _shown(calendar: Calendar, item: Item) -> dict[str, Any]:
    """To somebody who may only see when its owner is busy: nothing else."""
    if calendar.access_role != "freeBusyReader" or item.cancelled:
        return item.body
    return {name: value for name, value in item.body.items() if name in BUSY} | {"visibility": "private"}


def get_event(call: Call) -> dict[str, Any]:
    calendar = call.calendar()
    return _shown(calendar, call.item(calendar))


HANDLERS: dict[str, Handler] = {
    "calendar.calendarList.list": list_calendars,
    "calendar.calendarList.get": get_calendar,
    "calendar.events.list": list_events,
    "calendar.events.get": get_event,
}
