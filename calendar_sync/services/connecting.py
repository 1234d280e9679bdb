"""Checking a CalDAV account before it is saved: what `settings.CALENDAR_CHECKS` names.

Called by `integrations.services.connections`, which turns these errors into a 422 and saves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from calendar_sync.providers.base import CalendarAccount
from calendar_sync.providers.caldav import CalDav


def check_caldav(*, email: str, settings: Mapping[str, object], secrets: Mapping[str, str]) -> None:
    """Log in and look for calendars. ProviderAuthError: refused; ProviderRejected: there are none; EgressRefused."""
    CalDav.check(CalendarAccount(email=email, settings=settings, secrets=secrets))
