"""What stands in front of every Graph call: the token, the scope, the user asked for, the mailbox's state, the two
throttles, the size of the body. Behind it: request ids on every answer."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulator.errors import Refusal, graph_error, trace_id
from simulator.exchange import ExchangeMailbox, Folder, Item
from simulator.grants import AccessToken
from simulator.graph.methods import Method
from simulator.state import Account, World
from simulator.wire import Request, Response, json_response

PREFER = re.compile(r'([\w.-]+)\s*=\s*(?:"([^"]*)"|([^\s,;"]+))')
ID = re.compile(r"A[AQ][A-Za-z0-9_-]{40,600}={0,2}")
# Well-known names of folders that a mailbox need not have, and those here have not.
ABSENT = {"clutter", "conflicts", "localfailures", "scheduled", "searchfolders", "serverfailures", "syncissues"}
MAX_BODY_BYTES = 4 * 1024 * 1024
WINDOW_SECONDS = 600
CONTEXT = "https://graph.microsoft.com/v1.0/$metadata#"


@dataclass
class Call:
    """A Graph call that has passed every check; what the resource modules work with."""

    world: World
    request: Request
    account: Account
    mailbox: ExchangeMailbox
    token: AccessToken

    @property
    def now(self) -> float:
        return self.world.now()

    @property
    def origin(self) -> str:
        """Where the caller found us: next links are absolute and lead there."""
        return f"http://{self.request.headers.get('host', '127.0.0.1')}"

    @property
    def immutable(self) -> bool:
        """Whether this request asks for immutable ids; each request decides anew."""
        return prefer(self.request, "IdType").lower() == "immutableid"

    def id_of(self, item: Item) -> str:
        return item.immutable_id if self.immutable else item.id

    def item(self, name: str = "id") -> Item:
        """The message named in the path: a malformed id is 400, an unknown one or one of a place it left 404."""
        identity = self.request.params[name]
        if not ID.fullmatch(identity):
            raise graph_error(400, "ErrorInvalidIdMalformed", "Id is malformed.")
        item = self.mailbox.item(identity)
        if item is None or ("folder" in self.request.params and item.folder_id != self.folder().id):
            raise item_not_found()
        return item

    def folder(self, name: str = "folder") -> Folder:
        return self.folder_named(self.request.params[name])

    def folder_named(self, identity: str) -> Folder:
        folder = self.mailbox.folder(identity)
        if folder is not None:
            return folder
        if not ID.fullmatch(identity) and identity.lower() not in ABSENT:
            raise graph_error(400, "ErrorInvalidIdMalformed", "Id is malformed.")
        raise item_not_found()

    def body(self) -> dict[str, Any]:
        try:
            return self.request.json()
        except ValueError as error:
            raise bad_request("Unable to read JSON request payload.") from error

    def changed(self, kind: str, **facts: Any) -> None:
        """Notes the effect for the ledger."""
        self.request.effect = {"kind": kind, **facts}


Handler = Callable[[Call], object]


class Access:
    """A route's handler: checks, then the resource's own function, then the answer."""

    def __init__(self, world: World, method: Method, handler: Handler) -> None:
        self.world, self.method, self.handler = world, method, handler

    def __call__(self, request: Request) -> Response:
        try:
            response = self._answer(request)
        except Refusal as refusal:
            response = refusal.response
        return stamped(self.world, request, response)

    def _answer(self, request: Request) -> Response:
        token, account = caller(self.world, request)
        check_scope(token, self.method.scopes)
        if request.params.get("user", account.email).lower() not in (account.email, account.subject):
            raise access_denied()
        mailbox = open_mailbox(self.world, request, account)
        if len(request.body) > MAX_BODY_BYTES:
            raise graph_error(413, "RequestEntityTooLarge", "The request body is larger than the 4 MB allowed.")
        mailbox.settle(self.world.now())
        value = self.handler(Call(self.world, request, account, mailbox, token))
        if isinstance(value, Response):
            return value
        return Response(204) if value is None else json_response(value)


def caller(world: World, request: Request) -> tuple[AccessToken, Account]:
    text = request.bearer()
    if not text:
        raise graph_error(401, "InvalidAuthenticationToken", "Access token is empty.")
    token = world.authority.live_access(text, world.now())
    account = world.account("microsoft", token.grant.account) if token else None
    if token is None or account is None or token.grant.vendor != "microsoft":
        raise graph_error(401, "InvalidAuthenticationToken", "Lifetime validation failed, the token is expired.")
    request.account = account.email
    check_claims(token, world.settings.graph_required_claims)
    return token, account


def check_claims(token: AccessToken, required: str) -> None:
    """Continuous access evaluation: a token that lives may no longer suffice. Only a client that says it understands is
    told so."""
    wanted, has = claims_of(required), claims_of(token.claims)
    if not wanted or "cp1" not in has.get("xms_cc", {}).get("values", []):
        return
    if any(has.get(name) != value for name, value in wanted.items()):
        message = "Continuous access evaluation resulted in challenge with result: InteractionRequired."
        refusal = graph_error(401, "InvalidAuthenticationToken", message)
        packed = base64.b64encode(required.encode()).decode()
        refusal.response.headers["WWW-Authenticate"] += f', error="insufficient_claims", claims="{packed}"'
        raise refusal


def claims_of(text: str) -> dict[str, Any]:
    """Those of the access token in a claims request; none where it is not one."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    own = value.get("access_token") if isinstance(value, dict) else None
    return own if isinstance(own, dict) else {}


