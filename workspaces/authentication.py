"""Bearer tokens for the API: `request.user` is the member, `request.auth` the token with its workspace and role.

One query finds token, member, user and workspace together, and says by the database's clock whether the token is over.
A second one follows at most every five minutes, to note the use.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import cast

from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from workspaces.models import LAST_USED_EVERY, ApiToken, ClockTimestamp, User
from workspaces.services import tokens

WORDS = {
    "token_missing": "Send an API token as `Authorization: Bearer <token>`.",
    "token_invalid": "This API token is not valid.",
    "token_expired": "This API token has expired.",
    "token_revoked": "This API token was revoked.",
    "user_inactive": "This account is not active.",
}


def caller(request: Request) -> ApiToken:
    """Who calls, for views behind a token: `.user`, `.workspace`, `.role`."""
    return cast(ApiToken, request.auth)


def login_name(request: HttpRequest, credentials: Mapping[str, str] | None = None) -> str:
    """Whose failures django-axes counts, in one case. It would look for a form field named after USERNAME_FIELD, which
    Django's log-in form does not have, and count everybody as nobody (axes/helpers.py get_client_username)."""
    given = credentials or request.POST
    return (given.get("username") or given.get(User.USERNAME_FIELD) or "").strip().lower()


class TokenRefused(AuthenticationFailed):
    """401 with a stable code; `core.api.errors` adds the one error shape, DRF the WWW-Authenticate header."""

    def __init__(self, code: str) -> None:
        super().__init__(detail=WORDS[code], code=code)


class BearerAuthentication(BaseAuthentication):
    """Answers for every request that reaches a view with it: no token is an error here, not an anonymous user."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken]:
        text = _bearer(request)
        found = _find(text)
        if found is None or not tokens.matches(found[0], text):
            raise TokenRefused("token_invalid")
        token, now = found
        _check_alive(token, now)
        if token.last_used_at is None or token.last_used_at < now - LAST_USED_EVERY:
            token.touch()
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


def _bearer(request: Request) -> str:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise TokenRefused("token_missing")
    return text.strip()


def _find(text: str) -> tuple[ApiToken, datetime] | None:
    """The row this text names, and the database's time; whether the text opens it is still to be checked."""
    lookup = tokens.lookup_of(text)
    if lookup is None:
        return None
    rows = ApiToken.objects.select_related("membership__user", "membership__workspace")
    for row in rows.filter(lookup=lookup).annotate(now=ClockTimestamp()):
        return row, row.now  # type: ignore[attr-defined]  # annotated above
    return None


def _check_alive(token: ApiToken, now: datetime) -> None:
    """Called after the secret matched, so that a stranger learns nothing about a token."""
    if token.revoked_at is not None:
        raise TokenRefused("token_revoked")
    if token.expires_at is not None and token.expires_at <= now:
        raise TokenRefused("token_expired")
    if not token.user.is_active:
        raise TokenRefused("user_inactive")


class BearerScheme(OpenApiAuthenticationExtension):
    """How the schema and the Swagger UI show it."""

    target_class = "workspaces.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "hub_…"}
