"""An event or a calendar as Graph's JSON: what $select names, times in the zone that is preferred, bodies as wanted."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

from simulator.graph import calendar_times
from simulator.graph.access import Call, bad_request, prefer
from simulator.graph.calendar_book import BookCalendar, BookEvent
from simulator.graph.content import plain, recipient

JsonObject = dict[str, Any]
SERIES_ONLY = ("cancelledOccurrences", "exceptionOccurrences")
"""Shown only when $select names them."""


def stamp(seconds: float) -> str:
    """With seven decimals."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 10_000_000):07}Z"


def show_calendar(call: Call, calendar: BookCalendar) -> JsonObject:
    owner = recipient(call.account.name, calendar.owner or call.account.email)["emailAddress"]
    return {
        "id": calendar.id,
        "name": calendar.name,
        "color": "auto",
        "hexColor": calendar.hex_color,
        "isDefaultCalendar": calendar.is_default,
        "changeKey": calendar.id[-12:],
        "canShare": calendar.can_edit,
        "canViewPrivateItems": True,
        "canEdit": calendar.can_edit,
        "allowedOnlineMeetingProviders": ["teamsForBusiness"],
        "defaultOnlineMeetingProvider": "teamsForBusiness",
        "isTallyingResponses": calendar.is_default,
        "isRemovable": not calendar.is_default,
        "owner": owner,
    }


def identity(call: Call, event: BookEvent, day: date | None = None) -> str:
    own = event.immutable_id if call.immutable else event.id
    return own if day is None else f"{own}.OC{day.isoformat()}"


def show(call: Call, event: BookEvent, day: date | None = None, *, expand: bool = False) -> JsonObject:
    """An event, or the occurrence of a day, by the request's $select."""
    whole = _whole(call, event, day)
    names = [name.strip() for name in call.request.argument("$select").split(",") if name.strip()]
    known = {*whole, *SERIES_ONLY}
    for name in names:
        if name not in known:
            message = f"Could not find a property named '{name}' on type 'Microsoft.OutlookServices.Event'."
            raise bad_request(message, "RequestBroker--ParseUri")
    shown = {name: whole[name] for name in whole if not names or name in names or name in ("id", "@odata.etag")}
    if event.recurrence is not None and day is None:
        if "cancelledOccurrences" in names:
            own = identity(call, event)
            shown["cancelledOccurrences"] = [f"OID.{own}.{one.isoformat()}" for one in sorted(event.cancelled)]
        if expand and "exceptionOccurrences" in names:
            shown["exceptionOccurrences"] = [show(call, event, one) for one in sorted(event.changed)]
    return shown


def times(event: BookEvent, day: date | None) -> tuple[datetime, datetime]:
    """When it begins and ends."""
    if day is None:
        return event.start, event.start + event.length
    own = event.changed.get(day, {})
    start = calendar_times.instant(own["start"]) if "start" in own else event.day_start(day)
    end = calendar_times.instant(own["end"]) if "end" in own else start + event.length
    return start, end


def _whole(call: Call, event: BookEvent, day: date | None) -> JsonObject:
    fields = event.fields | (event.changed.get(day, {}) if day is not None else {})
    kind = "seriesMaster" if event.recurrence is not None else "singleInstance"
    if day is not None:
        kind = "exception" if day in event.changed else "occurrence"
    start, end = times(event, day)
    where = prefer(call.request, "outlook.timezone") or "UTC"
    # Of a whole day Exchange keeps the days; it shows midnight in UTC, and off midnight in a foreign zone.
    if fields.get("isAllDay"):
        start, end = (_midnight(fields, event, day, name) for name in ("start", "end"))
    status = {"response": event.response, "time": "0001-01-01T00:00:00Z"}
    authored = str(event.fields["start"].get("timeZone") or "UTC")
    return {
        "@odata.etag": event.etag if day is None else f'{event.etag[:-1]}{day:%m%d}"',
        "id": identity(call, event, day),
        "createdDateTime": stamp(event.created),
        "lastModifiedDateTime": stamp(event.modified),
        "changeKey": event.change_key,
        "categories": fields.get("categories", []),
        "transactionId": event.transaction_id or None,
        "originalStartTimeZone": fields.get("originalStartTimeZone", authored),
        "originalEndTimeZone": fields.get("originalStartTimeZone", authored),
        "iCalUId": event.ical_uid if day is None else _dated(event.ical_uid, day),
        "originalStart": f"{event.day_start(day):%Y-%m-%dT%H:%M:%SZ}" if day is not None else None,
        "subject": fields.get("subject") or "",
        "body": _body(call, fields),
        "importance": fields.get("importance", "normal"),
        "sensitivity": fields.get("sensitivity", "normal"),
        "isAllDay": bool(fields.get("isAllDay")),
        "isCancelled": bool(fields.get("isCancelled")),
        "isOrganizer": event.is_organizer,
        "responseRequested": bool(fields.get("responseRequested", True)),
        "seriesMasterId": identity(call, event) if day is not None else None,
        "showAs": fields.get("showAs", "busy"),
        "type": kind,
        "isOnlineMeeting": bool(fields.get("isOnlineMeeting")),
        "onlineMeetingProvider": fields.get("onlineMeetingProvider", "unknown"),
        "onlineMeetingUrl": None,
        "onlineMeeting": fields.get("onlineMeeting"),
        "hideAttendees": bool(fields.get("hideAttendees")),
        "responseStatus": status,
        "start": calendar_times.shown(start, where),
        "end": calendar_times.shown(end, where),
        "location": {"displayName": ""} | (fields.get("location") or {}),
        "recurrence": event.recurrence if day is None else None,
        "attendees": fields.get("attendees", []),
        "organizer": fields.get("organizer") or recipient(call.account.name, call.account.email),
        "webLink": f"https://outlook.office365.com/owa/?itemid={event.id}",
    }


def _midnight(fields: JsonObject, event: BookEvent, day: date | None, name: str) -> datetime:
    given = calendar_times.wall(fields[name])
    if day is not None and name not in event.changed.get(day, {}):
        given += day - calendar_times.wall(event.fields["start"]).date()
    return given.replace(tzinfo=UTC)


def _dated(uid: str, day: date) -> str:
    """Outlook's UID holds the day of an occurrence; that of another maker stays as it is here."""
    packed = f"{day.year:04X}{day.month:02X}{day.day:02X}"
    return f"{uid[:32]}{packed}{uid[40:]}" if len(uid) > 80 else uid


def _body(call: Call, fields: JsonObject) -> JsonObject:
    body = fields.get("body") or {"contentType": "text", "content": ""}
    if prefer(call.request, "outlook.body-content-type") == "text" and body.get("contentType") == "html":
        return {"contentType": "text", "content": plain(str(body.get("content") or ""))}
    return dict(body)


def window(call: Call) -> tuple[datetime, datetime]:
    """startDateTime and endDateTime, by their own offset; in UTC without one."""
    found = []
    for name in ("startDateTime", "endDateTime"):
        text = call.request.argument(name)
        try:
            moment = datetime.fromisoformat(text.replace(" ", "+").partition(".")[0].replace("Z", "+00:00"))
        except ValueError as error:
            message = "This request requires a time window specified by the query string parameters."
            raise bad_request(message, "ErrorInvalidParameter") from error
        found.append(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    if found[1] < found[0] or found[1] - found[0] > timedelta(days=1825):
        raise bad_request("The time window is not valid.", "ErrorInvalidParameter")
    return found[0], found[1]
