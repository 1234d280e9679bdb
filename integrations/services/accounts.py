"""From a connection to its open account: the credential, the settings and the provider object. Mail and calendars each
make an `Accounts` of their own.

Used by the engines and by whatever asks the provider for somebody. No transaction may be open while the account is
used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from core.errors import Conflict, NeedsReauth, ProviderAuthError, ProviderUnavailable
from core.metering import Meter, Unmetered
from core.registry import Registry
from integrations.accounts import AccountProvider, ProviderAccount
from integrations.models import Connection
from integrations.services import quota, tokens

Provider = TypeVar("Provider", bound=AccountProvider)
Result = TypeVar("Result")
ATTEMPTS = 3
"""With the token that is there, a fresh one, and one with the claims that the provider asked for: another worker may
have refreshed without them in between."""


@dataclass(frozen=True)
class Accounts(Generic[Provider]):
    """The accounts of one kind of sync."""

    providers: Registry[type[Provider]]
    budget: str
    """The name of the budget that requests are paid from, where the provider's `quota` names none."""
    told: Callable[[str], Mapping[str, Any]]
    """What the operator set for a provider."""

    def options_of(self, connection: Connection) -> dict[str, object]:
        """The operator's addresses win: an option of a row must never decide where a token is sent."""
        return {**connection.options, **self.told(connection.provider)}

    def opened(self, connection: Connection, work: Callable[[Provider], Result], *, urgent: bool = True) -> Result:
        """Do `work` with the open account. A refused access token is refreshed and the work done once more, so `work`
        must be repeatable up to its first provider call that changes something. `urgent`: a person waits for it, so it
        goes ahead in the provider's budget."""
        provider = self.providers.get(connection.provider)

        def open_and_work(account: ProviderAccount) -> Result:
            with provider(account) as found:
                return work(found)

        with quota.urgently() if urgent else nullcontext():
            return self.with_account(connection, open_and_work)

    def with_account(self, connection: Connection, work: Callable[[ProviderAccount], Result]) -> Result:
        """Do `work` with the account's credential; again with another access token where one was refused. A provider
        that gives tokens with the claims it asked for and refuses them too has not ended the grant:
        ProviderUnavailable."""
        account = self._account(connection)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return work(account)
            except ProviderAuthError as error:
                if not account.access_token or (attempt > 1 and not error.claims):
                    raise
                if attempt == ATTEMPTS:
                    raise ProviderUnavailable(error.message) from error
                account = self._account(connection, stale=account.access_token, claims=error.claims)
        raise AssertionError("every attempt returns or raises")

    def _account(self, connection: Connection, *, stale: str = "", claims: str = "") -> ProviderAccount:
        """What a provider needs, with a fresh credential. `stale` is an access token that was refused: another one is
        fetched, with the `claims` it has to have. NeedsReauth where the grant is dead, Conflict where the connection
        was disconnected."""
        if connection.disconnected_at is not None:
            raise Conflict("This account was disconnected. Connect it again first.", code="disconnected")
        if connection.needs_reauth:
            raise NeedsReauth()
        email, options, meter = connection.account_email, self.options_of(connection), self._meter(connection)
        if not tokens.is_oauth(connection):
            return ProviderAccount(email, settings=options, secrets=connection.credentials or {}, meter=meter)
        access_token = tokens.access_token(connection, force=bool(stale), stale=stale or None, claims=claims)
        return ProviderAccount(email, access_token, options, meter=meter)

    def _meter(self, connection: Connection) -> Meter:
        """The budget every worker of this account pays from. The operator's `quotaUnits` win; 0 keeps none."""
        granted = self.providers.get(connection.provider).quota
        if granted is None:
            return Unmetered()
        own = self.told(connection.provider).get("quotaUnits")
        units = granted.units_per_window if own is None else int(own)
        if not units:
            return Unmetered()
        return quota.Budget(
            connection.pk, granted.budget or self.budget, units, granted.window_seconds, granted.in_flight
        )
