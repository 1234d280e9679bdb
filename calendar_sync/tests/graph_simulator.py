"""The simulator as Microsoft Graph's calendars: an account, its token, and another client of the same user's."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from calendar_sync import zones
from calendar_sync.providers.base import CalendarAccount
from calendar_sync.providers.graph import GraphCalendar
from calendar_sync.records import CANCELLED, RemoteCalendar, RemoteEvent, RemoteResource, Span
from calendar_sync.tests.contract import Seen, TroubledHarness
from simulator.process import Simulator

SCOPES = "openid offline_access User.Read Calendars.ReadWrite"
NINE = {"dateTime": "2026-01-05T09:00:00", "timeZone": "Europe/Berlin"}
TEN = {"dateTime": "2026-01-05T10:00:00", "timeZone": "Europe/Berlin"}


def access_token(simulator: Simulator, email: str, scope: str = SCOPES) -> str:
    """A token as a consenting user's browser would have brought it."""
    env, callback = simulator.env(), "http://hub.test/callback"
    asked = {"client_id": env["MICROSOFT_CLIENT_ID"], "redirect_uri": callback, "response_type": "code", "scope": scope}
    location = simulator.authorize(f"{env['MICROSOFT_AUTHORIZE_URL']}?{urlencode(asked)}", email)
    form = {
        "grant_type": "authorization_code",
        "code": parse_qs(urlsplit(location).query)["code"][0],
        "redirect_uri": callback,
        "client_id": env["MICROSOFT_CLIENT_ID"],
        "client_secret": env["MICROSOFT_CLIENT_SECRET"],
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    path = urlsplit(env["MICROSOFT_TOKEN_URL"]).path
    _, _, body = simulator.request("POST", path, headers=headers, body=urlencode(form).encode())
    return str(json.loads(body)["access_token"])


class Mailbox:
    """An account of the simulator, seen from both sides."""

    def __init__(self, simulator: Simulator, email: str, token: str = "") -> None:
        """A new account; with a token of one that is there, that one."""
        self.simulator, self.email = simulator, email
        if not token:
            simulator.create_account("microsoft", email)
        self.token = token or access_token(simulator, email)

    # --- the hub's side -----------------------------------------------------------------------------------------

    def provider(self) -> GraphCalendar:
        return GraphCalendar(CalendarAccount(self.email, self.token, {"graphApiUrl": self.simulator.base_url}))

    def calendar(self, name: str = "Calendar") -> RemoteCalendar:
        return next(one for one in self.provider().calendars() if one.name == name)

    def fetched(self, *remote_ids: str) -> list[RemoteResource]:
        return list(self.provider().fetch(self.calendar(), remote_ids))

    def one(self, remote_id: str) -> RemoteResource:
        found = self.fetched(remote_id)
        assert len(found) == 1
        return found[0]

    # --- another client -----------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
        """A request of another client of the same user's; answered with 2xx."""
        sent = {"Authorization": f"Bearer {self.token}", "Prefer": 'IdType="ImmutableId"', **headers}
        if body is not None:
            sent["Content-Type"] = "application/json"
        packed = json.dumps(body).encode() if body is not None else b""
        status, _, answer = self.simulator.request(method, f"/v1.0/me{path}", headers=sent, body=packed)
        assert 200 <= status < 300, answer
        return json.loads(answer) if answer else None

    def add(self, subject: str = "Lunch", **fields: Any) -> str:
        """An hour in Berlin; its id."""
        given = {"subject": subject, "start": NINE, "end": TEN, **fields}
        calendar = given.pop("calendar", "")
        path = f"/calendars/{quote(calendar)}/events" if calendar else "/events"
        return str(self.ask("POST", path, given)["id"])

    def change(self, remote_id: str, **fields: Any) -> None:
        self.ask("PATCH", f"/events/{quote(remote_id)}", fields)

    def delete(self, remote_id: str) -> None:
        self.ask("DELETE", f"/events/{quote(remote_id)}")

    def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Behind everybody's back."""
        return self.simulator.control(method, f"/microsoft/{self.email}/{path}", body)

    def seed(self, *events: dict[str, Any]) -> list[str]:
        """As Exchange holds them, whatever a client could say."""
        given = [{"subject": "Lunch", "start": NINE, "end": TEN, **event} for event in events]
        return [one["id"] for one in self.control("POST", "events", {"events": given})["events"]]

    def truth(self) -> list[dict[str, Any]]:
        return list(self.control("GET", "calendars")["events"])

    def instances(self, remote_id: str, begin: str, end: str) -> list[dict[str, Any]]:
        """What Graph itself makes of a series."""
        window = urlencode({"startDateTime": begin, "endDateTime": end, "$top": 1000})
        return list(self.ask("GET", f"/events/{quote(remote_id)}/instances?{window}")["value"])


def weekly(*days: str, **parts: Any) -> dict[str, Any]:
    """A patternedRecurrence from 5 January 2026 on, a Monday."""
    return series({"type": "weekly", "daysOfWeek": list(days or ("monday",)), "firstDayOfWeek": "sunday"}, **parts)


def series(pattern: dict[str, Any], *, start: str = "2026-01-05", zone: str = "", **range_: Any) -> dict[str, Any]:
    """Without an end unless `range_` names one."""
    kind = "numbered" if "numberOfOccurrences" in range_ else "endDate" if "endDate" in range_ else "noEnd"
    given = {"type": kind, "startDate": start, **range_}
    if zone:
        given["recurrenceTimeZone"] = zone
    return {"pattern": {"interval": 1, **pattern}, "range": given}


class GraphHarness(TroubledHarness):
    """An account of the simulator, for the contract."""

    TOLD: ClassVar[dict[str, str]] = {
        "FREQ=WEEKLY;BYDAY=MO": "FREQ=WEEKLY;BYDAY=MO;WKST=MO",
        "FREQ=YEARLY": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=1",
    }
    """Rules that come back with what Graph says besides: its patterns leave nothing to be understood."""

    def __init__(self, simulator: Simulator, email: str) -> None:
        super().__init__()
        self.mailbox = Mailbox(simulator, email)
        self.ids: dict[str, str] = {}
        """By UID; a move keeps it."""

    def provider(self) -> GraphCalendar:
        return self.mailbox.provider()

    def truth(self) -> dict[str, set[Seen]]:
        def told(one: Seen) -> Seen:
            return replace(one, rules=frozenset(";".join(sorted(self._told(rule).split(";"))) for rule in one.rules))

        return {name: {told(one) for one in inside} for name, inside in super().truth().items()}

    def _told(self, rule: str) -> str:
        known = {";".join(sorted(given.split(";"))): whole for given, whole in self.TOLD.items()}
        return known.get(rule, rule)

    def make_calendar(self, name: str) -> str:
        return str(self.mailbox.control("POST", "calendars", {"name": name})["id"])

    def write(self, calendar: str, events: tuple[RemoteEvent, ...]) -> None:
        master, *changed = events
        fields = event_fields(master)
        if master.uid in self.ids:
            self._change(master.uid, {"fields": fields})
        else:
            [self.ids[master.uid]] = self.mailbox.seed(fields | {"calendar": calendar, "ical_uid": master.uid})
        for one in changed:
            day = day_of(one.recurrence_key, master.span)
            gone = one.status == CANCELLED
            self._change(master.uid, {"cancelled": [day]} if gone else {"day": day, "fields": event_fields(one)})

    def _change(self, uid: str, changes: dict[str, Any]) -> None:
        self.mailbox.control("PATCH", f"events/{quote(self.ids[uid])}", changes)

    def erase(self, calendar: str, uid: str) -> None:
        self.mailbox.control("DELETE", f"events/{quote(self.ids.pop(uid))}")

    def carry(self, source: str, target: str, uid: str) -> None:
        self._change(uid, {"calendar": target})

    def put_broken(self, calendar: str) -> None:
        hourly = {"pattern": {"type": "hourly", "interval": 1}, "range": {"type": "noEnd", "startDate": "2026-01-05"}}
        self.mailbox.seed({"subject": "Broken", "calendar": calendar, "recurrence": hourly})

    def lost(self, cursor: str) -> str:
        """Of a calendar that held what this one never did."""
        since, _, fresh = json.loads(cursor)
        return json.dumps([since, 999, fresh])

    def refuse_token(self) -> None:
        self.mailbox.simulator.expire_tokens(vendor="microsoft")

    def throttle(self, seconds: int) -> None:
        self.mailbox.simulator.fault("status", status=429, headers={"Retry-After": str(seconds)})

    def fail(self, status: int) -> None:
        self.mailbox.simulator.fault("status", status=status)

    def garble(self) -> None:
        self.mailbox.simulator.fault("garbage")


def event_fields(event: RemoteEvent) -> dict[str, Any]:
    """As Exchange holds them."""
    span = event.span
    begin = zones.instant(span.start, zones.zone(span.zone)) if span.zone else span.start.replace(tzinfo=UTC)
    start = {"dateTime": f"{span.start:%Y-%m-%dT%H:%M:%S}", "timeZone": span.zone or "UTC"}
    end = {"dateTime": f"{begin.astimezone(UTC) + span.duration:%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"}
    fields = {"subject": event.title, "start": start, "end": end, "isAllDay": span.all_day}
    return fields | ({"recurrence": _recurrence(event)} if event.recurrence.rules else {})


def _recurrence(event: RemoteEvent) -> dict[str, Any]:
    """Of the contract's rules."""
    [rule] = event.recurrence.rules
    parts = dict(part.split("=") for part in rule.split(";"))
    first, zone = event.span.start.date(), event.span.zone
    ends = {"numberOfOccurrences": int(parts["COUNT"])} if "COUNT" in parts else {}
    pattern: dict[str, Any] = {"type": "daily"}
    if parts["FREQ"] == "WEEKLY":
        pattern = {"type": "weekly", "daysOfWeek": ["monday"], "firstDayOfWeek": "monday"}
    elif parts["FREQ"] == "YEARLY":
        pattern = {"type": "absoluteYearly", "month": first.month, "dayOfMonth": first.day}
    return series(pattern, start=first.isoformat(), zone=zone, **ends)


def day_of(key: str, span: Span) -> str:
    """The day of an occurrence on its series' wall."""
    if span.all_day:
        return f"{datetime.strptime(key, '%Y%m%d'):%Y-%m-%d}"
    moment = datetime.strptime(key, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return f"{zones.wall(moment, zones.zone(span.zone)):%Y-%m-%d}"
