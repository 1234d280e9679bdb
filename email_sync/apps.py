"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig


class EmailSyncConfig(AppConfig):
    """Mailboxes synced into the database, read and answered over the API."""

    name = "email_sync"
    verbose_name = "Mail"

    def ready(self) -> None:
        """Every mail provider, doorbell and listener loads and carries its key."""
        from email_sync.providers import MAIL_PROVIDERS
        from email_sync.providers.doorbells import MAIL_DOORBELLS, MAIL_LISTENERS

        for registry in (MAIL_PROVIDERS, MAIL_DOORBELLS, MAIL_LISTENERS):
            registry.register_check()
