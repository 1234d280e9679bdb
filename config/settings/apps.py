"""Which apps the product is made of, and what one of them registers with another by dotted path."""

from __future__ import annotations

__all__ = ("AUTH_USER_MODEL", "CONNECTION_CHECKS", "DEFAULT_AUTO_FIELD", "INSTALLED_APPS", "SYNC_ENGINES")

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "config",
    "workspaces",
    "entities",
    "integrations",
    "email_sync",
]

AUTH_USER_MODEL = "workspaces.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

SYNC_ENGINES = {"email": "email_sync.services.engine.EmailEngine"}
"""The one up-call: what `connections/:id/sync` starts, by type (DESIGN 3)."""

CONNECTION_CHECKS = {"imap": "email_sync.services.connecting.check_imap"}
"""How an account that is connected by a form is tried before it is saved, by provider; the same up-call."""
