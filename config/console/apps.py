"""Puts the console's own site in the place of Django's, before any app registers its pages."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class ConsoleConfig(AdminConfig):
    """Stands in INSTALLED_APPS for `django.contrib.admin`; unfold's app must not put its own site there."""

    default_site = "config.console.site.ConsoleSite"
