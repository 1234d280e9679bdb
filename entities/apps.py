"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks


class EntitiesConfig(AppConfig):
    """CRM entities that mail and events are linked to, and the rules that link them."""

    name = "entities"
    verbose_name = "Matches"

    def ready(self) -> None:
        """A counter of matches that does not load stops start-up."""
        from entities.services.matches import check_counters

        checks.register(check_counters)
