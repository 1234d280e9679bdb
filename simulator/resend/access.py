"""What stands in front of every Resend call: the User-Agent, the key, the team's rate, the key's permission. Also the
shape of its errors and the rate headers on every answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from simulator.errors import Refusal
from simulator.resend.state import Resend, Team
from simulator.state import World
from simulator.wire import Request, Response, json_response

VENDOR = "resend"
FULL, SENDING = "full_access", "sending_access"
WINDOW_SECONDS = 1.0
TYPICAL = {
    400: ("validation_error", "We found an error with one or more fields in the request."),
    401: ("validation_error", "API key is invalid"),
    403: ("invalid_api_key", "API key is invalid"),
    404: ("not_found", "The requested endpoint does not exist."),
    409: ("concurrent_idempotent_requests", "Same idempotency key used while original request is still in progress."),
    422: ("validation_error", "We found an error with one or more fields in the request."),
    429: ("rate_limit_exceeded", "Too many requests. Please limit the number of requests per second."),
    451: ("security_error", "We may have found a security issue with the request."),
}
QUOTA_WORDS = {
    "daily_quota_exceeded": "You have reached your daily email sending quota.",
    "monthly_quota_exceeded": "You have reached your monthly email sending quota.",
}


@dataclass
class Call:
    """A call that has passed every check."""

    world: World
    request: Request
    team: Team


Handler = Callable[[Call], object]


def refusal(status: int, name: str, message: str, headers: dict[str, str] | None = None) -> Refusal:
    return Refusal(json_response({"statusCode": status, "name": name, "message": message}, status, headers))


def invalid(message: str, name: str = "validation_error") -> Refusal:
    return refusal(422, name, message)


def typical(operation: str, status: int, reason: str) -> Response:
    """For faults: `reason` is the error's name."""
    name, message = TYPICAL.get(status, ("internal_server_error", "An unexpected error occurred."))
    message = QUOTA_WORDS.get(reason, message)
    headers = {"retry-after": "1"} if status == 429 else {}
    return refusal(status, reason or name, message, headers).response


class Access:
    """A route's handler: checks, then the resource's own function, then the answer as JSON."""

    def __init__(self, world: World, permission: str, handler: Handler) -> None:
        self.world, self.permission, self.handler = world, permission, handler

    def __call__(self, request: Request) -> Response:
        if not request.headers.get("user-agent"):
            # Their CDN answers, not their API (reference workspace 1).
            return Response(403, b"error code: 1010", {}, "text/plain; charset=UTF-8")
        team, permission = self._caller(request)
        request.account = team.name
        headers = self._count(team)
        try:
            if permission == SENDING and self.permission == FULL:
                raise refusal(401, "restricted_api_key", "This API key is restricted to only send emails")
            response = json_response(self.handler(Call(self.world, request, team)))
        except Refusal as refused:
            response = refused.response
        response.headers = headers | response.headers
        return response

    def _caller(self, request: Request) -> tuple[Team, str]:
        if not request.bearer():
            raise refusal(401, "missing_api_key", "Missing API Key")
        state = self.world.part(Resend)
        key = state.keys.get(request.bearer())
        if key is None:
            status = self.world.settings.resend_invalid_key_status
            raise refusal(status, "invalid_api_key" if status == 403 else "validation_error", "API key is invalid")
        return state.team(key.team), key.permission

    def _count(self, team: Team) -> dict[str, str]:
        """The rate is the team's, whatever the key; refused calls count too."""
        limit, now = self.world.settings.resend_requests_per_second, self.world.now()
        if not limit:
            return {}
        if team.requests and team.requests[0] + WINDOW_SECONDS <= now:
            team.requests.clear()
        team.requests.append(now)
        reset = str(max(1, math.ceil(team.requests[0] + WINDOW_SECONDS - now)))
        left = limit - len(team.requests)
        headers = {"ratelimit-limit": str(limit), "ratelimit-remaining": str(max(0, left)), "ratelimit-reset": reset}
        if left < 0:
            words = f"Too many requests. You can only make {limit} requests per second. "
            words += "See rate limit response headers for more information. Or contact support to increase rate limit."
            raise refusal(429, "rate_limit_exceeded", words, headers | {"retry-after": reset})
        return headers
