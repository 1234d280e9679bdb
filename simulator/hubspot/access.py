"""What stands in front of every call of HubSpot: token, throttles, scope. And its error body."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from simulator.errors import Refusal, trace_id
from simulator.hubspot.portal import HubSpot
from simulator.state import World
from simulator.wire import Request, Response, json_response

VENDOR = "hubspot"
TYPICAL_WORDS = {
    400: ("VALIDATION_ERROR", "Invalid input JSON"),
    401: ("INVALID_AUTHENTICATION", "Authentication credentials not found."),
    403: ("MISSING_SCOPES", "This app hasn't been granted all required scopes to make this call."),
    404: ("OBJECT_NOT_FOUND", "resource not found"),
    409: ("CONFLICT", "Contact already exists. Existing ID: 1"),
    423: ("LOCKED", "This record is locked. Try again in 2 seconds."),
    477: ("MIGRATION_IN_PROGRESS", "This account is being migrated."),
}
POLICIES = {"SECONDLY": "secondly", "TEN_SECONDLY_ROLLING": "ten_secondly_rolling", "DAILY": "daily"}


def error(
    status: int, category: str, message: str, errors: list[dict[str, Any]] | None = None,
    headers: dict[str, str] | None = None,
) -> Refusal:  # fmt: skip
    body: dict[str, Any] = {
        "status": "error",
        "message": message,
        "correlationId": trace_id(f"{category}{message}"),
        "category": category,
    }
    return Refusal(json_response(body | ({"errors": errors} if errors else {}), status, headers))


def throttled(policy: str, headers: dict[str, str] | None = None) -> Refusal:
    body = {
        "status": "error",
        "message": f"You have reached your {POLICIES[policy]} limit.",
        "errorType": "RATE_LIMIT",
        "correlationId": trace_id(policy),
        "policyName": policy,
    }
    return Refusal(json_response(body, 429, headers))


def typical(operation: str, status: int, reason: str) -> Response:
    """What it says with this status, for faults that give no body; `reason` is a policy (429) or a category."""
    if status == 429:
        return throttled(reason or "TEN_SECONDLY_ROLLING").response
    category, message = TYPICAL_WORDS.get(status, ("INTERNAL_ERROR", "internal error"))
    return error(status, reason or category, message).response


@dataclass
class Call:
    """A request that was let in."""

    request: Request
    world: World
    portal: HubSpot

    @property
    def kind(self) -> str:
        return self.request.params["kind"]

    def body(self) -> dict[str, Any]:
        try:
            return self.request.json()
        except ValueError:
            raise error(400, "VALIDATION_ERROR", "Invalid input JSON") from None


class Access:
    """Runs `handler` with a `Call`. `verb` is read or write, "" where any token will do."""

    def __init__(self, world: World, verb: str, handler: Callable[[Call], Response], *, search: bool = False) -> None:
        self.world, self.verb, self.handler, self.search = world, verb, handler, search

    def __call__(self, request: Request) -> Response:
        portal = self.world.part(HubSpot)
        request.account = str(portal.portal_id)
        scopes = self._scopes(request, portal)
        headers = self._admit(portal)
        kind = request.params.get("kind", "")
        if kind and kind not in portal.objects:
            raise error(400, "VALIDATION_ERROR", f"Unable to infer object type from: {kind}")
        # Emails hang on contacts: their scopes are those (developers.hubspot.com, activities/emails/guide).
        needed = f"crm.objects.{'companies' if kind == 'companies' else 'contacts'}.{self.verb}"
        if self.verb and needed not in scopes:
            words = "One or more of the following scopes are required."
            missing = [{"message": words, "context": {"requiredGranularScopes": [needed]}}]
            raise error(403, "MISSING_SCOPES", TYPICAL_WORDS[403][1], missing)
        response = self.handler(Call(request, self.world, portal))
        response.headers |= headers | {"Date": formatdate(self.world.now(), usegmt=True)}
        return response

    def _scopes(self, request: Request, portal: HubSpot) -> list[str]:
        token = request.bearer()
        if token in portal.expired:
            raise error(401, "EXPIRED_AUTHENTICATION", "The OAuth token used to make this call expired.")
        if token not in portal.tokens:
            words = "Authentication credentials not found. This API supports OAuth 2.0 authentication."
            raise error(401, "INVALID_AUTHENTICATION", words)
        return portal.tokens[token]

    def _admit(self, portal: HubSpot) -> dict[str, str]:
        """The headers of the answer, none for a search; raises the 429 of the policy that is reached."""
        settings, now = portal.settings, self.world.now()
        portal.today += 1
        if portal.today > settings.requests_per_day:
            raise throttled("DAILY")
        if self.search and not _take(portal.searches, settings.search_per_second, 1, now):
            raise throttled("SECONDLY")
        limit = settings.requests_per_ten_seconds
        if not _take(portal.lately, limit, 10, now):
            raise throttled("TEN_SECONDLY_ROLLING")
        if self.search:
            return {}
        return {
            "X-HubSpot-RateLimit-Max": str(limit),
            "X-HubSpot-RateLimit-Remaining": str(max(0, limit - len(portal.lately))),
            "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
            "X-HubSpot-RateLimit-Daily": str(settings.requests_per_day),
            "X-HubSpot-RateLimit-Daily-Remaining": str(settings.requests_per_day - portal.today),
        }


def _take(lately: deque[float], limit: int, seconds: float, now: float) -> bool:
    while lately and lately[0] <= now - seconds:
        lately.popleft()
    if limit and len(lately) >= limit:
        return False
    lately.append(now)
    return True
