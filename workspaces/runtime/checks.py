"""The doctor's checks of the machine: keys, database, broker, heartbeat, public URL; see `settings.DOCTOR_CHECKS`.

Checks of what lies above (providers) are listed there too, so that nothing here imports upwards.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from celery import current_app
from django.conf import settings
from django.db import DatabaseError, connection

from core import crypto_checks
from workspaces.runtime import readiness
from workspaces.runtime.findings import Finding, error, ok, warning
from workspaces.runtime.keys import is_weak

OLDEST_POSTGRESQL = 15
EXTENSION = "btree_gin"
SAFE_REDIS_POLICY = "noeviction"


def check_keys() -> list[Finding]:
    """SECRET_KEY, the vault's ring, and whether every stored secret's key is in it."""
    findings = [_secret_key(), *_ring()]
    try:
        missing = crypto_checks.missing_keys()
    except DatabaseError:
        return findings  # the database's own check says so
    return [*findings, *(_missing(key_id, count) for key_id, count in missing.items())]


def _secret_key() -> Finding:
    if is_weak(settings.SECRET_KEY):
        return error("SECRET_KEY", "It is weak: sessions could be forged.", "Set 50 random characters.")
    return ok("SECRET_KEY", "strong")


def _ring() -> list[Finding]:
    messages = crypto_checks.check_ring()
    if not messages:
        return [ok("VAULT_KEYS", "strong")]
    return [error("VAULT_KEYS", str(message.msg), str(message.hint or crypto_checks.MEND)) for message in messages]


def _missing(key_id: str, count: int) -> Finding:
    return error(
        "VAULT_KEYS",
        f"{count} stored secrets are sealed under the key {key_id!r}, which is not there.",
        "Put the key back at the end of VAULT_KEYS, then run `manage.py rotate_keys`.",
    )


def check_database() -> list[Finding]:
    """Reachable, new enough, with its extension, and migrated."""
    reached = readiness.check_database()
    if not reached.ready:
        return [error("database", reached.message, "Start PostgreSQL, or mend DATABASE_URL.")]
    return [_version(), _extension(), _migrations()]


def _version() -> Finding:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        version = int(cursor.fetchone()[0]) // 10_000
    if version < OLDEST_POSTGRESQL:
        return error("database", f"PostgreSQL {version} is too old.", f"Use PostgreSQL {OLDEST_POSTGRESQL} or newer.")
    embedded = ", embedded" if connection.settings_dict.get("EMBEDDED") else ""
    return ok("database", f"PostgreSQL {version}{embedded}")


def _extension() -> Finding:
    with connection.cursor() as cursor:
        cursor.execute("SELECT installed_version FROM pg_available_extensions WHERE name = %s", [EXTENSION])
        row = cursor.fetchone()
    if row is None:
        mend = "Install PostgreSQL's contrib package (postgresql-contrib) on the server."
        return error("database", f"The extension {EXTENSION} is not available.", mend)
    if row[0] is None:
        mend = f"Run `manage.py migrate` as a user who may CREATE EXTENSION {EXTENSION}."
        return error("database", f"The extension {EXTENSION} is not installed.", mend)
    return ok("database", f"{EXTENSION} {row[0]}")


def _migrations() -> Finding:
    part = readiness.check_migrations()
    if not part.ready:
        return error("migrations", part.message, "Run `manage.py migrate`; `manage.py up` does it at every start.")
    return ok("migrations", part.message)


def check_broker() -> list[Finding]:
    """Reachable, and with Redis a policy that throws no task away."""
    part = readiness.check_broker()
    if not part.ready:
        return [error("broker", part.message, "Start the broker, or mend CELERY_BROKER_URL.")]
    return [ok("broker", part.message), *_eviction()]


def _eviction() -> list[Finding]:
    """Redis may drop a broker's keys under memory pressure unless told not to (reference reliability A2)."""
    with current_app.connection_for_read() as broker:
        client = getattr(broker.default_channel, "client", None)
        if client is None or not hasattr(client, "info"):
            return []
        policy = str(client.info("memory").get("maxmemory_policy", ""))
    if policy in ("", SAFE_REDIS_POLICY):
        return []
    mend = f"Set `maxmemory-policy {SAFE_REDIS_POLICY}` in the Redis that is the broker."
    return [warning("broker", f"Redis may throw wake-ups away (maxmemory-policy {policy}).", mend)]


def check_heartbeat() -> list[Finding]:
    """The lag of the last tick that went through beat, broker and worker."""
    part = readiness.check_heartbeat()
    if part.ready:
        return [ok("heartbeat", part.message)]
    return [error("heartbeat", part.message, "Start the product (`make run`), or the worker and beat services.")]


def check_public_url() -> list[Finding]:
    """What providers redirect to and links point at."""
    public = urlsplit(settings.PUBLIC_URL)
    if public.path or public.query or not public.hostname:
        return [error("PUBLIC_URL", f"{settings.PUBLIC_URL} is more than an origin.", "Drop the path: https://host.")]
    if public.scheme == "https" or public.hostname in ("127.0.0.1", "localhost", "::1"):
        return [ok("PUBLIC_URL", settings.PUBLIC_URL)]
    mend = "Serve it over https and say so in PUBLIC_URL: tokens and sessions travel in the clear."
    return [warning("PUBLIC_URL", f"{settings.PUBLIC_URL} is not https.", mend)]
