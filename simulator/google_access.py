"""What stands in front of every Google API: the bearer token, the scopes of a method, the `fields` mask behind it.
Used by the packages of the APIs (`gmail`, `drive`); words as Google's servers put them."""

from __future__ import annotations

import json
from typing import Any

from simulator.errors import Refusal, google_error
from simulator.grants import AccessToken
from simulator.partial import Mask, parse_mask
from simulator.state import World
from simulator.wire import Request

NO_TOKEN = (
    "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
)
BAD_TOKEN = NO_TOKEN.replace("is missing required authentication credential", "had invalid authentication credentials")
REALM = 'Bearer realm="https://accounts.google.com/"'


def living_token(world: World, request: Request) -> AccessToken:
    """The request's token, and its account noted on the request; 401 when there is none or it is dead."""
    text = request.bearer()
    if not text:
        raise google_error(401, "Login Required.", "required", headline=NO_TOKEN, headers={"WWW-Authenticate": REALM})
    token = world.authority.live_access(text, world.now())
    if token is None or token.grant.vendor != "google":
        headers = {"WWW-Authenticate": f'{REALM}, error="invalid_token"'}
        raise google_error(401, "Invalid Credentials", "authError", headline=BAD_TOKEN, headers=headers)
    request.account = token.grant.account
    return token


def check_scopes(token: AccessToken, scopes: tuple[str, ...], operation: str) -> None:
    """One of the scopes is enough; 403 without any. `operation` is the method's name in the discovery document."""
    if set(scopes) & set(token.scopes):
        return
    service = f"{operation.partition('.')[0]}.googleapis.com"
    details = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
            "domain": "googleapis.com",
            "metadata": {"service": service, "method": operation},
        }
    ]
    headers = {"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{" ".join(scopes)}"'}
    headline = "Request had insufficient authentication scopes."
    raise google_error(
        403, "Insufficient Permission", "insufficientPermissions", headline=headline, details=details, headers=headers
    )


def invalid(message: str, reason: str = "invalidArgument") -> Refusal:
    return google_error(400, message, reason)


def read_mask(text: str) -> Mask:
    try:
        return parse_mask(text)
    except ValueError as error:
        raise invalid(f"Invalid field selection {text}", "invalidParameter") from error


def flag(request: Request, name: str) -> bool:
    return request.argument(name, "false").lower() in ("true", "1")


def opaque(value: object) -> str:
    """A page token: opaque to the caller, readable to `reveal`."""
    return json.dumps(value, separators=(",", ":")).encode().hex()


def reveal(token: str) -> Any:
    try:
        return json.loads(bytes.fromhex(token))
    except ValueError as error:
        raise invalid("Invalid pageToken") from error
