"""System checks of the vault: no start in production with a weak key, a warning where a key in use is missing.

Registered by `WorkspacesConfig.ready`; the second runs only where a database is being checked (`migrate`,
`check --database default`), and `manage.py doctor` calls `missing_keys` too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, models

from core.crypto import key_ids_in_use, key_ring, sealed_fields

MIN_LENGTH = 32
MIN_DISTINCT = 10
EXAMPLES = ("example", "change", "secret", "insecure", "password", "default", "0123456789", "abcdefgh")
MEND = "Make one with `python -c 'import secrets; print(secrets.token_urlsafe(32))'` and put `id:secret` first."


def is_weak(secret: str) -> bool:
    """Too short, too uniform, taken from a page of documentation, or the SECRET_KEY once more."""
    lowered = secret.lower()
    return (
        len(secret) < MIN_LENGTH
        or len(set(secret)) < MIN_DISTINCT
        or any(word in lowered for word in EXAMPLES)
        or secret == settings.SECRET_KEY
    )


def check_ring(**_: Any) -> list[checks.CheckMessage]:
    """core.E101: VAULT_KEYS is missing or malformed. core.E102, W102 while DEBUG: a key is weak."""
    try:
        ring = key_ring()
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id="core.E101")]
    if not ring:
        return [checks.Error("VAULT_KEYS is empty: no secret can be stored.", hint=MEND, id="core.E101")]
    weak = [key_id for key_id, secret in ring.items() if is_weak(secret)]
    kind, check_id = (checks.Warning, "core.W102") if settings.DEBUG else (checks.Error, "core.E102")
    return [kind(f"The vault key {key_id!r} is weak or an example.", hint=MEND, id=check_id) for key_id in weak]


def sealed_models() -> Iterator[type[models.Model]]:
    """Every model that has a sealed column, in the order of the apps."""
    return (model for model in apps.get_models(include_auto_created=True) if sealed_fields(model))


def missing_keys() -> dict[str, int]:
    """Key ids in use that VAULT_KEYS does not hold → how many values need them."""
    missing: dict[str, int] = {}
    for model in sealed_models():
        for key_id, count in key_ids_in_use(model).items():
            if key_id not in key_ring():
                missing[key_id] = missing.get(key_id, 0) + count
    return missing


def check_keys_in_use(databases: Sequence[str] | None = None, **_: Any) -> list[checks.CheckMessage]:
    """core.W103: values are sealed under a key that is gone; they stay closed until it is put back."""
    if "default" not in (databases or ()) or not _tables_exist():
        return []
    return [
        checks.Warning(
            f"{count} stored secrets are sealed under the key {key_id!r}, which VAULT_KEYS does not hold.",
            hint="Put the key back at the end of VAULT_KEYS, then run `manage.py rotate_keys`.",
            id="core.W103",
        )
        for key_id, count in missing_keys().items()
    ]


def _tables_exist() -> bool:
    """False before the first migrate, which runs this check too, and while a new column is not there yet."""
    connection = connections["default"]
    with connection.cursor() as cursor:
        present = set(connection.introspection.table_names(cursor))
        for model in sealed_models():
            table = model._meta.db_table
            if table not in present:
                return False
            columns = {row.name for row in connection.introspection.get_table_description(cursor, table)}
            if any(field.column not in columns for field in sealed_fields(model)):
                return False
    return True


def register() -> None:
    """Idempotent: Django keeps checks in a set."""
    checks.register(check_ring, checks.Tags.security)
    checks.register(check_keys_in_use, checks.Tags.database)
