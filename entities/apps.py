"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig


class EntitiesConfig(AppConfig):
    """CRM entities that mail and events are linked to, and the rules that link them."""

    name = "entities"
