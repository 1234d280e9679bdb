"""Access tokens of OAuth connections: fresh ones, refreshed once however many ask.

Called by every sync and by the API. The lease is two columns of the connection's row, taken by compare-and-set on the
database's clock: it survives a killed worker for `LEASE_SECONDS` and never lives in a process (reference R5). No
transaction is open while the provider is asked. Promised: one refresh per expiry; a rotated refresh token is stored
before anything uses it; a lost race is not taken for a revocation (R6); only what a provider's short list of permanent
reasons says makes a connection need its user.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from core.crypto import seal_for
from core.errors import (
    Conflict,
    HubError,
    NeedsReauth,
    ProviderAuthError,
    ProviderUnavailable,
    UnsupportedOperation,
)
from integrations.models import Connection, EventType
from integrations.oauth import CONNECTION_PROVIDERS, oauth_provider
from integrations.services import incidents
from integrations.token_endpoint import TokenAnswer
from workspaces.services import audit

logger = logging.getLogger("patchbay.tokens")

EARLY_SECONDS = 300.0
"""A token this close to its end is refreshed: it must outlive the work it is fetched for."""
LEASE_SECONDS = 60.0
"""Longer than one request may take (`strategy.REQUEST_SECONDS`), so a lease is only lost by a dead worker."""
WAIT_SECONDS = 45.0
POLL_SECONDS = 0.1
IDLE_DAYS = 3
"""A grant not refreshed for this long is touched: Google forgets one after 6 months, Microsoft after 90 days."""

Wait = Callable[[float], None]


@dataclass(frozen=True)
class Lease:
    """The right to refresh one connection, and what was stored when it was taken."""

    row: Connection
    fence: int

    def end(self, **columns: object) -> bool:
        """Write the outcome and give the lease back; False where somebody else reconnected or disconnected meanwhile.

        The fence moves on again: a caller that read the row while the lease was held knows an old refresh token and
        must not take the next lease with it.
        """
        row = Connection.objects.filter(pk=self.row.pk, refresh_fence=self.fence)
        return bool(row.update(refresh_lease_until=None, refresh_fence=F("refresh_fence") + 1, **columns))


def is_oauth(connection: Connection) -> bool:
    """Whether the connection has tokens, as opposed to passwords."""
    return CONNECTION_PROVIDERS.get(connection.provider).oauth


def access_token(
    connection: Connection,
    *,
    force: bool = False,
    stale: str | None = None,
    claims: str = "",
    wait: Wait = time.sleep,
) -> str:
    """A token good for at least `EARLY_SECONDS`, or for what the provider grants if that is less.

    `stale` with `force` is a token that was answered 401: it is refreshed only if it is still the stored one. `force`
    alone refreshes in any case, a dead grant too. `claims` is what the provider asks the new one to have. Waits for
    another worker's refresh, at most `WAIT_SECONDS`.
    NeedsReauth: the grant is dead. Conflict: disconnected. ProviderError `client_rejected`: this server's client id or
    secret is refused. ProviderUnavailable, ProviderRateLimited: later.
    """
    row = _read(connection)
    asked_by_user = force and stale is None
    refused = _stored(row).get("access_token") if asked_by_user else stale
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        if row.needs_reauth and not asked_by_user:
            raise NeedsReauth()
        token = _good_token(row, refused)
        if token:
            return token
        lease = _take_lease(row)
        if lease is not None:
            refreshed = _refresh(lease, claims)
            if refreshed:
                return refreshed
        elif time.monotonic() > deadline:
            raise ProviderUnavailable("The access token is being refreshed elsewhere and that takes too long.")
        else:
            wait(POLL_SECONDS)
        row = _read(connection)


def store_first(connection: Connection, answer: TokenAnswer) -> None:
    """The tokens of a new consent onto a row that is about to be saved: the fence moves on, an old error is over."""
    connection.credentials = merged(connection.credentials, answer)
    connection.token_expires_at = _ends_at(answer)
    connection.refresh_lease_until = None
    connection.refresh_fence += 1


def merged(stored: dict[str, Any] | None, answer: TokenAnswer) -> dict[str, Any]:
    """An answer over what is stored. One without a refresh token never erases the one we have."""
    fresh = {"access_token": answer.access_token, "expires_in": answer.expires_in}
    if answer.refresh_token:
        fresh["refresh_token"] = answer.refresh_token
    return {**(stored or {}), **fresh}


def touch_idle(limit: int = 200) -> int:
    """Refresh grants nobody used for days, so that the provider does not let them die; how many were touched."""
    idle = Connection.objects.connected().filter(
        needs_reauth=False, token_expires_at__lt=Now() - timedelta(days=IDLE_DAYS)
    )
    touched = 0
    for connection in idle.order_by("token_expires_at")[:limit]:
        try:
            access_token(connection)
            touched += 1
        except HubError as error:
            logger.info("idle grant of connection %s was not touched: %s", connection.pk, error.code)
    return touched


def _read(connection: Connection) -> Connection:
    """The row as it is now, with the database's time; Conflict where it has no grant."""
    row: Connection | None = Connection.objects.annotate(now=Now()).filter(pk=connection.pk).first()
    if row is None or row.disconnected_at is not None:
        raise Conflict("This account was disconnected. Connect it again first.", code="disconnected")
    if not is_oauth(row):
        raise UnsupportedOperation("This connection has no token: it logs in with a password.")
    return row


