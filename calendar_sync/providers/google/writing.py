"""Writing to Google's calendars: developers.google.com/workspace/calendar/api/v3/reference/events.

A write is proved by `If-Match` against the etag its caller saw. An occurrence is an event of its own: its id is the
series' with its original start behind (`…_20260105T083000Z`), there before anything was changed in it.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Any

from calendar_sync import composing, zones
from calendar_sync.providers.google import events
from calendar_sync.providers.google.answers import Json, is_set, objects, text
from calendar_sync.providers.google.api import CalendarApi
from calendar_sync.records import (
    CONFIDENTIAL,
    PRIVATE,
    PUBLIC,
    EventDraft,
    Invited,
    RemoteCalendar,
    RemoteResource,
    Span,
    Target,
)
from core.addresses import exact
from core.errors import ProviderRejected, RemoteChanged, RemoteMissing

EVERY_FIELD = frozenset(
    {"span", "title", "description", "location", "attendees", "recurrence", "visibility", "busy", "conference"}
)
_VISIBILITY = {PUBLIC: "default", PRIVATE: "private", CONFIDENTIAL: "confidential"}


class Writer:
    """Writes to one calendar of an account."""

    def __init__(self, api: CalendarApi, calendar: RemoteCalendar) -> None:
        self.api, self.calendar, self.id = api, calendar, calendar.remote_id

    def create(self, draft: EventDraft, *, key: str, notify: str) -> RemoteResource:
        """The key is the event's id, whose digits Google takes (base32hex), so it is there once. One that was deleted
        since comes back: its id cannot be given again."""
        body = _body(draft, EVERY_FIELD, {}, calendar_zone=self.calendar.time_zone)
        made = self.api.insert(self.id, {**_without_nothing(body), "id": key}, notify)
        if made is None:
            made = self.api.event(self.id, key)
            if events.is_gone(made):
                made = self.api.patch(self.id, key, {**body, "status": "confirmed"}, notify, text(made, "etag"))
        return self._resource(made)

    def update(
        self, target: Target, draft: EventDraft, changed: frozenset[str], *, notify: str
    ) -> tuple[RemoteResource, ...]:
        """Of the whole, or of one instance; the series comes along with it, in the version it has then."""
        place, etag, before = self._place(target)
        names = changed - {"recurrence"} if target.recurrence_key else changed
        body = _body(draft, names, before, calendar_zone=self.calendar.time_zone)
        return self._with_series(target, self.api.patch(self.id, place, body, notify, etag))

    def delete(self, target: Target, *, notify: str) -> tuple[RemoteResource, ...]:
        """Of an instance what stays is its cancellation."""
        place, etag, _ = self._place(target)
        self.api.delete(self.id, place, notify, etag)
        return self._with_series(target, self.api.event(self.id, place)) if target.recurrence_key else ()

    def respond(self, target: Target, response: str, *, notify: str, comment: str) -> tuple[RemoteResource, ...]:
        """`attendeesOmitted`: the list holds the account alone, and nobody else's answer is touched."""
        place, etag, before = self._place(target)
        own = next((person for person in objects(before, "attendees") if is_set(person, "self")), None)
        if own is None:
            raise ProviderRejected("This account is not invited to the event.", code="not_invited")
        answer = {"email": text(own, "email"), "responseStatus": response, **({"comment": comment} if comment else {})}
        body = {"attendeesOmitted": True, "attendees": [answer]}
        return self._with_series(target, self.api.patch(self.id, place, body, notify, etag))

    # --- where ----------------------------------------------------------------------------------------------------

    def _place(self, target: Target) -> tuple[str, str, Json]:
        """Id and etag of what is meant, and how it was last seen. RemoteChanged where the series of an occurrence that
        nobody has changed yet is another by now, RemoteMissing where it has no such occurrence."""
        if not target.recurrence_key or target.series_remote_id:
            return target.remote_id, target.etag, _read(target.raw)
        if target.etag and text(self._there(target.remote_id), "etag") != target.etag:
            raise RemoteChanged()
        item = self._there(f"{target.remote_id}_{target.recurrence_key}")
        if text(item, "status") == "cancelled":
            raise RemoteMissing("This occurrence was cancelled.")
        return text(item, "id"), text(item, "etag"), item

    def _there(self, event_id: str) -> Json:
        item = self.api.event(self.id, event_id)
        if events.is_gone(item):
            raise RemoteMissing("The event was deleted.")
        return item

    def _with_series(self, target: Target, item: Json) -> tuple[RemoteResource, ...]:
        if not target.recurrence_key:
            return (self._resource(item),)
        series = self._there(text(item, "recurringEventId") or target.series_remote_id or target.remote_id)
        return self._resource(series), self._resource(item)

    def _resource(self, item: Json) -> RemoteResource:
        return events.resource_of(item, self.calendar.time_zone)


