"""What stands in front of every Gmail method: the token, the scope, the mailbox asked for, the quota. Also the
`fields` mask behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from simulator.errors import Refusal, google_error
from simulator.gmail.methods import METADATA, Method
from simulator.google_access import check_scopes, invalid, living_token, read_mask
from simulator.grants import AccessToken
from simulator.mailbox import Mailbox, StoredMessage
from simulator.state import Account, World
from simulator.wire import Request, Response, json_response

QUOTA_MESSAGE = (
    "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute per user' of service "
    "'gmail.googleapis.com' for consumer 'project_number:000000000001'."
)


@dataclass
class Call:
    """A Gmail call that has passed every check; what the resource modules work with."""

    world: World
    request: Request
    account: Account
    mailbox: Mailbox
    token: AccessToken

    def message(self, name: str = "id") -> StoredMessage:
        """The message named in the path; a malformed id is 400, an unknown one 404."""
        identity = self.request.params[name]
        if not is_id(identity):
            raise invalid("Invalid id value")
        message = self.mailbox.messages.get(identity)
        if message is None:
            raise not_found()
        return message

    def body(self) -> dict[str, Any]:
        try:
            return self.request.json()
        except ValueError as error:
            raise invalid("Invalid JSON payload received.", "parseError") from error

    def changed(self, kind: str, **facts: Any) -> None:
        """Notes the effect for the ledger."""
        self.request.effect = {"kind": kind, **facts}

    def limited_to_metadata(self) -> bool:
        """Google refuses content to a token that carries gmail.metadata, even beside wider scopes
        (google-api-python-client issue 582, closed as will not fix)."""
        return METADATA in self.token.scopes


Handler = Callable[[Call], object]


class Access:
    """A route's handler: checks, then the resource's own function, then the answer as JSON."""

    def __init__(self, world: World, operation: str, method: Method, handler: Handler) -> None:
        self.world, self.operation, self.method, self.handler = world, operation, method, handler

    def __call__(self, request: Request) -> Response:
        token = living_token(self.world, request)
        check_scopes(token, self.method.scopes, self.operation)
        account = self.world.account("google", token.grant.account)
        if account is None or account.mailbox is None:
            raise google_error(400, "Mail service not enabled", "failedPrecondition")
        self._check_user(request, account)
        self._charge(request, account)
        value = self.handler(Call(self.world, request, account, account.mailbox, token))
        return self._answer(request, value)

    def _check_user(self, request: Request, account: Account) -> None:
        user = unquote(request.params["userId"]).lower()
        if user not in ("me", account.email):
            raise google_error(403, f"Delegation denied for {account.email}", "forbidden")

    def _charge(self, request: Request, account: Account) -> None:
        settings = self.world.settings
        request.units = settings.gmail_costs.get(self.operation, self.method.units)
        limit = settings.gmail_quota_units_per_minute
        if not limit:
            return
        quota = self.world.quota
        if not quota.take(account.email, request.units, limit, self.world.now()):
            request.units = 0
            raise quota_refusal(settings.gmail_quota_status)

    def _answer(self, request: Request, value: object) -> Response:
        if value is None:
            return Response(204)
        mask = request.argument("fields")
        if mask and isinstance(value, dict):
            value = read_mask(mask).apply(value)
        return json_response(value)


def quota_refusal(status: int) -> Refusal:
    """Google says it with 403 or with 429, and words it differently (both are seen in public reports)."""
    if status == 429:
        return google_error(429, "Resource has been exhausted (e.g. check quota).", "rateLimitExceeded")
    details = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "RATE_LIMIT_EXCEEDED",
            "domain": "googleapis.com",
            "metadata": {"service": "gmail.googleapis.com", "quota_limit": "UnitsPerMinutePerUser"},
        }
    ]
    return google_error(403, QUOTA_MESSAGE, "rateLimitExceeded", details=details)


def not_found() -> Refusal:
    return google_error(404, "Requested entity was not found.", "notFound")


def is_id(text: str) -> bool:
    return 1 <= len(text) <= 16 and all(digit in "0123456789abcdef" for digit in text)


def page_size(request: Request) -> int:
    """maxResults: 100 unless told, 500 at most; more is silently 500."""
    text = request.argument("maxResults", "100")
    if not text.isdigit():
        raise invalid(f"Invalid value at 'max_results' (TYPE_UINT32), \"{text}\"")
    return max(1, min(int(text) or 100, 500))
