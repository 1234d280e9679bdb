"""The Calendar API's calls, one method each: path, parameters and limits as in Google's discovery document (a test
compares). Called by `provider` alone. Answers are plain JSON objects, still to be read by `answers` and `events`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from calendar_sync.providers.base import CalendarAccount
from calendar_sync.providers.google.answers import Json
from calendar_sync.providers.google.errors import check, check_watch, refuses_token
from core import http
from core.errors import CursorExpired, ProviderUnavailable
from core.http import Response

DEFAULT_ORIGIN = "https://www.googleapis.com"
BASE = "/calendar/v3"
CALENDARS_PAGE, EVENTS_PAGE, SMALL_PAGE = 250, 2500, 100
"""The most that calendarList.list and events.list give at once; and what is asked for where that is too many bytes."""
TIMEOUT, LIST_TIMEOUT = 30.0, 60.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
EVENT_TYPES = ("default", "focusTime", "fromGmail", "outOfOffice")
"""Birthdays and working locations are left out: they are no meetings, come every day or year, and nobody can write
them. A sync token keeps this choice: all parameters have to be as in the first request."""


class CalendarApi:
    """The calendars of one access token."""

    def __init__(self, account: CalendarAccount) -> None:
        origin = account.settings.get("calendarApiUrl")
        self._origin = (origin if isinstance(origin, str) and origin else DEFAULT_ORIGIN).rstrip("/")
        self._bearer = account.access_token
        self._meter = account.meter

    def calendars(self, page_token: str) -> Json:
        """calendarList.list."""
        params = {"maxResults": CALENDARS_PAGE, "pageToken": page_token or None}
        return check(self._ask("GET", "/users/me/calendarList", params=params)).json_object()

    def events(self, calendar_id: str, page_token: str, sync_token: str = "") -> Json:
        """events.list, series unexpanded. CursorExpired where one of the tokens is no longer good."""
        params: dict[str, Any] = {"singleEvents": False, "eventTypes": EVENT_TYPES, "maxResults": EVENTS_PAGE}
        params |= {"pageToken": page_token or None, "syncToken": sync_token or None}
        path = f"{_calendar(calendar_id)}/events"
        try:
            response = self._ask("GET", path, params=params, timeout=LIST_TIMEOUT)
        except ProviderUnavailable as error:
            if error.code != http.TOO_LARGE:
                raise
            params["maxResults"] = SMALL_PAGE
            response = self._ask("GET", path, params=params, timeout=LIST_TIMEOUT)
        if (page_token or sync_token) and refuses_token(response):
            raise CursorExpired("Google Calendar no longer takes the token.")
        return check(response).json_object()

    def event(self, calendar_id: str, event_id: str) -> Json:
        """events.get. RemoteMissing where it never was; one that was deleted comes as cancelled."""
        return check(self._ask("GET", _event(calendar_id, event_id))).json_object()

    # --- writing --------------------------------------------------------------------------------------------------

    def insert(self, calendar_id: str, body: Json, notify: str) -> Json | None:
        """events.insert. None where there is an event with its id already (409 duplicate)."""
        params = {"conferenceDataVersion": 1, "sendUpdates": notify}
        response = self._ask("POST", f"{_calendar(calendar_id)}/events", params=params, json=body)
        return None if response.status == 409 else check(response).json_object()

    def patch(self, calendar_id: str, event_id: str, body: Json, notify: str, etag: str = "") -> Json:
        """events.patch. RemoteChanged where it has another etag by now."""
        params = {"conferenceDataVersion": 1, "sendUpdates": notify}
        headers = {"If-Match": etag} if etag else None
        path = _event(calendar_id, event_id)
        return check(self._ask("PATCH", path, params=params, json=body, headers=headers)).json_object()

    def delete(self, calendar_id: str, event_id: str, notify: str, etag: str) -> None:
        """events.delete. RemoteMissing where it was gone already, RemoteChanged as in `patch`."""
        headers = {"If-Match": etag} if etag else None
        check(self._ask("DELETE", _event(calendar_id, event_id), params={"sendUpdates": notify}, headers=headers))

    # --- channels -------------------------------------------------------------------------------------------------

    def watch_list(self, body: Json) -> Json:
        """calendarList.watch, of what `calendars` lists."""
        return check_watch(self._ask("POST", "/users/me/calendarList/watch", json=body, idempotent=False)).json_object()

    def watch(self, calendar_id: str, body: Json) -> Json:
        """events.watch, of what `events` lists. UnsupportedOperation where Google tells of no changes in it."""
        path, params = f"{_calendar(calendar_id)}/events/watch", {"eventTypes": EVENT_TYPES}
        return check_watch(self._ask("POST", path, params=params, json=body, idempotent=False)).json_object()

    def stop(self, channel_id: str, resource_id: str) -> None:
        """channels.stop. RemoteMissing where there is no such channel."""
        check(self._ask("POST", "/channels/stop", json={"id": channel_id, "resourceId": resource_id}, idempotent=True))

    # --- calls ----------------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **arguments: Any) -> Response:
        """Every request costs one of the user's per minute."""
        self._meter.spend(1)
        limits: dict[str, Any] = {"timeout": TIMEOUT, "max_bytes": MAX_ANSWER_BYTES}
        url = f"{self._origin}{BASE}{path}"
        return http.request(method, url, bearer=self._bearer, headers=headers, **{**limits, **arguments})


def _calendar(calendar_id: str) -> str:
    return f"/calendars/{quote(calendar_id, safe='')}"


def _event(calendar_id: str, event_id: str) -> str:
    return f"{_calendar(calendar_id)}/events/{quote(event_id, safe='')}"
