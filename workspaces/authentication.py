"""Bearer tokens for the API: `request.user` is the member, `request.auth` the token with its workspace and role.

One query finds token, member, user and workspace together, and says by the database's clock whether the token is over.
A second one follows at most every five minutes, to note the use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any, cast

from django.db import connection as database
from django.db import models
from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from workspaces.models import LAST_USED_EVERY, ApiToken, ClockTimestamp, Membership, User, Workspace
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


def still_good(token: ApiToken) -> bool:
    """Whether a token that was good when a long answer began still is: not over, not revoked, its member not gone."""
    row = ApiToken.objects.select_related("membership__user").annotate(now=ClockTimestamp()).filter(pk=token.pk).first()
    if row is None:
        return False
    try:
        _check_alive(row, row.now)  # type: ignore[attr-defined]  # annotated above
    except TokenRefused:
        return False
    return True


def _bearer(request: Request) -> str:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise TokenRefused("token_missing")
    return text.strip()


_READ: tuple[type[models.Model], ...] = (ApiToken, Membership, Workspace, User)


@cache
def _statement() -> str:
    """SQL: all that a request needs to know of its caller. Written once a process, because every request asks it and
    Django takes several times as long to write it as PostgreSQL to answer."""
    columns = [f'{model._meta.db_table}."{field.column}"' for model in _READ for field in model._meta.concrete_fields]
    return f"""
        SELECT {", ".join(columns)}, clock_timestamp()
        FROM workspaces_apitoken
        JOIN workspaces_membership ON workspaces_membership.id = workspaces_apitoken.membership_id
        JOIN workspaces_workspace ON workspaces_workspace.id = workspaces_membership.workspace_id
        JOIN workspaces_user ON workspaces_user.id = workspaces_membership.user_id
        WHERE workspaces_apitoken.lookup = %s
    """  # noqa: S608 - names of our own tables and columns


def _find(text: str) -> tuple[ApiToken, datetime] | None:
    """The row this text names, and the database's time; whether the text opens it is still to be checked."""
    lookup = tokens.lookup_of(text)
    if lookup is None:
        return None
    with database.cursor() as cursor:
        cursor.execute(_statement(), [lookup])
        row = cursor.fetchone()
    if row is None:
        return None
    values = iter(row)
    token, membership, workspace, user = (_made(model, values) for model in _READ)
    token.membership, membership.workspace, membership.user = membership, workspace, user
    return token, next(values)


def _made(model: type[models.Model], values: Iterator[Any]) -> Any:
    """A row of `model` from the values that are its own."""
    names = [field.attname for field in model._meta.concrete_fields]
    return model.from_db(database.alias, names, list(islice(values, len(names))))


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