def _read(raw: str) -> Json:
    """What was read last; nothing where that was nothing."""
    try:
        found = json.loads(raw or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


# --- what -------------------------------------------------------------------------------------------------------------


def _body(draft: EventDraft, names: frozenset[str], before: Json, *, calendar_zone: str) -> dict[str, Any]:
    """The fields of what changed; a patch leaves the others as they are. `before` is the event as it was seen."""
    body: dict[str, Any] = {}
    for name, field in (("title", "summary"), ("description", "description"), ("location", "location")):
        if name in names:
            body[field] = getattr(draft, name)
    if "attendees" in names:
        body["attendees"] = _attendees(draft, before)
    if "visibility" in names:
        body["visibility"] = _VISIBILITY[draft.visibility]
    if "busy" in names:
        body["transparency"] = "opaque" if draft.busy else "transparent"
    if "conference" in names and draft.conference:
        wanted = {"requestId": uuid.uuid4().hex, "conferenceSolutionKey": {"type": "hangoutsMeet"}}
        body["conferenceData"] = {"createRequest": wanted}
    if "span" in names:
        body |= _times(draft.span, recurs=bool(draft.recurrence), calendar_zone=calendar_zone)
    if "recurrence" in names and (draft.recurrence or before.get("recurrence")):
        body["recurrence"] = composing.lines_of(draft.recurrence, all_day=draft.span.all_day)
    return body


def _without_nothing(body: dict[str, Any]) -> dict[str, Any]:
    """For a new event, which has no other form to take away."""
    times = {name: {key: value for key, value in body[name].items() if value} for name in ("start", "end")}
    return {**body, **times}


def _attendees(draft: EventDraft, before: Json) -> list[dict[str, Any]]:
    """A patch replaces the list, so what is known of those who stay goes along: their answers, comments and guests."""
    known = {exact(text(person, "email")): person for person in objects(before, "attendees")}
    return [{**known.get(exact(person.email), {}), **_attendee(person)} for person in draft.attendees]


def _attendee(person: Invited) -> dict[str, Any]:
    found: dict[str, Any] = {"email": person.email, "optional": person.optional, "responseStatus": person.response}
    return found | ({"displayName": person.name} if person.name else {})


def _times(span: Span, *, recurs: bool, calendar_zone: str) -> dict[str, Any]:
    """Start and end; the other form's fields are taken away, since a patch merges."""
    if span.all_day:
        days = {"start": span.start, "end": span.start + span.duration}
        return {name: {"date": f"{day:%Y-%m-%d}", "dateTime": None, "timeZone": None} for name, day in days.items()}
    zone = span.zone or zones.named(calendar_zone) or "UTC"  # what floats is read by its calendar's zone
    where = zones.zone(zone, span.rules)
    start = zones.instant(span.start, where)
    if span.rules or zones.named(zone) != zone:  # a zone of somebody's own making
        if recurs:
            raise ProviderRejected("Google does not know the time zone of the series.", code="unsupported_zone")
        zone = "UTC"
    return {"start": _moment(start, zone), "end": _moment(start + span.duration, zone)}


def _moment(moment: datetime, zone: str) -> dict[str, Any]:
    local = moment.astimezone(zones.zone(zone))
    return {"dateTime": local.isoformat(), "timeZone": zone, "date": None}
