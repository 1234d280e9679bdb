"""What stands in front of every call of Airtable: token, rates with their penalty, the month's quota, scope, base,
table. And its three shapes of an error: an object, a bare word, and the list that 429s come in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from simulator.airtable.base import Airtable, Base, Table, Token
from simulator.errors import Refusal
from simulator.state import World
from simulator.wire import Request, Response, json_response

VENDOR = "airtable"
NOT_VISIBLE = (
    "Invalid permissions, or the requested model was not found. Check that both your user and your token have the "
    "required permissions, and that the model names and/or ids are correct."
)
RATE_WORDS = "Rate limit exceeded. Please try again later"
QUOTA_WORDS = "API billing plan limit exceeded. You've reached the maximum number of requests allowed for this month."
TYPICAL_WORDS = {
    400: ("INVALID_REQUEST_UNKNOWN", "Could not parse request body"),
    401: ("AUTHENTICATION_REQUIRED", "Authentication required"),
    403: ("INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND", NOT_VISIBLE),
    413: ("REQUEST_TOO_LARGE", "The request body is too large"),
    422: ("INVALID_REQUEST_UNKNOWN", "Invalid request: parameter validation failed. Check your request data."),
    500: ("SERVER_ERROR", "An unexpected error occurred"),
    503: ("SERVICE_UNAVAILABLE", "The service is temporarily unavailable"),
}


def error(status: int, kind: str, message: str = "") -> Refusal:
    body = {"type": kind, "message": message} if message else {"type": kind}
    return Refusal(json_response({"error": body}, status))


def bare(status: int, word: str) -> Refusal:
    return Refusal(json_response({"error": word}, status))


def throttled(word: str = "RATE_LIMIT_REACHED") -> Refusal:
    words = QUOTA_WORDS if word == "PUBLIC_API_BILLING_LIMIT_EXCEEDED" else RATE_WORDS
    return Refusal(json_response({"errors": [{"error": word, "message": words}]}, 429))


def typical(operation: str, status: int, reason: str) -> Response:
    """What it says with this status, for faults that give no body; `reason` is the word."""
    if status == 429:
        return throttled(reason or "RATE_LIMIT_REACHED").response
    if status == 404:
        return bare(404, reason or "NOT_FOUND").response
    kind, message = TYPICAL_WORDS.get(status, ("SERVER_ERROR", ""))
    return error(status, reason or kind, message).response


@dataclass
class Call:
    """A request that was let in."""

    request: Request
    world: World
    airtable: Airtable
    token: Token
    base: Base | None = None
    table: Table | None = None

    @property
    def the_base(self) -> Base:
        if self.base is None:
            raise bare(404, "NOT_FOUND")
        return self.base

    @property
    def the_table(self) -> Table:
        if self.table is None:
            raise error(403, "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND", NOT_VISIBLE)
        return self.table


class Access:
    """Runs `handler` with a `Call` if everything allows it. `scope` empty: none needed."""

    def __init__(self, world: World, scope: str, handler: Callable[[Call], Response]) -> None:
        self.world, self.scope, self.handler = world, scope, handler

    def __call__(self, request: Request) -> Response:
        airtable = self.world.part(Airtable)
        call = Call(request, self.world, airtable, self._token(request, airtable))
        request.account = call.token.email
        wanted = request.params.get("base", "")
        self._admit(airtable, call.token, wanted)
        self._count(airtable, request)
        if self.scope and self.scope not in call.token.scopes:
            raise error(403, "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND", NOT_VISIBLE)
        if wanted:
            call.base = self._base(airtable, call.token, wanted)
            call.table = call.base.table(request.params.get("table", ""))
        return self.handler(call)

    def _token(self, request: Request, airtable: Airtable) -> Token:
        given = request.bearer()
        if not given:
            raise error(401, "AUTHENTICATION_REQUIRED", "Authentication required")
        if given not in airtable.tokens:
            raise error(401, "UNAUTHORIZED", "Invalid token")
        return airtable.tokens[given]

    def _admit(self, airtable: Airtable, token: Token, base: str) -> None:
        """5 a second per base and 50 per owner; one too many, and everything is refused for the penalty."""
        settings, now = airtable.settings, self.world.now()
        limits = {token.user: settings.owner_requests_per_second}
        if base:
            limits[base] = settings.base_requests_per_second
        if any(airtable.blocked_until.get(name, 0.0) > now for name in limits):
            raise throttled()
        for name, limit in limits.items():
            lately = airtable.lately.setdefault(name, deque())
            while lately and lately[0] <= now - 1:
                lately.popleft()
            if len(lately) >= limit:
                airtable.blocked_until[name] = now + settings.penalty_seconds
                raise throttled()
            lately.append(now)

    def _count(self, airtable: Airtable, request: Request) -> None:
        """The month's calls, which metadata calls neither use nor miss."""
        if request.segments[1] == "meta":
            return
        airtable.calls += 1
        if airtable.settings.monthly_calls and airtable.calls > airtable.settings.monthly_calls:
            raise throttled("PUBLIC_API_BILLING_LIMIT_EXCEEDED")

    def _base(self, airtable: Airtable, token: Token, name: str) -> Base:
        if not name.startswith("app"):
            raise bare(404, "NOT_FOUND")
        visible = token.bases is None or name in token.bases
        if name not in airtable.bases or not visible:
            raise error(403, "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND", NOT_VISIBLE)
        return airtable.bases[name]
