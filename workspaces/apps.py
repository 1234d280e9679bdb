"""The app's configuration: it connects the signals that keep `User.is_staff` true to the memberships."""

from __future__ import annotations

from django.apps import AppConfig


class WorkspacesConfig(AppConfig):
    """AUTH_USER_MODEL is `workspaces.User`."""

    name = "workspaces"
    verbose_name = "Workspace"

    def ready(self) -> None:
        """Connect what must run whoever changes a row."""
        from workspaces import signals

        signals.connect()
