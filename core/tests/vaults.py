"""Tables with sealed columns for the tests of the vault, and what is stored in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, models
from django.test.utils import isolate_apps

from core.crypto import SealedJSONField, SealedTextField
from core.ids import uuid7

MARKER = "s3cr3t-marker-Ünïcode"
OLD = "2026a:Jm4kT0wq9ZpX7vNbYd2WcRfYhGuEoAi5"
NEW = "2026b:xB8rLs1nQe6UgVt3Mz0aKjHyPw5CdFi7"


@pytest.fixture(autouse=True)
def ring(settings: Any) -> None:
    """The old key alone."""
    settings.VAULT_KEYS = OLD


@pytest.fixture
def vault() -> Iterator[Any]:
    """Two tables with sealed columns that exist for one test only."""
    with isolate_apps("workspaces"):

        class Vault(models.Model):
            id = models.UUIDField(primary_key=True, default=uuid7)
            workspace_id = models.UUIDField()
            label = models.CharField(max_length=20, default="")
            text = SealedTextField(null=True)
            data = SealedJSONField(null=True)

            class Meta:
                app_label = "workspaces"
                db_table = "test_vault"

        class Other(models.Model):
            id = models.UUIDField(primary_key=True, default=uuid7)
            workspace_id = models.UUIDField()
            text = SealedTextField(null=True)

            class Meta:
                app_label = "workspaces"
                db_table = "test_other"

        Vault.Other = Other
        with connection.schema_editor() as editor:
            editor.create_model(Vault)
            editor.create_model(Other)
        yield Vault


def make(vault: Any, **fields: Any) -> Any:
    """A stored row."""
    return vault.objects.create(**{"workspace_id": uuid7(), "text": MARKER, "data": {"token": MARKER}, **fields})


def blob(row: Any, column: str = "text") -> bytes:
    """What the database holds."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {row._meta.db_table} WHERE id = %s", [row.pk])
        return bytes(cursor.fetchone()[0])


def plant(row: Any, value: bytes, column: str = "text") -> Any:
    """The row as it is read after somebody put this there."""
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {row._meta.db_table} SET {column} = %s WHERE id = %s", [value, row.pk])
    return type(row).objects.get(pk=row.pk)
