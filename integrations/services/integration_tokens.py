"""Access tokens of integrations whose provider refreshes them: fresh ones, refreshed once however many ask.

`integration_use` hands a `Shared` to the provider it makes. As with connections (`tokens`), the lease is two columns of
the row, taken by compare-and-set on the database's clock, and no transaction is open while the provider is asked.
Promised: one refresh per expiry or refusal; a rotated refresh token is stored before anything uses it; what an owner
changed meanwhile is never overwritten; a grant is declared dead only while its refresh token is still the stored one,
and a dead one is not asked for again until the integration is filled anew.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from core.errors import CredentialsRejected, HubError, NotFound, ProviderAuthError, ProviderUnavailable
from integrations.models import Integration
from integrations.providers.base import ACCESS_TOKEN, REFRESH_TOKEN, IntegrationProvider
from integrations.services.integration_health import RECONNECT
from integrations.services.tokens import EARLY_SECONDS, LEASE_SECONDS, POLL_SECONDS, WAIT_SECONDS, Wait
from integrations.token_endpoint import TokenAnswer

logger = logging.getLogger("patchbay.tokens")

ENDS_AT, LIFE, DEAD = "endsAt", "expiresIn", "dead"
"""Of `credentials["token"]`: when the access token ends (ISO), how long it was good in seconds, why the grant is dead.
Filling an integration anew drops it: then nothing is known, and a token is used until it is refused."""


@dataclass(frozen=True)
class Shared:
    """The tokens of one integration (`providers.base.Grant`)."""

    integration_id: uuid.UUID
    kind: type[IntegrationProvider]
    wait: Wait = time.sleep

    def access_token(self, *, refused: str = "") -> str:
        """One good for at least `EARLY_SECONDS`, or for what the vendor grants if that is less; for `refused` another.

        Waits for another worker's refresh, at most `WAIT_SECONDS`. CredentialsRejected `needs_reconnect`: the grant is
        dead. NotFound: the integration was deleted. NotConfigured, ProviderError `client_rejected`: the OAuth client
        is missing or refused. ProviderUnavailable, ProviderRateLimited: later.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            row = self._read()
            token = _good_token(row, refused)
            if token:
                return token
            lease = _take_lease(row)
            if lease is not None:
                refreshed = self._refresh(lease)
                if refreshed:
                    return refreshed
            elif time.monotonic() > deadline:
                raise ProviderUnavailable("The access token is being refreshed elsewhere and that takes too long.")
            else:
                self.wait(POLL_SECONDS)

    def _read(self) -> Integration:
        """The row as it is now, with the database's time."""
        row = Integration.objects.existing().annotate(now=Now()).filter(pk=self.integration_id).first()
        if row is None:
            raise NotFound
        if dead := _token(row).get(DEAD):
            raise _reconnect(str(dead))
        return row

    def _refresh(self, lease: Lease) -> str | None:
        """The new token; None where the row changed meanwhile and has to be read again."""
        try:
            answer = self.kind.refresh(lease.credentials)
        except ProviderAuthError as error:
            if lease.store(token={DEAD: error.message}):
                logger.warning("the grant of integration %s is dead", self.integration_id)
                raise _reconnect(error.message) from error
            return None
        except HubError:
            lease.end()
            raise
        return answer.access_token if lease.store(answer) else None


@dataclass(frozen=True)
class Lease:
    """The right to refresh one integration, and what was stored when it was taken."""

    pk: uuid.UUID
    fence: int
    credentials: Mapping[str, Any]

    def end(self) -> None:
        """Give it back. The fence moves on again: who read the row while it was held knows old tokens."""
        row = Integration.objects.filter(pk=self.pk, refresh_fence=self.fence)
        row.update(refresh_lease_until=None, refresh_fence=F("refresh_fence") + 1)

    def store(self, answer: TokenAnswer | None = None, *, token: Mapping[str, Any] | None = None) -> bool:
        """The outcome over what is stored now. False where the lease was lost, or somebody gave other credentials."""
        with transaction.atomic(durable=True):
            rows = Integration.objects.existing().annotate(now=Now()).select_for_update(of=("self",), no_key=True)
            row = rows.filter(pk=self.pk, refresh_fence=self.fence).first()
            if row is None:
                return False
            stored = row.secrets.get("credentials", {})
            ours = stored.get(REFRESH_TOKEN) == self.credentials.get(REFRESH_TOKEN)
            if ours:
                fresh = _merged(stored, answer) if answer else stored
                row.credentials = {**row.secrets, "credentials": fresh, "token": token or _life(row, answer)}
            row.refresh_lease_until, row.refresh_fence = None, self.fence + 1
            row.save(update_fields=("credentials", "refresh_lease_until", "refresh_fence"))
        return ours


def _take_lease(row: Integration) -> Lease | None:
    """Ours where nothing changed since `row` was read and nobody holds it. Must not run inside a transaction, where
    nobody would see it."""
    free = Q(refresh_lease_until__isnull=True) | Q(refresh_lease_until__lt=Now())
    with transaction.atomic(durable=True):
        taken = Integration.objects.filter(free, pk=row.pk, refresh_fence=row.refresh_fence).update(
            refresh_lease_until=Now() + timedelta(seconds=LEASE_SECONDS), refresh_fence=F("refresh_fence") + 1
        )
    return Lease(row.pk, row.refresh_fence + 1, dict(row.secrets.get("credentials", {}))) if taken else None


def _good_token(row: Integration, refused: str) -> str:
    """The stored token where it is neither refused nor at its end; "" otherwise."""
    token = str(row.secrets.get("credentials", {}).get(ACCESS_TOKEN) or "")
    if not token or token == refused:
        return ""
    known = _token(row)
    if not known.get(ENDS_AT):
        return token
    early = min(EARLY_SECONDS, float(known.get(LIFE) or EARLY_SECONDS) / 4)
    now: datetime = row.now  # type: ignore[attr-defined]
    return token if datetime.fromisoformat(known[ENDS_AT]) - now > timedelta(seconds=early) else ""


def _token(row: Integration) -> Mapping[str, Any]:
    known: Mapping[str, Any] = row.secrets.get("token") or {}
    return known


def _merged(stored: Mapping[str, Any], answer: TokenAnswer) -> dict[str, Any]:
    """An answer without a refresh token never erases the one we have."""
    fresh = {ACCESS_TOKEN: answer.access_token}
    if answer.refresh_token:
        fresh[REFRESH_TOKEN] = answer.refresh_token
    return {**stored, **fresh}


def _life(row: Integration, answer: TokenAnswer | None) -> dict[str, Any]:
    """By the database's clock, from the moment of the answer: `expires_in` is relative and our clock may be wrong."""
    if answer is None or answer.expires_in is None:
        return {}
    now: datetime = row.now  # type: ignore[attr-defined]
    return {ENDS_AT: (now + timedelta(seconds=answer.expires_in)).isoformat(), LIFE: answer.expires_in}


def _reconnect(words: str) -> CredentialsRejected:
    return CredentialsRejected(f"{words} Connect again: give this integration new credentials.", code=RECONNECT)
