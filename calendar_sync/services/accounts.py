"""From a connection to its open account: the credential, the settings and the provider object.

Used by the engine and by whatever asks the provider for somebody. No transaction may be open while the account is used.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

from django.conf import settings

from calendar_sync.providers import CALENDAR_PROVIDERS
from calendar_sync.providers.base import CalendarAccount, CalendarProvider
from core.errors import Conflict, NeedsReauth, ProviderAuthError, ProviderUnavailable
from core.metering import Meter, Unmetered
from integrations.models import Connection
from integrations.services import quota, tokens

Result = TypeVar("Result")
ATTEMPTS = 3
"""With the token that is there, a fresh one, and one with the claims that the provider asked for."""


def account_of(connection: Connection, *, stale: str = "", claims: str = "") -> CalendarAccount:
    """What a provider needs, with a fresh credential; `stale` is an access token that was refused. NeedsReauth where
    the grant is dead, Conflict where the connection was disconnected."""
    if connection.disconnected_at is not None:
        raise Conflict("This account was disconnected. Connect it again first.", code="disconnected")
    if connection.needs_reauth:
        raise NeedsReauth()
    options = options_of(connection)
    meter = _meter(connection)
    if tokens.is_oauth(connection):
        access_token = tokens.access_token(connection, force=bool(stale), stale=stale or None, claims=claims)
        return CalendarAccount(connection.account_email, access_token, options, meter=meter)
    return CalendarAccount(
        connection.account_email, settings=options, secrets=connection.credentials or {}, meter=meter
    )


def options_of(connection: Connection) -> dict[str, object]:
    """The operator's addresses win: an option of a row must never decide where a token is sent."""
    return {**connection.options, **settings.CALENDAR_PROVIDER_SETTINGS.get(connection.provider, {})}


def _meter(connection: Connection) -> Meter:
    """The budget every worker of this account pays from. The operator's `quotaUnits` win; 0 keeps none."""
    granted = CALENDAR_PROVIDERS.get(connection.provider).quota
    if granted is None:
        return Unmetered()
    own = settings.CALENDAR_PROVIDER_SETTINGS.get(connection.provider, {}).get("quotaUnits")
    units = granted.units_per_window if own is None else int(own)
    if not units:
        return Unmetered()
    return quota.Budget(connection.pk, granted.budget or "calendar", units, granted.window_seconds, granted.in_flight)


def with_calendars(
    connection: Connection, work: Callable[[CalendarProvider], Result], *, urgent: bool = True
) -> Result:
    """Do `work` with the open account. A refused access token is refreshed and the work done once more, so `work` must
    be repeatable up to its first provider call that changes something. `urgent`: a person waits for it, so it goes
    ahead in the provider's budget."""
    provider = CALENDAR_PROVIDERS.get(connection.provider)

    def open_and_work(account: CalendarAccount) -> Result:
        with provider(account) as opened:
            return work(opened)

    with quota.urgently() if urgent else nullcontext():
        return with_account(connection, open_and_work)


def with_account(connection: Connection, work: Callable[[CalendarAccount], Result]) -> Result:
    """Do `work` with the account's credential; a refused access token as in `with_calendars`."""
    account = account_of(connection)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return work(account)
        except ProviderAuthError as error:
            if not account.access_token or (attempt > 1 and not error.claims):
                raise
            if attempt == ATTEMPTS:  # it gives such tokens and refuses them too: that has not ended the grant
                raise ProviderUnavailable(error.message) from error
            account = account_of(connection, stale=account.access_token, claims=error.claims)
    raise AssertionError("every attempt returns or raises")
