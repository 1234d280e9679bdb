"""The app's configuration: it registers the checks of its registries, so that a broken provider stops start-up."""

from __future__ import annotations

from django.apps import AppConfig


class IntegrationsConfig(AppConfig):
    """Connections of users, and the integrations of workspaces."""

    name = "integrations"
    verbose_name = "Integrations"

    def ready(self) -> None:
        """Imported here because models are not loaded before."""
        from integrations import tasks  # noqa: F401 - listens to events from here on
        from integrations.oauth import CONNECTION_PROVIDERS
        from integrations.providers import INTEGRATION_PROVIDERS
        from integrations.services.sync_runs import engines

        CONNECTION_PROVIDERS.register_check()
        INTEGRATION_PROVIDERS.register_check()
        engines().register_check()
