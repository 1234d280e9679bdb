"""From a connection to its open mailbox: the credential, the settings and the provider object.

Used by the engine, by sending and by attachment downloads. No transaction may be open while the mailbox is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.conf import settings

from core.errors import Conflict, NeedsReauth, ProviderAuthError
from email_sync.providers import MAIL_PROVIDERS
from email_sync.providers.base import MailAccount, MailProvider
from integrations.models import Connection
from integrations.services import tokens

Result = TypeVar("Result")


def open_mailbox(connection: Connection, *, stale: str = "") -> MailProvider:
    """The provider object of this connection, with a fresh credential. `stale` is an access token that was refused:
    another one is fetched. NeedsReauth where the grant is dead, Conflict where the connection was disconnected."""
    if connection.disconnected_at is not None:
        raise Conflict("This account was disconnected. Connect it again first.", code="disconnected")
    if connection.needs_reauth:
        raise NeedsReauth()
    provider = MAIL_PROVIDERS.get(connection.provider)
    return provider(_account(connection, stale))


def _account(connection: Connection, stale: str) -> MailAccount:
    # The operator's addresses win: an option of a row must never decide where a token is sent.
    options = {**connection.options, **settings.MAIL_PROVIDER_SETTINGS.get(connection.provider, {})}
    if tokens.is_oauth(connection):
        access_token = tokens.access_token(connection, force=bool(stale), stale=stale or None)
        return MailAccount(email=connection.account_email, access_token=access_token, settings=options)
    return MailAccount(email=connection.account_email, settings=options, secrets=connection.credentials or {})


def with_mailbox(connection: Connection, work: Callable[[MailProvider], Result]) -> Result:
    """Do `work` with the open mailbox. A refused access token is refreshed once and the work done once more, so `work`
    must be repeatable up to its first provider call that changes something."""
    with open_mailbox(connection) as mailbox:
        try:
            return work(mailbox)
        except ProviderAuthError:
            if not mailbox.account.access_token:
                raise
            refused = mailbox.account.access_token
    with open_mailbox(connection, stale=refused) as mailbox:
        return work(mailbox)
