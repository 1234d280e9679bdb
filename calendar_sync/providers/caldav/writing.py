"""Writing events to a CalDAV server: conditional PUT and DELETE of whole resources (RFC 4791 5.3, RFC 6638).

A new event is a resource named by its caller's key, so that the same key makes one event. A change is the stored text
changed in places, put where the server still has the version that was seen. Servers give no ETag, a weak one, or one
of a text they rewrote (reference 5.3): what is stored is fetched after every write. Attendees are invited by servers
that schedule, and by nobody elsewhere.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import replace
from datetime import UTC, datetime

from calendar_sync.content import BadCalendar
from calendar_sync.ics import read_events
from calendar_sync.ics_patching import Resource
from calendar_sync.ics_writing import write_events
from calendar_sync.providers.base import CalendarProvider
from calendar_sync.providers.caldav.dav import WHO, Dav
from calendar_sync.records import (
    NOTIFY_ALL,
    EventDraft,
    Person,
    RemoteCalendar,
    RemoteEvent,
    RemoteResource,
    Target,
)
from core.errors import (
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    RemoteChanged,
    RemoteMissing,
    UnsupportedOperation,
)
from core.http import Response, raise_for_provider

CALENDAR = {"Content-Type": "text/calendar; charset=utf-8"}
SCHEDULES = "calendar-auto-schedule"
"""In the DAV header of a server that sends invitations itself (RFC 6638 2)."""
ALONE = "This server sends invitations itself and cannot be kept from it: leave `sendUpdates` out, or say `all`."


class CalDavWriter(CalendarProvider, ABC):
    """The writing half of `CalDav`."""

    dav: Dav
    _scheduling: bool | None = None

    def invites(self, calendar: RemoteCalendar) -> bool:
        """By what the server says of the calendar."""
        if self._scheduling is None:
            response = raise_for_provider(self.dav.call("OPTIONS", calendar.remote_id, {}), WHO)
            named = response.headers.get("dav", "").lower().split(",")
            self._scheduling = SCHEDULES in {word.strip() for word in named}
        return self._scheduling

    def create(self, calendar: RemoteCalendar, draft: EventDraft, *, key: str, notify: str) -> RemoteResource:
        """`<key>.ics`, unless it is there."""
        self._may_notify(calendar, notify, bool(draft.attendees))
        if draft.conference:
            raise UnsupportedOperation("A calendar server makes no conference links.", code="no_conference")
        uid = f"{key}@patchbay"
        organizer = self._self() if draft.attendees else None
        event = RemoteEvent(
            uid, draft.span, draft.title, draft.description, draft.location, visibility=draft.visibility,
            busy=draft.busy, organizer=organizer, attendees=draft.attendees, recurrence=draft.recurrence,
        )  # fmt: skip
        path = f"{calendar.remote_id.rstrip('/')}/{key}.ics"
        response = self._put(path, write_events([event], stamp=datetime.now(UTC)), {"If-None-Match": "*"})
        stored = next(self.fetch(calendar, [path]), None)
        if response.status == 412 and (stored is None or not any(one.uid == uid for one in stored.events)):
            raise ProviderRejected(f"{WHO} refused the event.")
        if response.status != 412:
            raise_for_provider(response, WHO)
        if stored is None:
            raise ProviderUnavailable(f"{WHO} took the event and does not show it.")
        return stored

    def update(
        self, calendar: RemoteCalendar, target: Target, draft: EventDraft, changed: frozenset[str], *, notify: str
    ) -> tuple[RemoteResource, ...]:
        """The stored text, changed in places."""
        if draft.conference and "conference" in changed:
            raise UnsupportedOperation("A calendar server makes no conference links.", code="no_conference")
        self._may_notify(calendar, notify, bool(draft.attendees))
        target = self._seen(calendar, target)
        resource = _read(target, calendar)
        resource.change(target.recurrence_key, draft, changed, self._self())
        return (self._replaced(calendar, target, resource.text()),)

    def delete(self, calendar: RemoteCalendar, target: Target, *, notify: str) -> tuple[RemoteResource, ...]:
        """The resource, or one occurrence of it."""
        target = self._seen(calendar, target)
        self._may_notify(calendar, notify, "\nATTENDEE" in target.raw.upper())
        if target.recurrence_key:
            resource = _read(target, calendar)
            resource.cancel(target.recurrence_key)
            if not resource.is_empty:
                return (self._replaced(calendar, target, resource.text()),)
        response = _unlocked(self.dav.call("DELETE", target.remote_id, _condition(target)))
        if response.status == 412:
            raise self._overtaken(calendar, target)
        raise_for_provider(response, WHO)
        return ()

    def respond(
        self, calendar: RemoteCalendar, target: Target, response: str, *, notify: str, comment: str = ""
    ) -> tuple[RemoteResource, ...]:
        """The account's PARTSTAT; a server that schedules tells the organizer."""
        if comment:
            raise UnsupportedOperation("A calendar server passes on no comment with an answer.", code="no_comment")
        self._may_notify(calendar, notify, invited=True)
        target = self._seen(calendar, target)
        resource = _read(target, calendar)
        if not resource.respond(target.recurrence_key, self.account.email, response):
            raise ProviderRejected("This account is not invited to the event.")
        return (self._replaced(calendar, target, resource.text()),)

    # --- conditions -----------------------------------------------------------------------------------------------

    def _self(self) -> Person:
        return Person(self.account.email)

    def _may_notify(self, calendar: RemoteCalendar, notify: str, invited: bool) -> None:
        if invited and notify != NOTIFY_ALL and self.invites(calendar):
            raise UnsupportedOperation(ALONE, code="invitations_not_optional", fields={"sendUpdates": [ALONE]})

    def _seen(self, calendar: RemoteCalendar, target: Target) -> Target:
        """The target with its text. A version that no condition can name is compared here, right before the write."""
        if target.raw and _is_strong(target.etag):
            return target
        stored = next(self.fetch(calendar, [target.remote_id]), None)
        if stored is None:
            raise RemoteMissing(f"{WHO} no longer has this event.")
        if stored.etag != target.etag or (target.raw and not stored.etag and stored.raw != target.raw):
            raise RemoteChanged(f"{WHO} has another version of this event.")
        return replace(target, raw=stored.raw)

    def _replaced(self, calendar: RemoteCalendar, target: Target, text: str) -> RemoteResource:
        response = self._put(target.remote_id, text, _condition(target))
        stored = next(self.fetch(calendar, [target.remote_id]), None)
        if stored is None:
            raise RemoteMissing(f"{WHO} no longer has this event.")
        # A PUT that was repeated on a new connection fails by what its first try wrote.
        if response.status == 412 and stored.events != read_events(text, time_zone=calendar.time_zone):
            raise RemoteChanged(f"{WHO} has another version of this event.")
        if response.status != 412:
            raise_for_provider(response, WHO)
        return stored

    def _put(self, path: str, text: str, condition: dict[str, str]) -> Response:
        response = _unlocked(self.dav.call("PUT", path, {**CALENDAR, **condition}, text.encode()))
        if response.status == 412 and b"valid-calendar" in response.content:  # xandikos says so of bad data
            raise ProviderRejected(f"{WHO} cannot read the event as it was written.")
        return response

    def _overtaken(self, calendar: RemoteCalendar, target: Target) -> RemoteChanged | RemoteMissing:
        """What a failed condition means: another version, or none."""
        if next(self.fetch(calendar, [target.remote_id]), None) is None:
            return RemoteMissing(f"{WHO} no longer has this event.")
        return RemoteChanged(f"{WHO} has another version of this event.")


def _unlocked(response: Response) -> Response:
    """Two who write at once meet a lock on some servers (xandikos; RFC 4918 11.3): nothing was written, and who asks
    again learns whether it still may be."""
    if response.status == 423:
        raise ProviderRateLimited(f"{WHO} is writing there for somebody else.", retry_after=1, code="calendar_locked")
    return response


def _is_strong(etag: str) -> bool:
    """Whether If-Match can name it (RFC 9110 13.1.1: weak ones never match)."""
    return bool(etag) and not etag.startswith("W/")


def _condition(target: Target) -> dict[str, str]:
    return {"If-Match": target.etag} if _is_strong(target.etag) else {}


def _read(target: Target, calendar: RemoteCalendar) -> Resource:
    try:
        return Resource(target.raw, time_zone=calendar.time_zone, stamp=datetime.now(UTC))
    except BadCalendar as error:
        raise ProviderRejected(f"The event on the server cannot be changed here. {error}") from error
