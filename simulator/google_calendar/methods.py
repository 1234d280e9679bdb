"""The Calendar methods that exist here: HTTP method, path, the scopes of which one is needed. All of it is Google's
discovery document's (a test compares); every request costs one of the user's per minute."""

from __future__ import annotations

from dataclasses import dataclass

PREFIX = "https://www.googleapis.com/auth/"
CALENDAR = PREFIX + "calendar"
READONLY = PREFIX + "calendar.readonly"
CREATED = PREFIX + "calendar.app.created"
LIST = PREFIX + "calendar.calendarlist"
LIST_READONLY = PREFIX + "calendar.calendarlist.readonly"
EVENTS = PREFIX + "calendar.events"
OWNED = PREFIX + "calendar.events.owned"

ACLS, SETTINGS = PREFIX + "calendar.acls", PREFIX + "calendar.settings"

LIST_READ = (CALENDAR, LIST, LIST_READONLY, READONLY)
READ = (
    CALENDAR, CREATED, EVENTS, PREFIX + "calendar.events.freebusy", OWNED, PREFIX + "calendar.events.owned.readonly",
    PREFIX + "calendar.events.public.readonly", PREFIX + "calendar.events.readonly", READONLY,
)  # fmt: skip
WRITE = (CALENDAR, CREATED, EVENTS, OWNED)
MOVE = (CALENDAR, EVENTS, OWNED)
STOP = (*READ, LIST, LIST_READONLY, ACLS, f"{ACLS}.readonly", SETTINGS, f"{SETTINGS}.readonly")
"""Whoever may watch anything may stop what they watch."""


@dataclass(frozen=True)
class Method:
    http: str
    path: str
    scopes: tuple[str, ...]
    parameters: frozenset[str]
    """Query parameters that are acted on; others are refused, because ignoring one would hide an error."""


def _method(http: str, path: str, scopes: tuple[str, ...], *parameters: str) -> Method:
    return Method(http, f"/calendar/v3/{path}", scopes, frozenset({"fields", "prettyPrint", "alt", *parameters}))


EVENT = "calendars/{calendarId}/events/{eventId}"
WRITING = ("sendUpdates", "conferenceDataVersion", "supportsAttachments", "maxAttendees")
METHODS = {
    "calendar.calendarList.list": _method(
        "GET", "users/me/calendarList", LIST_READ, "maxResults", "pageToken", "minAccessRole", "showHidden"
    ),
    "calendar.calendarList.get": _method("GET", "users/me/calendarList/{calendarId}", (*LIST_READ, CREATED)),
    "calendar.calendarList.watch": _method("POST", "users/me/calendarList/watch", LIST_READ),
    "calendar.events.list": _method(
        "GET", "calendars/{calendarId}/events", READ,
        "maxResults", "pageToken", "syncToken", "showDeleted", "singleEvents", "eventTypes", "iCalUID",
    ),
    "calendar.events.get": _method("GET", EVENT, READ),
    "calendar.events.instances": _method(
        "GET", f"{EVENT}/instances", READ,
        "maxResults", "pageToken", "originalStart", "showDeleted", "timeMin", "timeMax",
    ),
    "calendar.events.insert": _method("POST", "calendars/{calendarId}/events", WRITE, *WRITING),
    "calendar.events.patch": _method("PATCH", EVENT, WRITE, *WRITING),
    "calendar.events.update": _method("PUT", EVENT, WRITE, *WRITING),
    "calendar.events.delete": _method("DELETE", EVENT, WRITE, "sendUpdates"),
    "calendar.events.watch": _method("POST", "calendars/{calendarId}/events/watch", READ, "eventTypes"),
    "calendar.channels.stop": _method("POST", "channels/stop", STOP),
    "calendar.events.move": _method("POST", f"{EVENT}/move", MOVE, "destination", "sendUpdates"),
}  # fmt: skip
