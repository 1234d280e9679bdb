"""The consent flow in two legs: `begin` sends a user to the provider, `finish` takes the answer and saves the account.

Called by the OAuth views and the console. What binds the legs is one `OAuthState` row: used once, for ten minutes,
found only by the hash of its state, and claimed before any request leaves. The callback carries no log-in, so where a
browser began the flow it must be the one that finishes it: a cookie says so (reference reliability S4, threats 1-6).
Endpoints come from the registry and the redirect URL from PUBLIC_URL, never from a request.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.urls import reverse

from core.errors import Conflict, HubError, InvalidInput, NotConfigured, NotFound
from integrations.models import Connection, OAuthState, SyncRun
from integrations.oauth import oauth_provider
from integrations.oauth.base import CAPABILITIES, Account, OAuthProvider
from integrations.services import capabilities, connections, return_to, tokens
from integrations.token_endpoint import TokenAnswer
from workspaces.models import Membership, User, Workspace
from workspaces.services import audit

STATE_MINUTES = 10
COOKIE_PREFIX = "hub_oauth_"

CLAIM = """
DELETE FROM integrations_oauthstate WHERE state_digest = %s
RETURNING *, expires_at > clock_timestamp() AS in_time
"""


@dataclass(frozen=True)
class Cookie:
    """What the browser that began the flow must bring back: HttpOnly, SameSite=Lax, only to the callback."""

    name: str
    value: str = field(repr=False)
    path: str
    secure: bool
    max_age: int = STATE_MINUTES * 60


@dataclass(frozen=True)
class Started:
    """A flow that began. `cookie` is None where no browser did."""

    url: str
    expires_at: datetime
    cookie: Cookie | None


@dataclass(frozen=True)
class Finished:
    """A connection made or renewed. The caller rings `runs` (`integrations.tasks.ring`)."""

    connection: Connection
    created: bool
    runs: list[SyncRun]
    return_to: str
    """"" where the result page is to be shown."""


def redirect_uri(provider: str) -> str:
    """The redirect URL to register with the vendor."""
    return settings.PUBLIC_URL.rstrip("/") + reverse("integrations:oauth-callback", args=[provider])


def begin(
    *,
    user: User,
    workspace: Workspace,
    provider: str,
    browser: bool,
    asked: Sequence[str] | None = None,
    back_to: str = "",
    connection_id: str = "",
) -> Started:
    """Begin a flow. `asked` are capabilities (None: all there are); `connection_id` names the one to re-authorise.

    NotFound: no such provider or connection. NotConfigured: no client id or secret here. InvalidInput: `asked` or
    `back_to` is not acceptable.
    """
    client = oauth_provider(provider)
    _check_asked(asked)
    back_to = return_to.checked(back_to)
    connection = _to_renew(user, workspace, provider, connection_id)
    if not client.configured():
        names = " and ".join(client.missing_settings())
        raise NotConfigured(f"{client.name} is not set up on this server: {names} must be set.")
    scopes = client.scopes_for(capabilities.wanted(provider, asked))
    hint = connection.account_email if connection else ""
    begun = client.begin(user=user, redirect_uri=redirect_uri(provider), scopes=scopes, login_hint=hint)
    cookie = _cookie(provider, begun.state) if browser else None
    OAuthState.objects.filter(expires_at__lt=Now()).delete()
    row = OAuthState.objects.create(
        workspace=workspace,
        user=user,
        provider=provider,
        state_digest=_digest(begun.state),
        browser_digest=_digest(cookie.value) if cookie else "",
        session=begun.session,
        return_to=back_to,
        wanted_scopes=scopes,
        connection=connection,
        expires_at=Now() + timedelta(minutes=STATE_MINUTES),
    )
    row.refresh_from_db(fields=["expires_at"])
    return Started(begun.url, row.expires_at, cookie)


def finish(*, provider: str, answer: Mapping[str, str], cookies: Mapping[str, str]) -> Finished:
    """Take the provider's answer, whoever brings it: the flow's own row says whose connection it becomes.

    InvalidInput `state_invalid`: unknown, used, expired or foreign state. `access_denied`: refused. Conflict
    `account_mismatch`: another account than the one to re-authorise. Nothing is stored in any of these cases; where the
    flow is the caller's own, the error's `extra` says `returnTo`, the way back.
    """
    client = oauth_provider(provider)
    flow = _claim(answer.get("state", ""))
    _check_bound(flow, client, answer, cookies)
    try:
        granted, account = client.complete(
            user=flow.user, redirect_uri=redirect_uri(provider), session=dict(flow.session), answer=answer
        )
        with transaction.atomic():
            return _save(flow, granted, account)
    except HubError as error:
        if flow.return_to:
            error.extra["returnTo"] = flow.return_to
        raise


def cookie_name(state: str) -> str:
    """One cookie per flow, so that two tabs do not disturb one another."""
    return COOKIE_PREFIX + _digest(state)[:16]


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _check_asked(asked: Sequence[str] | None) -> None:
    unknown = sorted(set(asked or ()) - set(CAPABILITIES))
    if unknown:
        words = f"{', '.join(unknown)}: not one of {', '.join(CAPABILITIES)}."
        raise InvalidInput("scopes names something that does not exist.", fields={"scopes": [words]})


def _to_renew(user: User, workspace: Workspace, provider: str, connection_id: str) -> Connection | None:
    if not connection_id:
        return None
    connection = Connection.objects.of(user=user, workspace=workspace).find(connection_id)
    if connection.provider != provider:
        raise NotFound
    return connection


def _cookie(provider: str, state: str) -> Cookie:
    callback = urlsplit(redirect_uri(provider))
    return Cookie(
        name=cookie_name(state),
        value=secrets.token_urlsafe(32),
        path=callback.path,
        secure=callback.scheme == "https",
    )


def _claim(state: str) -> OAuthState:
    """The flow of this state, which is gone from now on: one statement, so that a replay finds nothing."""
    found = list(OAuthState.objects.raw(CLAIM, [_digest(state)])) if state else []
    if not found or not found[0].in_time:  # type: ignore[attr-defined]  # a column of CLAIM
        raise InvalidInput("This sign-in is unknown, was finished already, or took too long.", code="state_invalid")
    return found[0]


def _check_bound(
    flow: OAuthState, client: OAuthProvider, answer: Mapping[str, str], cookies: Mapping[str, str]
) -> None:
    """The flow belongs to this callback path, this browser, this server of the provider and to a present member."""
    if flow.provider != client.key:
        raise InvalidInput("This sign-in was begun with another provider.", code="state_invalid")
    if flow.browser_digest:
        brought = _digest(cookies.get(cookie_name(answer["state"]), ""))
        if not hmac.compare_digest(brought, flow.browser_digest):
            where = f"Finish a sign-in in the browser that began it, at {settings.PUBLIC_URL}."
            raise InvalidInput(where, code="state_invalid")
    issuer = answer.get("iss", "")
    if issuer and not client.sent_by(issuer):
        raise InvalidInput(f"This answer does not come from {client.name}.", code="state_invalid")
    member = Membership.objects.filter(user_id=flow.user_id, workspace_id=flow.workspace_id, user__is_active=True)
    if not member.exists():
        raise InvalidInput("Whoever began this sign-in is not a member any more.", code="state_invalid")


def _save(flow: OAuthState, granted: TokenAnswer, account: Account) -> Finished:
    connection, created = _row_for(flow, account)
    tokens.store_first(connection, granted)
    connection.account_email = account.email
    connection.display_name = account.name
    connection.scopes = list(flow.wanted_scopes if granted.scopes is None else granted.scopes)
    runs = connections.save_connected(connection, by=flow.user, created=created)
    audit.record(
        by=flow.user,
        workspace=flow.workspace,
        action="connection.connected" if created else "connection.reconnected",
        target=connection,
        changes={"provider": flow.provider, "account": account.email, "scopes": connection.scopes},
    )
    return Finished(connection, created, runs, flow.return_to)


def _row_for(flow: OAuthState, account: Account) -> tuple[Connection, bool]:
    """The same account again keeps its row and all that hangs on it; another account is another connection."""
    rows = Connection.objects.select_for_update(no_key=True)
    if flow.connection_id:
        connection = rows.get(pk=flow.connection_id)
        if connection.account_id != account.id:
            raise Conflict(
                f"You signed in as {account.email}, but this connection is {connection.account_email}.",
                code="account_mismatch",
            )
        return connection, False
    return rows.get_or_create(
        workspace=flow.workspace,
        user=flow.user,
        provider=flow.provider,
        account_id=account.id,
        defaults={"account_email": account.email},
    )
