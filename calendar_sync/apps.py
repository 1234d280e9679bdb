"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig


class CalendarSyncConfig(AppConfig):
    """Calendars synced into the database, read and answered over the API."""

    name = "calendar_sync"
    verbose_name = "Calendars"

    def ready(self) -> None:
        """Every calendar provider and doorbell loads and carries its key."""
        from calendar_sync.providers import CALENDAR_PROVIDERS
        from calendar_sync.providers.doorbells import CALENDAR_DOORBELLS

        for registry in (CALENDAR_PROVIDERS, CALENDAR_DOORBELLS):
            registry.register_check()
