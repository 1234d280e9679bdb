"""PostgreSQL: the one DATABASE_URL names, or the embedded one, which starts with the first connection."""

from __future__ import annotations

from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from config import env
from config.settings.paths import DATA_DIR
from workspaces.runtime.embedded import EmbeddedServer

__all__ = ("DATABASES",)

STATEMENT_TIMEOUT_MS = 30_000
"""A web request that waits longer for one statement has lost its caller."""

BACKEND = "workspaces.runtime.postgresql"


def _address() -> dict[str, Any]:
    """Host, port, name, user and password, as Django spells them."""
    url = env.read("DATABASE_URL")
    if not url:
        return EmbeddedServer(DATA_DIR).django_settings()
    if not url.startswith(("postgresql://", "postgres://")):
        raise ImproperlyConfigured("DATABASE_URL must be postgresql://…: no other database is supported.")
    try:
        return dict(environ.Env.db_url_config(url))
    except ValueError as error:
        raise ImproperlyConfigured("DATABASE_URL is not a valid address of a database.") from error


def _database() -> dict[str, Any]:
    address = _address()
    web = env.read("PROCESS_ROLE") == "web"
    options = {**address.get("OPTIONS", {}), "application_name": f"patchbay-{'web' if web else 'command'}"}
    if web:
        options["pool"] = {"min_size": 1, "max_size": 10, "timeout": 10}  # four threads, streams that read, air
        options["options"] = f"-c statement_timeout={STATEMENT_TIMEOUT_MS}"
    return {
        **address,
        "ENGINE": BACKEND,
        "OPTIONS": options,
        "CONN_MAX_AGE": 0 if web else 60,  # with a pool Django wants 0
        "CONN_HEALTH_CHECKS": True,
    }


DATABASES = {"default": _database()}