def _stored(row: Connection) -> dict[str, Any]:
    return dict(row.credentials or {})


def _good_token(row: Connection, refused: str | None) -> str:
    """The stored token where it is neither refused nor at its end; "" otherwise."""
    stored = _stored(row)
    token = str(stored.get("access_token") or "")
    if not token or token == refused:
        return ""
    early = min(EARLY_SECONDS, float(stored.get("expires_in") or EARLY_SECONDS) / 4)
    now: datetime = row.now  # type: ignore[attr-defined]
    ends = row.token_expires_at
    return token if ends is None or ends - now > timedelta(seconds=early) else ""


def _take_lease(row: Connection) -> Lease | None:
    """Ours where nothing changed since `row` was read and nobody holds it. Must not run inside a transaction, where
    nobody would see it."""
    free = Q(refresh_lease_until__isnull=True) | Q(refresh_lease_until__lt=Now())
    with transaction.atomic(durable=True):
        taken = Connection.objects.filter(free, pk=row.pk, refresh_fence=row.refresh_fence).update(
            refresh_lease_until=Now() + timedelta(seconds=LEASE_SECONDS), refresh_fence=F("refresh_fence") + 1
        )
    return Lease(row, row.refresh_fence + 1) if taken else None


def _refresh(lease: Lease, claims: str) -> str | None:
    """The new token; None where the row changed meanwhile and has to be read again."""
    refresh_token = str(_stored(lease.row).get("refresh_token") or "")
    if not refresh_token:
        _declare_dead(lease, ProviderAuthError("The provider gave no refresh token."))
        return None
    try:
        answer = oauth_provider(lease.row.provider).refresh(refresh_token, claims)
    except ProviderAuthError as error:
        _declare_dead(lease, error)
        return None
    except HubError:
        lease.end()
        raise
    return _store(lease, answer)


def _store(lease: Lease, answer: TokenAnswer) -> str | None:
    columns: dict[str, Any] = {
        "credentials": seal_for(lease.row, "credentials", merged(lease.row.credentials, answer)),
        "token_expires_at": _ends_at(answer),
    }
    if answer.scopes is not None:
        columns["scopes"] = list(answer.scopes)
    if lease.row.needs_reauth:  # the provider takes the grant after all
        columns |= {"needs_reauth": False, "last_error_code": "", "last_error_message": "", "last_error_at": None}
    with transaction.atomic(durable=True):
        ours = lease.end(**columns)
        if ours and lease.row.needs_reauth:
            incidents.tell(lease.row, EventType.CONNECTION_RECOVERED)
    return answer.access_token if ours else None


def _ends_at(answer: TokenAnswer) -> Any:
    """By the database's clock, from the moment of the answer: `expires_in` is relative and our clock may be wrong."""
    return None if answer.expires_in is None else Now() + timedelta(seconds=answer.expires_in)


def _declare_dead(lease: Lease, error: ProviderAuthError) -> None:
    """The grant is dead, unless the row changed since we read it: then somebody else has a better token."""
    with transaction.atomic(durable=True):
        ours = lease.end(
            needs_reauth=True,
            last_error_code=NeedsReauth.default_code,
            last_error_message=error.message,
            last_error_at=timezone.now(),
        )
        if ours and not lease.row.needs_reauth:
            audit.record(
                by=None,
                workspace=lease.row.workspace,
                action="connection.needs_reauth",
                target=lease.row,
                changes={"provider": lease.row.provider, "account": lease.row.account_email, "reason": error.message},
            )
            incidents.tell(lease.row, EventType.CONNECTION_NEEDS_REAUTH, code=NeedsReauth.default_code)
    if ours:
        logger.warning("the grant of connection %s is dead", lease.row.pk)
        raise NeedsReauth(f"{error.message} Connect the account again.")
