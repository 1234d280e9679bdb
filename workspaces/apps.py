"""The app's configuration: it registers the vault's checks and connects the signals of memberships."""

from __future__ import annotations

from django.apps import AppConfig

from core import crypto_checks


class WorkspacesConfig(AppConfig):
    """AUTH_USER_MODEL is `workspaces.User`."""

    name = "workspaces"
    verbose_name = "Workspace"

    def ready(self) -> None:
        """Connect what must run whoever changes a row."""
        from workspaces import signals

        crypto_checks.register()
        signals.connect()
