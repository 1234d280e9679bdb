"""From a connection to its open account (`integrations.services.accounts` says what is promised)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings

from calendar_sync.providers import CALENDAR_PROVIDERS
from calendar_sync.providers.base import CalendarProvider
from integrations.services.accounts import Accounts


def _told(provider: str) -> Mapping[str, Any]:
    return settings.CALENDAR_PROVIDER_SETTINGS.get(provider, {})


ACCOUNTS: Accounts[CalendarProvider] = Accounts(CALENDAR_PROVIDERS, budget="calendar", told=_told)
with_calendars = ACCOUNTS.opened
