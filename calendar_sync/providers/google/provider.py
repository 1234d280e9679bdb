"""The Google Calendar adapter: calendars of the list, events unexpanded, changes by sync token.

A cursor is a sync token, followed by a space and a page token in the middle of a round. Deleted events come as
cancelled ones in a round of changes, and not at all in a listing: what a listing does not name is gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

from calendar_sync.content import clean
from calendar_sync.providers.base import CalendarAccount, CalendarProvider
from calendar_sync.providers.google import answers, events
from calendar_sync.providers.google.answers import Json, is_set, text
from calendar_sync.providers.google.api import CalendarApi
from calendar_sync.providers.google.writing import Writer
from calendar_sync.records import ChangePage, EventDraft, ListingPage, RemoteCalendar, RemoteResource, Target
from core.errors import CursorExpired, RemoteMissing
from core.metering import Quota

WRITING = frozenset({"owner", "writer", "writerWithoutPrivateAccess"})
"""Access roles that may write events."""
_COLOR = re.compile(r"#[0-9a-f]{6}")
_CURSOR = re.compile(r"([!-~]+)(?: ([!-~]+))?")


class GoogleCalendar(CalendarProvider):
    """The calendars in a Google user's list."""

    key: ClassVar[str] = "google"
    quota: ClassVar[Quota | None] = Quota(600, 60.0)
    """Requests per minute and user of a project of today (developers.google.com/workspace/calendar/api/guides/quota);
    `accounts` asks the operator for another figure."""

    def __init__(self, account: CalendarAccount) -> None:
        super().__init__(account)
        self._api = CalendarApi(account)

    def calendars(self) -> list[RemoteCalendar]:
        """Those in the user's list; what they hid there is not."""
        found: list[RemoteCalendar] = []
        token = ""
        while True:
            page = self._api.calendars(token)
            found += [_calendar(item) for item in answers.items(page) if not is_set(item, "deleted")]
            token = answers.token(page, "nextPageToken", token)
            if not token:
                return found

    def start_cursor(self, calendar: RemoteCalendar) -> str:
        """A listing's last page gives one."""
        return ""

    def listing(self, calendar: RemoteCalendar, token: str) -> ListingPage:
        """Whole events, changed and cancelled instances among them; a page may be empty."""
        page = self._api.events(calendar.remote_id, token)
        there = [item for item in answers.items(page) if not events.is_gone(item)]
        return ListingPage(
            resources=tuple(self._resource(calendar, page, item) for item in there),
            next_token=answers.token(page, "nextPageToken", token),
            cursor=answers.token(page, "nextSyncToken"),
        )

    def changes(self, calendar: RemoteCalendar, cursor: str) -> ChangePage:
        """By sync token; a stand-in that gives none is listed anew each time."""
        known = _CURSOR.fullmatch(cursor)
        if known is None:
            raise CursorExpired("This is no sync token of Google Calendar.")
        sync_token, page_token = known[1], known[2] or ""
        page = self._api.events(calendar.remote_id, page_token, sync_token)
        items = answers.items(page)
        onward = answers.token(page, "nextPageToken", page_token)
        following = f"{sync_token} {onward}" if onward else answers.token(page, "nextSyncToken")
        if not following:
            raise CursorExpired("Google Calendar gave no new sync token.")
        return ChangePage(
            cursor=following,
            resources=tuple(self._resource(calendar, page, item) for item in items if not events.is_gone(item)),
            removed=tuple(text(item, "id") for item in items if events.is_gone(item)),
            more=bool(onward),
        )

    def fetch(self, calendar: RemoteCalendar, remote_ids: Sequence[str]) -> Iterator[RemoteResource]:
        """One by one: listings come whole, so nothing but a look at single events asks."""
        for remote_id in remote_ids:
            try:
                item = self._api.event(calendar.remote_id, remote_id)
            except RemoteMissing:
                continue
            if not events.is_gone(item):
                yield events.resource_of(item, calendar.time_zone)

    # --- writing --------------------------------------------------------------------------------------------------

    def create(self, calendar: RemoteCalendar, draft: EventDraft, *, key: str, notify: str) -> RemoteResource:
        return Writer(self._api, calendar).create(draft, key=key, notify=notify)

    def update(
        self, calendar: RemoteCalendar, target: Target, draft: EventDraft, changed: frozenset[str], *, notify: str
    ) -> tuple[RemoteResource, ...]:
        return Writer(self._api, calendar).update(target, draft, changed, notify=notify)

    def delete(self, calendar: RemoteCalendar, target: Target, *, notify: str) -> tuple[RemoteResource, ...]:
        return Writer(self._api, calendar).delete(target, notify=notify)

    def respond(
        self, calendar: RemoteCalendar, target: Target, response: str, *, notify: str, comment: str = ""
    ) -> tuple[RemoteResource, ...]:
        return Writer(self._api, calendar).respond(target, response, notify=notify, comment=comment)

    def _resource(self, calendar: RemoteCalendar, page: Json, item: Json) -> RemoteResource:
        return events.resource_of(item, text(page, "timeZone") or calendar.time_zone)


def _calendar(item: Json) -> RemoteCalendar:
    """An entry of the list. `selected` is its tick in Google's own view."""
    color = text(item, "backgroundColor").lower()
    name = text(item, "summaryOverride") or text(item, "summary") or text(item, "id")
    primary = is_set(item, "primary")
    return RemoteCalendar(
        remote_id=text(item, "id"),
        name=clean(name, 500),
        color=color if _COLOR.fullmatch(color) else "",
        time_zone=clean(text(item, "timeZone"), 200),
        read_only=text(item, "accessRole") not in WRITING,
        is_primary=primary,
        selected=primary or is_set(item, "selected"),
    )