def check_scope(token: AccessToken, scopes: tuple[str, ...]) -> None:
    held = {scope.lower() for scope in token.scopes}
    if not held & {scope.lower() for scope in scopes}:
        raise access_denied()


def open_mailbox(world: World, request: Request, account: Account) -> Any:
    """The mailbox, unless it has none (yet) or has had enough."""
    throttle(world, request, account)
    if account.exchange is None or account.email in world.settings.graph_disabled_mailboxes:
        message = "The mailbox is either inactive, soft-deleted, or is hosted on-premise."
        raise graph_error(404, "MailboxNotEnabledForRESTAPI", message)
    return account.exchange


def throttle(world: World, request: Request, account: Account) -> None:
    """4 requests at once and 10,000 in ten minutes per mailbox; refused ones count, too."""
    settings = world.settings
    request.units = 1
    spent = world.mailbox_requests.note(account.email, world.now(), WINDOW_SECONDS)
    limit = settings.graph_requests_per_ten_minutes
    if limit and spent > limit:
        wait = world.mailbox_requests.seconds_until(account.email, limit, world.now(), WINDOW_SECONDS)
        message = "Application is over its MailboxRequests limit."
        raise throttled(message, wait)
    if settings.graph_requests_in_flight and request.in_flight > settings.graph_requests_in_flight:
        raise throttled("Application is over its MailboxConcurrency limit.", settings.graph_retry_after_seconds)


def throttled(message: str, seconds: int) -> Refusal:
    refusal = graph_error(429, "ApplicationThrottled", message)
    refusal.response.headers["Retry-After"] = str(seconds)
    return refusal


def stamped(world: World, request: Request, response: Response) -> Response:
    """Request ids in the headers and, in an error, in its innerError; the caller's own id comes back."""
    own = request.headers.get("client-request-id", "")
    identity = trace_id(f"{request.target}{world.now()}{request.account}")
    response.headers |= {"request-id": identity}
    if own:
        response.headers["client-request-id"] = own
    if response.status >= 400 and response.body.startswith(b'{"error"'):
        error = json.loads(response.body)
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(world.now()))
        inner = {"date": when, "request-id": identity, "client-request-id": own or identity}
        error["error"]["innerError"] = inner
        response.body = json.dumps(error).encode()
    return response


def prefer(request: Request, name: str) -> str:
    """A value of the Prefer header, which may come several times and hold several; empty when not given."""
    for found, quoted, bare in PREFER.findall(request.headers.get("prefer", "")):
        if found.lower() == name.lower():
            return str(quoted or bare)
    return ""


def access_denied() -> Refusal:
    return graph_error(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")


def item_not_found() -> Refusal:
    return graph_error(404, "ErrorItemNotFound", "The specified object was not found in the store.")


def bad_request(message: str, code: str = "BadRequest") -> Refusal:
    return graph_error(400, code, message)


def created(value: dict[str, Any], location: str = "") -> Response:
    return json_response(value, 201, {"Location": location} if location else None)


def accepted() -> Response:
    return Response(202)
