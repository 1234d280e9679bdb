"""Writing to Graph's calendars (reference 3.4): each change is proved by `If-Match` against the version its caller saw.

An occurrence is written by its own id, which is looked up by the time it had. Microsoft tells attendees of everything
itself and takes no wish about it, so a wish that it could not keep is refused before anything is written.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from calendar_sync import zones
from calendar_sync.providers.graph.api import CalendarApi, event
from calendar_sync.providers.graph.events import ETAG, WHOLE, in_utc, key_in, resource_of, span_of
from calendar_sync.providers.graph.listing import events_path
from calendar_sync.providers.graph.patterns import pattern_of, refused
from calendar_sync.records import (
    ACCEPTED,
    CONFIDENTIAL,
    DECLINED,
    NOTIFY_ALL,
    NOTIFY_NONE,
    PRIVATE,
    PUBLIC,
    TENTATIVE,
    EventDraft,
    Invited,
    RemoteCalendar,
    RemoteResource,
    Span,
    Target,
)
from core.errors import ProviderRejected, RemoteChanged, RemoteMissing
from core.http import Response
from integrations.providers.graph.answers import Json, identifier, items, objects, text
from integrations.providers.graph.api import query
from integrations.providers.graph.errors import check

ACTIONS = {ACCEPTED: "accept", DECLINED: "decline", TENTATIVE: "tentativelyAccept"}
SENSITIVITIES = {PUBLIC: "normal", PRIVATE: "private", CONFIDENTIAL: "confidential"}
EVERY_FIELD = frozenset(
    {"span", "title", "description", "location", "attendees", "recurrence", "visibility", "busy", "conference"}
)
FORM = "%Y-%m-%dT%H:%M:%S"


class Writer:
    """Writes to one calendar of an account."""

    def __init__(self, api: CalendarApi, calendar: RemoteCalendar, email: str) -> None:
        self.api, self.calendar, self.email = api, calendar, email

    def create(self, draft: EventDraft, *, key: str, notify: str) -> RemoteResource:
        """`transactionId` makes the same event once (https://learn.microsoft.com/en-us/graph/api/resources/event)."""
        _may_tell(notify, bool(draft.attendees))
        body = _body(draft, EVERY_FIELD) | {"transactionId": str(uuid.UUID(key))}
        answer = self.api.ask("POST", events_path(self.calendar.remote_id), json=body, idempotent=False)
        return self._now(identifier(check(answer).json_object()))

    def update(self, target: Target, draft: EventDraft, changed: frozenset[str], *, notify: str) -> RemoteResource:
        """Of an occurrence, or of the whole. Of a series with changed or cancelled occurrences the times and the rule
        stay as they are: Exchange would forget those."""
        _may_tell(notify, bool(draft.attendees))
        series = target.series_remote_id or target.remote_id
        identity, etag = self._place(target)
        if target.recurrence_key:
            changed = changed - {"recurrence"}
        elif {"span", "recurrence"} & changed and _has_changes(target.raw):
            raise refused("it would forget the changed and cancelled occurrences of the series.")
        body = _body(draft, changed, alone=bool(target.recurrence_key))
        _proved(self.api.ask("PATCH", event(identity), json=body, headers={"If-Match": etag}))
        return self._now(series)

    def delete(self, target: Target, *, notify: str) -> tuple[RemoteResource, ...]:
        """A meeting that the account organises is called off by it: Microsoft tells everybody
        (https://learn.microsoft.com/en-us/graph/api/event-delete)."""
        known = _read(target.raw)
        _may_tell(notify, bool(known.get("isOrganizer")) and bool(objects(known, "attendees")))
        identity, etag = self._place(target)
        _proved(self.api.ask("DELETE", event(identity), headers={"If-Match": etag}))
        return (self._now(target.series_remote_id or target.remote_id),) if target.recurrence_key else ()

    def respond(self, target: Target, response: str, *, notify: str, comment: str) -> tuple[RemoteResource, ...]:
        """Declining takes the event out of the calendar (https://learn.microsoft.com/en-us/graph/api/event-decline)."""
        identity, _ = self._place(target)
        if not target.recurrence_key and text(self._whole(target.remote_id), ETAG) != target.etag:
            raise RemoteChanged()
        body = {"sendResponse": notify != NOTIFY_NONE, "comment": comment}
        check(self.api.ask("POST", f"{event(identity)}/{ACTIONS[response]}", json=body, idempotent=False))
        if response == DECLINED and not target.recurrence_key:
            return ()
        return (self._now(target.series_remote_id or target.remote_id),)

    # --- where ------------------------------------------------------------------------------------------------

    def _place(self, target: Target) -> tuple[str, str]:
        """Id and etag of what is meant. RemoteChanged where the series of an occurrence is another by now."""
        if not target.recurrence_key:
            return target.remote_id, target.etag
        series = target.series_remote_id or target.remote_id
        master = self._whole(series)
        if target.etag and text(master, ETAG) != target.etag:
            raise RemoteChanged()
        span = span_of(master, self.calendar.time_zone)
        for changed in objects(master, "exceptionOccurrences"):
            if key_in(changed, span) == target.recurrence_key:
                return identifier(changed), text(changed, ETAG)
        for occurrence in self._instances(series, target.recurrence_key):
            if key_in(occurrence, span) == target.recurrence_key:
                return identifier(occurrence), text(occurrence, ETAG)
        raise RemoteMissing("The series has no such occurrence.")

    def _instances(self, series: str, key: str) -> list[Json]:
        """The occurrences around a time."""
        day = datetime.strptime(key[:8], "%Y%m%d").replace(tzinfo=UTC)
        begin, end = (quote(in_utc(day + timedelta(days=days))) for days in (-1, 2))
        window = f"startDateTime={begin}&endDateTime={end}&{query(top=100)[1:]}"
        pages = self.api.pages(self.api.json("GET", f"{event(series)}/instances?{window}"))
        return [item for page in pages for item in items(page)]

    def _whole(self, remote_id: str) -> Json:
        return self.api.json("GET", event(remote_id) + query(**WHOLE))

    def _now(self, remote_id: str) -> RemoteResource:
        return resource_of(self._whole(remote_id), self.email, self.calendar.time_zone)


def _proved(response: Response) -> None:
    if response.status == 412:
        raise RemoteChanged()
    check(response)


def _may_tell(notify: str, concerns_others: bool) -> None:
    if concerns_others and notify != NOTIFY_ALL:
        raise ProviderRejected(
            "Microsoft always tells attendees of invitations, changes and cancellations.", code="unsupported_notify"
        )


def _read(raw: str) -> Json:
    """What was read last; nothing where that was nothing."""
    try:
        found = json.loads(raw or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _has_changes(raw: str) -> bool:
    known = _read(raw)
    return bool(known.get("cancelledOccurrences") or known.get("exceptionOccurrences"))


# --- what ---------------------------------------------------------------------------------------------------------


def _body(draft: EventDraft, changed: frozenset[str], *, alone: bool = False) -> dict[str, Any]:
    """Graph's own fields of what changed; what is not named stays. `alone`: of one occurrence."""
    body: dict[str, Any] = {}
    if "title" in changed:
        body["subject"] = draft.title
    if "description" in changed:
        body["body"] = {"contentType": "text", "content": draft.description}
    if "location" in changed:
        body["location"] = {"displayName": draft.location}
    if "attendees" in changed:
        body["attendees"] = [_attendee(one) for one in draft.attendees]
    if "visibility" in changed:
        body["sensitivity"] = SENSITIVITIES[draft.visibility]
    if "busy" in changed:
        body["showAs"] = "busy" if draft.busy else "free"
    if "conference" in changed and draft.conference:
        body["isOnlineMeeting"] = True  # once and for ever: Graph does not take it back (reference 3.4)
    if "span" in changed:
        body |= _times(draft.span, recurs=bool(draft.recurrence))
    if not alone and ("recurrence" in changed or ("span" in changed and draft.recurrence)):
        body["recurrence"] = _recurrence(draft)
    return body


def _attendee(person: Invited) -> dict[str, Any]:
    kind = "resource" if person.is_resource else "optional" if person.optional else "required"
    return {"type": kind, "emailAddress": {"address": person.email, "name": person.name or person.email}}


def _recurrence(draft: EventDraft) -> dict[str, object] | None:
    given = draft.recurrence
    if not given:
        return None
    if len(given.rules) != 1 or given.excluded_rules or given.added:
        raise refused("a series has one rule, and no added or excluded times.")
    if given.left_out or given.left_out_days:
        raise refused("single occurrences can only be cancelled once the series is there.")
    return pattern_of(given.rules[0], draft.span)


def _times(span: Span, *, recurs: bool) -> dict[str, Any]:
    """Start and end on the same wall."""
    if span.all_day:
        return {"isAllDay": True, **_both(span.start, span.start + span.duration, "UTC")}
    if span.floating:
        raise ProviderRejected("Microsoft keeps no times without a time zone.", code="unsupported_time")
    where = zones.zone(span.zone, span.rules)
    start = zones.instant(span.start, where)
    end = start + span.duration
    if span.rules or zones.named(span.zone) != span.zone:  # a zone of somebody's own making
        if recurs:
            raise refused("the time zone of the series is one that it does not know.")
        return {"isAllDay": False, **_both(start, end, "UTC")}
    return {"isAllDay": False, **_both(span.start, zones.wall(end, where), span.zone)}


def _both(start: datetime, end: datetime, zone: str) -> dict[str, Any]:
    moments = (("start", start), ("end", end))
    return {name: {"dateTime": moment.strftime(FORM), "timeZone": zone} for name, moment in moments}
