"""From a connection to its open mailbox (`integrations.services.accounts` says what is promised)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings

from email_sync.providers import MAIL_PROVIDERS
from email_sync.providers.base import MailProvider
from integrations.services.accounts import Accounts


def _told(provider: str) -> Mapping[str, Any]:
    return settings.MAIL_PROVIDER_SETTINGS.get(provider, {})


ACCOUNTS: Accounts[MailProvider] = Accounts(MAIL_PROVIDERS, budget="email", told=_told)
with_mailbox, with_account = ACCOUNTS.opened, ACCOUNTS.with_account
