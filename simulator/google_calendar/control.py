"""/_control/calendar: calendars and events made, changed and looked at behind the hub's back, sync tokens forgotten,
tokens without a consent page."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from simulator.control import add_call
from simulator.google_calendar import channels
from simulator.google_calendar.access import Call
from simulator.google_calendar.methods import CALENDAR
from simulator.google_calendar.store import ROLES, Calendar, CalendarState, Item
from simulator.google_calendar.writing import carry, insert, patch, remove
from simulator.grants import GOOGLE_CLIENT_ID
from simulator.mailbox_control import missing
from simulator.routing import Router
from simulator.state import World
from simulator.wire import Request

CHANGEABLE = {"summary", "time_zone", "access_role", "selected", "hidden", "color"}


def register_control(router: Router, world: World) -> None:
    control, events = CalendarControl(world), "/calendar/{email}/calendars/{calendarId}/events"
    for method, path, handler in (
        ("GET", "/calendar/{email}", control.truth),
        ("POST", "/calendar/{email}/calendars", control.add_calendar),
        ("PATCH", "/calendar/{email}/calendars/{calendarId}", control.change_calendar),
        ("DELETE", "/calendar/{email}/calendars/{calendarId}", control.remove_calendar),
        ("POST", events, control.add_event),
        ("PUT", f"{events}/{{eventId}}", control.put_event),
        ("PATCH", f"{events}/{{eventId}}", control.change_event),
        ("DELETE", f"{events}/{{eventId}}", control.delete_event),
        ("POST", f"{events}/{{eventId}}/move", control.move_event),
        ("POST", "/calendar/{email}/expire-sync", control.expire_sync),
        ("POST", "/calendar/{email}/tokens", control.tokens),
        ("GET", "/calendar/{email}/channels", control.channels),
    ):
        add_call(router, method, path, handler)


class CalendarControl:
    def __init__(self, world: World) -> None:
        self.world = world

    def truth(self, request: Request) -> dict[str, Any]:
        """Every calendar of an account with what is in it, tombstones included."""
        found = self._book(request).values()
        return {"calendars": [one.describe() | {"events": [item.body for item in one.items.values()]} for one in found]}

    def add_calendar(self, request: Request) -> dict[str, Any]:
        """`id`, and if wanted `summary, time_zone, access_role, selected, hidden, color`."""
        body, book = request.json(), self._book(request)
        identity = str(body.pop("id"))
        book[identity] = Calendar(identity, str(body.pop("summary", identity)))
        self.world.part(CalendarState).list_changed(self._email(request))
        return self._alter(book[identity], body)

    def change_calendar(self, request: Request) -> dict[str, Any]:
        self.world.part(CalendarState).list_changed(self._email(request))
        return self._alter(self._calendar(request), request.json())

    def _alter(self, calendar: Calendar, changes: dict[str, Any]) -> dict[str, Any]:
        if set(changes) - CHANGEABLE or changes.get("access_role", ROLES[0]) not in ROLES:
            raise ValueError(f"not changeable: {changes}")
        for name, value in changes.items():
            setattr(calendar, name, value)
        return calendar.describe()

    def remove_calendar(self, request: Request) -> dict[str, Any]:
        self.world.part(CalendarState).list_changed(self._email(request))
        return self._book(request).pop(self._calendar(request).id).describe()

    def add_event(self, request: Request) -> dict[str, Any]:
        """As another client would insert it; `organizer` may be somebody else, who invites the account."""
        return insert(self._as_owner(request))

    def put_event(self, request: Request) -> dict[str, Any]:
        """Stored as it is, without a check: what a broken client left there."""
        body = request.json() | {"id": request.params["eventId"]}
        return self._calendar(request).put(body, self.world.now()).body

    def change_event(self, request: Request) -> dict[str, Any]:
        """As another client would patch it."""
        return patch(self._as_owner(request))

    def delete_event(self, request: Request) -> dict[str, Any]:
        """A series, an event, or one instance by its id."""
        item = self._item(request)
        remove(self._calendar(request), item, self.world.now())
        return item.body

    def move_event(self, request: Request) -> dict[str, Any]:
        """`destination`: the id of another calendar of the account."""
        target = self._book(request)[str(request.json()["destination"])]
        return carry(self._calendar(request), target, self._item(request), self.world.now()).body

    def expire_sync(self, request: Request) -> dict[str, Any]:
        """Every sync token given out so far is too old; of one calendar with `calendar`."""
        wanted = request.json().get("calendar")
        found = [one for one in self._book(request).values() if wanted in (None, one.id)]
        for calendar in found:
            calendar.number += 1
            calendar.floor = calendar.number
        return {"expired": len(found)}

    def tokens(self, request: Request) -> dict[str, Any]:
        """What a consent would end in: `scopes` (default calendar)."""
        email, authority = self._email(request), self.world.authority
        scopes = [str(scope) for scope in request.json().get("scopes") or [CALENDAR]]
        grant = authority.consent("google", GOOGLE_CLIENT_ID, email, scopes)
        life = self.world.settings.google_access_token_seconds
        access = authority.issue_access(grant, scopes, self.world.now() + life, "ya29.a0")
        return {"access_token": access.token, "expires_in": life}

    def channels(self, request: Request) -> dict[str, Any]:
        """The account's living channels."""
        email = self._email(request)
        return {"channels": [channels.describe(one) for one in channels.living(self.world) if one.account == email]}

    def _email(self, request: Request) -> str:
        account = self.world.account("google", request.params["email"])
        if account is None:
            raise missing("google account")
        return account.email

    def _book(self, request: Request) -> dict[str, Calendar]:
        return self.world.part(CalendarState).book(self._email(request))

    def _calendar(self, request: Request) -> Calendar:
        found = self._book(request).get(request.params["calendarId"])
        if found is None:
            raise missing("calendar")
        return found

    def _item(self, request: Request) -> Item:
        return self._as_owner(request).item(self._calendar(request))

    def _as_owner(self, request: Request) -> Call:
        """A call of Google's own client: it asks for conferences, and nothing is noted as the hub's doing."""
        target = f"{request.path}?{urlencode({'conferenceDataVersion': 1})}"
        own = Request(request.method, target, request.headers, request.body, params=request.params)
        return Call(self.world, own, self._email(request))
