"""From a connection to its open mailbox: the credential, the settings and the provider object.

Used by the engine, by sending, by attachment downloads and by doorbells. No transaction may be open while the mailbox
is used.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

from django.conf import settings

from core.errors import Conflict, NeedsReauth, ProviderAuthError, ProviderUnavailable
from core.metering import Meter, Unmetered
from email_sync.providers import MAIL_PROVIDERS
from email_sync.providers.base import MailAccount, MailProvider
from integrations.models import Connection
from integrations.services import quota, tokens

Result = TypeVar("Result")


def account_of(connection: Connection, *, stale: str = "", claims: str = "") -> MailAccount:
    """What a provider needs, with a fresh credential. `stale` is an access token that was refused: another one is
    fetched, with the `claims` it has to have. NeedsReauth where the grant is dead, Conflict where the connection was
    disconnected."""
    if connection.disconnected_at is not None:
        raise Conflict("This account was disconnected. Connect it again first.", code="disconnected")
    if connection.needs_reauth:
        raise NeedsReauth()
    return _account(connection, stale, claims, _meter(connection, MAIL_PROVIDERS.get(connection.provider)))


def _meter(connection: Connection, provider: type[MailProvider]) -> Meter:
    """The budget every worker of this mailbox pays from. The operator's `quotaUnits` win; 0 keeps none."""
    granted = provider.quota
    if granted is None:
        return Unmetered()
    own = settings.MAIL_PROVIDER_SETTINGS.get(connection.provider, {}).get("quotaUnits")
    units = granted.units_per_window if own is None else int(own)
    return (
        quota.Budget(connection.pk, "email", units, granted.window_seconds, granted.in_flight) if units else Unmetered()
    )


def options_of(connection: Connection) -> dict[str, object]:
    """The operator's addresses win: an option of a row must never decide where a token is sent."""
    return {**connection.options, **settings.MAIL_PROVIDER_SETTINGS.get(connection.provider, {})}


def _account(connection: Connection, stale: str, claims: str, meter: Meter) -> MailAccount:
    options = options_of(connection)
    if tokens.is_oauth(connection):
        access_token = tokens.access_token(connection, force=bool(stale), stale=stale or None, claims=claims)
        return MailAccount(connection.account_email, access_token, options, meter=meter)
    return MailAccount(connection.account_email, settings=options, secrets=connection.credentials or {}, meter=meter)


def with_mailbox(connection: Connection, work: Callable[[MailProvider], Result], *, urgent: bool = True) -> Result:
    """Do `work` with the open mailbox. A refused access token is refreshed once and the work done once more, so `work`
    must be repeatable up to its first provider call that changes something. `urgent`: a person waits for it, so it goes
    ahead in the provider's budget."""
    provider = MAIL_PROVIDERS.get(connection.provider)

    def open_and_work(account: MailAccount) -> Result:
        with provider(account) as mailbox:
            return work(mailbox)

    with quota.urgently() if urgent else nullcontext():
        return with_account(connection, open_and_work)


def with_account(connection: Connection, work: Callable[[MailAccount], Result]) -> Result:
    """Do `work` with the account's credential; once more with another access token where the first was refused. Where
    the provider said which claims that one must have, it is fetched twice if need be: another worker may have refreshed
    without them in between. A provider that gives such tokens and refuses them too has not ended the grant:
    ProviderUnavailable."""
    account = account_of(connection)
    try:
        return work(account)
    except ProviderAuthError as error:
        if not account.access_token:
            raise
        claims = error.claims
    account = account_of(connection, stale=account.access_token, claims=claims)
    try:
        return work(account)
    except ProviderAuthError as error:
        if not error.claims:
            raise
        claims = error.claims
    account = account_of(connection, stale=account.access_token, claims=claims)
    try:
        return work(account)
    except ProviderAuthError as error:
        if not error.claims:
            raise
        raise ProviderUnavailable(error.message) from error
