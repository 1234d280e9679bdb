"""What stands in front of every SendGrid call: the key, its region, the endpoint's rate, the key's scope. Also GET
/v3/scopes, the shape of the errors and the rate headers on every answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulator.errors import Refusal
from simulator.sendgrid.state import Account, Key, SendGrid
from simulator.state import World
from simulator.wire import Request, Response, json_response

VENDOR = "sendgrid"
EU = "eu"
WINDOW_SECONDS = 60
BAD_KEY = "The provided authorization grant is invalid, expired, or revoked"
TYPICAL = {
    400: "Bad Request",
    401: BAD_KEY,
    403: "access forbidden",
    404: "not found",
    413: "Payload Too Large",
    429: "too many requests",
    500: "internal server error",
    503: "service unavailable",
}


@dataclass
class Call:
    """A call that has passed every check."""

    world: World
    request: Request
    account: Account
    key: Key


Handler = Callable[[Call], object]


def refusal(status: int, *problems: tuple[str, str | None]) -> Refusal:
    """`problems` are (message, field)."""
    errors = [{"message": message, "field": field, "help": None} for message, field in problems]
    return Refusal(json_response({"errors": errors}, status))


def typical(operation: str, status: int, reason: str) -> Response:
    """For faults: `reason` is the message."""
    return refusal(status, (reason or TYPICAL.get(status, "error"), None)).response


def scopes(call: Call) -> dict[str, Any]:
    return {"scopes": sorted(call.key.scopes)}


class Access:
    """A route's handler: checks, then the resource's own function, then the answer."""

    def __init__(self, world: World, region: str, scope: str, handler: Handler) -> None:
        self.world, self.region, self.scope, self.handler = world, region, scope, handler

    def __call__(self, request: Request) -> Response:
        key = self._caller(request)
        account = self.world.part(SendGrid).account(key.account)
        request.account = account.name
        headers = self._count(account, request.operation)
        try:
            if self.scope and self.scope not in key.scopes:
                raise refusal(403, ("access forbidden", None))
            value = self.handler(Call(self.world, request, account, key))
            response = value if isinstance(value, Response) else json_response(value)
        except Refusal as refused:
            response = refused.response
        response.headers = headers | response.headers
        return response

    def _caller(self, request: Request) -> Key:
        if not request.bearer():
            raise refusal(401, ("authorization required", None))
        key = self.world.part(SendGrid).keys.get(request.bearer())
        if key is None or key.region != self.region:
            raise refusal(401, (BAD_KEY, None))
        return key

    def _count(self, account: Account, operation: str) -> dict[str, str]:
        """Per endpoint and minute; Reset is an epoch, and no Retry-After comes (reference workspace 2.3)."""
        limit, minute = self.world.settings.sendgrid_requests_per_minute, int(self.world.now()) // WINDOW_SECONDS
        if not limit:
            return {}
        begun, count = account.calls.get(operation, (minute, 0))
        count = count + 1 if begun == minute else 1
        account.calls[operation] = (minute, count)
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(0, limit - count)),
            "X-RateLimit-Reset": str((minute + 1) * WINDOW_SECONDS),
        }
        if count > limit:
            refused = refusal(429, ("too many requests", None))
            refused.response.headers |= headers
            raise refused
        return headers
