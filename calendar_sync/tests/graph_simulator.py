"""The simulator as Microsoft Graph's calendars: an account, its token, and another client of the same user's."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from calendar_sync.providers.base import CalendarAccount
from calendar_sync.providers.graph import GraphCalendar
from calendar_sync.records import RemoteCalendar, RemoteResource
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

    def __init__(self, simulator: Simulator, email: str) -> None:
        self.simulator, self.email = simulator, email
        simulator.create_account("microsoft", email)
        self.token = access_token(simulator, email)

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
