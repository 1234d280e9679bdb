"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig


class EmailLogsConfig(AppConfig):
    """Outbound mail and its log tables."""

    name = "email_logs"
    verbose_name = "Email logs"

    def ready(self) -> None:
        """Whoever queues mail rings a worker, and a provider that becomes active gets its table: in any process."""
        from email_logs import tasks  # noqa: F401
        from email_logs.services import tables  # noqa: F401
