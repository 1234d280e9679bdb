"""The addresses a mailbox may send as: asked of its provider, or named by its user where the provider knows none.

`refresh_daily` is called by the engine, `sender` by sending and drafts. Promised: nobody sends as an address that is
not in the list (reference reliability C40).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from core.errors import (
    HubError,
    InvalidInput,
    ProviderAuthError,
    ProviderError,
    ProviderRateLimited,
    UnsupportedOperation,
)
from email_sync.addresses import exact, parse_address
from email_sync.models import Alias
from email_sync.providers import MAIL_PROVIDERS
from email_sync.providers.base import MailProvider
from email_sync.records import Address
from email_sync.services.accounts import with_mailbox
from integrations.models import Connection
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User

logger = logging.getLogger("patchbay.send")

ASK_AGAIN = timedelta(days=1)
ASK_NOW = timedelta(minutes=1)
"""An address that is not in the list is asked for at once, unless the provider was asked just now."""
MAX_ALIASES = 100


def refresh_daily(connection: Connection, mailbox: MailProvider) -> None:
    """Once a day. A provider that refuses the question keeps nobody's mail from syncing."""
    if _asked_within(connection, ASK_AGAIN):
        return
    try:
        found = mailbox.aliases()
    except (ProviderAuthError, ProviderRateLimited):
        raise
    except ProviderError as error:
        logger.info("aliases of connection %s: %s", connection.pk, error.message)
        found = [Address(connection.display_name, connection.account_email)]
    store(connection, found)


def store(connection: Connection, found: Sequence[Address]) -> None:
    """What the provider named, its own first. Those its user named stay."""
    rows = [
        Alias(
            connection=connection,
            key=exact(address.email),
            email=address.email,
            name=address.name[:200],
            is_primary=index == 0,
            refreshed_at=Now(),
        )
        for index, address in enumerate(found[:MAX_ALIASES])
    ]
    columns = ["email", "name", "is_primary", "by_user", "refreshed_at"]
    with transaction.atomic():
        named = Alias.objects.filter(connection=connection, by_user=False)
        named.exclude(key__in=[row.key for row in rows]).delete()
        unique = {row.key: row for row in reversed(rows)}
        Alias.objects.bulk_create(
            unique.values(), update_conflicts=True, unique_fields=["connection", "key"], update_fields=columns
        )


def name(*, connection: Connection, aliases: Sequence[Address], by: User) -> QuerySet[Alias]:
    """What the mailbox's user says it may send as, besides its own address; replaces what was said before.
    UnsupportedOperation where the provider names them itself."""
    if MAIL_PROVIDERS.get(connection.provider).names_aliases:
        raise UnsupportedOperation("The provider names this account's aliases; add one there.")
    own = exact(connection.account_email)
    named = {exact(address.email): address for address in aliases}
    rows = [
        Alias(connection=connection, key=key, email=address.email, name=address.name, by_user=True)
        for key, address in named.items()
        if key != own
    ]
    with transaction.atomic():
        Alias.objects.filter(connection=connection, by_user=True).delete()
        Alias.objects.bulk_create(rows, ignore_conflicts=True)
        audit.record(by=by, workspace=connection.workspace, action="email.aliases", target=connection)
    return Alias.objects.filter(connection=connection)


def sender(connection: Connection, given: str) -> Address:
    """The From of a mail: `given` ("ada@example.org" or "Ada <…>") where the mailbox may send as it, the mailbox's own
    without one. InvalidInput for any other address."""
    if not given:
        return Address(connection.display_name, connection.account_email)
    wanted = parse_address(given, "fromEmail")
    alias = _find(connection, wanted) or _find_fresh(connection, wanted)
    if alias is None:
        raise InvalidInput(fields={"fromEmail": ["This mailbox may not send as this address."]})
    return Address(wanted.name or alias.name or connection.display_name, alias.email)


def _find(connection: Connection, wanted: Address) -> Address | None:
    key = exact(wanted.email)
    if key == exact(connection.account_email):
        return Address("", connection.account_email)
    row = Alias.objects.filter(connection=connection, key=key).first()
    return Address(row.name, row.email) if row else None


def _find_fresh(connection: Connection, wanted: Address) -> Address | None:
    """It may have been added at the provider a moment ago."""
    if not MAIL_PROVIDERS.get(connection.provider).names_aliases or _asked_within(connection, ASK_NOW):
        return None
    try:
        store(connection, with_mailbox(connection, lambda mailbox: mailbox.aliases()))
    except HubError as error:
        logger.info("aliases of connection %s: %s", connection.pk, error.message)
    return _find(connection, wanted)


def _asked_within(connection: Connection, time: timedelta) -> bool:
    asked = Alias.objects.filter(connection=connection, is_primary=True, refreshed_at__gt=Now() - time)
    return asked.exists()
