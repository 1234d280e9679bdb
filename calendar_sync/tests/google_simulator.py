"""The simulator as Google Calendar: an account, its token, the truth and the harness of the contract."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

from calendar_sync import zones
from calendar_sync.providers.base import CalendarAccount
from calendar_sync.providers.google import GoogleCalendar
from calendar_sync.records import CANCELLED, RemoteEvent, Span
from calendar_sync.tests.contract import TroubledHarness
from core.ids import uuid7
from simulator.process import Simulator

SCOPES = [
    f"https://www.googleapis.com/auth/calendar.{name}" for name in ("events", "calendarlist.readonly", "freebusy")
]
"""What is asked for (integrations.oauth.google)."""


class GoogleTruth:
    """What only the control API may: an account's calendars behind everybody's back."""

    def __init__(self, simulator: Simulator, email: str) -> None:
        self.simulator, self.email = simulator, email

    def call(self, method: str, path: str = "", body: dict[str, Any] | None = None) -> Any:
        return self.simulator.control(method, f"/calendar/{quote(self.email)}{path}", body)

    def token(self, *scopes: str) -> str:
        return str(self.call("POST", "/tokens", {"scopes": list(scopes or SCOPES)})["access_token"])

    def calendars(self) -> dict[str, dict[str, Any]]:
        return {one["id"]: one for one in self.call("GET")["calendars"]}

    def events(self, calendar: str) -> dict[str, dict[str, Any]]:
        """By id, tombstones included."""
        return {one["id"]: one for one in self.calendars()[calendar]["events"]}

    def add_calendar(self, identity: str, **facts: Any) -> str:
        return str(self.call("POST", "/calendars", {"id": identity, **facts})["id"])

    def change_calendar(self, identity: str, **facts: Any) -> None:
        self.call("PATCH", f"/calendars/{quote(identity)}", facts)

    def remove_calendar(self, identity: str) -> None:
        self.call("DELETE", f"/calendars/{quote(identity)}")

    def add(self, calendar: str, body: dict[str, Any]) -> str:
        """As Google's own client would insert it; its id."""
        return str(self.call("POST", f"/calendars/{quote(calendar)}/events", body)["id"])

    def put(self, calendar: str, identity: str, body: dict[str, Any]) -> None:
        """As it is, unchecked."""
        self.call("PUT", f"/calendars/{quote(calendar)}/events/{identity}", body)

    def change(self, calendar: str, identity: str, **changes: Any) -> None:
        self.call("PATCH", f"/calendars/{quote(calendar)}/events/{identity}", changes)

    def remove(self, calendar: str, identity: str) -> None:
        self.call("DELETE", f"/calendars/{quote(calendar)}/events/{identity}")

    def move(self, calendar: str, identity: str, destination: str) -> None:
        self.call("POST", f"/calendars/{quote(calendar)}/events/{identity}/move", {"destination": destination})

    def expire_sync(self) -> None:
        self.call("POST", "/expire-sync", {})


def account_at(simulator: Simulator, email: str, token: str) -> CalendarAccount:
    return CalendarAccount(email, token, {"calendarApiUrl": simulator.base_url})


class GoogleHarness(TroubledHarness):
    """An account of the simulator. Pages hold two events at most, and each listing begins with an empty one."""

    def __init__(self, simulator: Simulator, email: str) -> None:
        super().__init__()
        self.simulator, self.email, self.truth_of = simulator, email, GoogleTruth(simulator, email)
        simulator.create_account("google", email)
        simulator.settings(google_calendar_page=2, google_calendar_empty_pages=1)
        self.token = self.truth_of.token()

    def provider(self) -> GoogleCalendar:
        return GoogleCalendar(account_at(self.simulator, self.email, self.token))

    def make_calendar(self, name: str) -> str:
        return self.truth_of.add_calendar(f"{uuid7().hex}@group.calendar.google.com", summary=name)

    def write(self, calendar: str, events: tuple[RemoteEvent, ...]) -> None:
        for event in events:
            self.truth_of.put(calendar, event_id(event), event_body(event))

    def erase(self, calendar: str, uid: str) -> None:
        self.truth_of.remove(calendar, id_of(uid))

    def carry(self, source: str, target: str, uid: str) -> None:
        self.truth_of.move(source, id_of(uid), target)

    def put_broken(self, calendar: str) -> None:
        body = {
            "status": "confirmed",
            "iCalUID": "broken",
            "start": {"dateTime": "soon"},
            "end": {"date": "2026-01-06"},
        }
        self.truth_of.put(calendar, "broken", body)

    def lost(self, cursor: str) -> str:
        self.truth_of.expire_sync()
        return cursor

    def refuse_token(self) -> None:
        self.simulator.revoke(vendor="google", email=self.email)

    def throttle(self, seconds: int) -> None:
        self.simulator.fault("status", status=403, reason="rateLimitExceeded", headers={"Retry-After": str(seconds)})

    def fail(self, status: int) -> None:
        self.simulator.fault("status", status=status)

    def garble(self) -> None:
        self.simulator.fault("garbage")


def id_of(uid: str) -> str:
    """The event id that stands for a UID."""
    return "e" + uid.encode().hex()


def event_id(event: RemoteEvent) -> str:
    return id_of(event.uid) + (f"_{event.recurrence_key}" if event.recurrence_key else "")


def event_body(event: RemoteEvent) -> dict[str, Any]:
    """As Google would hold it."""
    if event.recurrence_key:
        parent = {"recurringEventId": id_of(event.uid), "originalStartTime": _original(event)}
        if event.status == CANCELLED:
            return {"status": CANCELLED, **parent}
    else:
        parent = {}
    start, end = times(event.span)
    body = {"status": event.status, "iCalUID": event.uid, "summary": event.title, "start": start, "end": end, **parent}
    if event.recurrence:
        body["recurrence"] = [f"RRULE:{rule}" for rule in event.recurrence.rules]
    return body


def times(span: Span) -> tuple[dict[str, str], dict[str, str]]:
    """Start and end; instants with UTC's offset, whatever the zone beside them."""
    if span.all_day:
        return tuple({"date": f"{moment:%Y-%m-%d}"} for moment in (span.start, span.start + span.duration))  # type: ignore[return-value]
    begin = zones.instant(span.start, zones.zone(span.zone))
    found = [{"dateTime": (begin + add).isoformat(), "timeZone": span.zone} for add in (timedelta(), span.duration)]
    return found[0], found[1]


def _original(event: RemoteEvent) -> dict[str, str]:
    key = event.recurrence_key
    if len(key) == len("20260105"):
        return {"date": f"{key[:4]}-{key[4:6]}-{key[6:]}"}
    return {"dateTime": f"{key[:4]}-{key[4:6]}-{key[6:11]}:{key[11:13]}:{key[13:15]}Z", "timeZone": event.span.zone}
