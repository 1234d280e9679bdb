"""What stands in front of every Calendar method: token, scope, parameters, quota, and which calendars the account has.
Refusals in the Calendar API's words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulator.errors import Refusal, google_error
from simulator.google_access import check_scopes, invalid, living_token, read_mask
from simulator.google_calendar.methods import Method
from simulator.google_calendar.store import Calendar, CalendarState, Item
from simulator.google_calendar.times import instance_at
from simulator.state import World
from simulator.wire import Request, Response, json_response


@dataclass
class Call:
    """A call that has passed every check."""

    world: World
    request: Request
    email: str

    @property
    def book(self) -> dict[str, Calendar]:
        return self.world.part(CalendarState).book(self.email)

    def calendar(self, name: str = "") -> Calendar:
        """The one the path names, or `name`; `primary` is the account's own."""
        identity = name or self.request.params["calendarId"]
        found = self.book.get(self.email if identity == "primary" else identity)
        if found is None:
            raise not_found()
        return found

    def writable(self, name: str = "") -> Calendar:
        found = self.calendar(name)
        if not found.writable():
            raise google_error(403, "You need to have writer access to this calendar.", "requiredAccessLevel")
        return found

    def item(self, calendar: Calendar) -> Item:
        """The event the path names, deleted ones included; an instance that was never changed is made on the way."""
        identity = self.request.params["eventId"]
        if identity in calendar.items:
            return calendar.items[identity]
        parent, _, key = identity.rpartition("_")
        master = calendar.items.get(parent)
        if master is None or master.cancelled or not master.body.get("recurrence"):
            raise not_found()
        body = instance_at(master.body, key, calendar.time_zone)
        if body is None:
            raise not_found()
        return Item(body, master.number)

    def body(self) -> dict[str, Any]:
        try:
            return self.request.json()
        except ValueError as error:
            raise google_error(400, "Parse Error", "parseError") from error

    def match(self, item: Item) -> None:
        """If-Match, where it is given."""
        wanted = self.request.headers.get("if-match", "*").strip()
        if wanted not in ("*", str(item.body["etag"])):
            raise google_error(412, "Precondition Failed", "conditionNotMet")

    def changed(self, kind: str, calendar: Calendar, item: Item) -> None:
        """Notes the effect for the ledger: also who is told of it by mail."""
        told = [person["email"] for person in item.body.get("attendees", []) if not person.get("self")]
        mails = self.request.argument("sendUpdates", "none")
        effect = {"kind": kind, "calendar": calendar.id, "id": item.id, "sendUpdates": mails, "attendees": told}
        self.request.effect = effect


Handler = Callable[[Call], object]


class Access:
    """A route's handler: checks, then the resource's own function, then the answer as JSON."""

    def __init__(self, world: World, operation: str, method: Method, handler: Handler) -> None:
        self.world, self.operation, self.method, self.handler = world, operation, method, handler

    def __call__(self, request: Request) -> Response:
        token = living_token(self.world, request)
        check_scopes(token, self.method.scopes, self.operation)
        account = self.world.account("google", token.grant.account)
        if account is None:
            raise google_error(403, "The user must be signed up for Google Calendar.", "notACalendarUser")
        self._charge(request)
        unknown = sorted(set(request.query) - self.method.parameters)
        if unknown:
            raise invalid(f"Not imitated here: {unknown[0]}", "invalidParameter")
        value = self.handler(Call(self.world, request, account.email))
        if not isinstance(value, dict):
            return Response(204)
        mask = request.argument("fields")
        return json_response(read_mask(mask).apply(value) if mask else value)

    def _charge(self, request: Request) -> None:
        settings = self.world.settings
        limit, request.units = settings.google_calendar_requests_per_minute, 1
        if limit and not self.world.quota.take(f"calendar/{request.account}", 1, limit, self.world.now()):
            request.units = 0
            if settings.google_calendar_quota_status == 429:
                raise google_error(429, "Rate Limit Exceeded", "rateLimitExceeded")
            raise google_error(403, "Rate Limit Exceeded", "rateLimitExceeded")


def not_found() -> Refusal:
    return google_error(404, "Not Found", "notFound")


def page_size(call: Call, usual: int, most: int) -> int:
    """maxResults; more than is possible is silently less. The setting makes pages small."""
    text = call.request.argument("maxResults", str(usual))
    if not text.isdigit() or text == "0":
        raise invalid(f"Invalid value '{text}'. Values must be within the range: [1, 2147483647]", "invalidParameter")
    return min(int(text), most, call.world.settings.google_calendar_page or most)
