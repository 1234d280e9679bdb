"""Matches of addresses and domains with CRM entities."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("workspaces", "0002_idempotency_and_append_only"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AddressMatch",
            fields=[
                ("entity_type", models.CharField(max_length=50)),
                ("entity_id", models.CharField(max_length=200)),
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("address", models.CharField(max_length=320)),
                ("address_key", models.CharField(max_length=320)),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="workspaces.workspace",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["workspace", "entity_type", "entity_id"], name="addressmatch_of_entity")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("workspace", "address_key", "entity_type", "entity_id"), name="addressmatch_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="DomainMatch",
            fields=[
                ("entity_type", models.CharField(max_length=50)),
                ("entity_id", models.CharField(max_length=200)),
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("domain", models.CharField(max_length=255)),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="workspaces.workspace",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["workspace", "entity_type", "entity_id"], name="domainmatch_of_entity")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("workspace", "domain", "entity_type", "entity_id"), name="domainmatch_once"
                    )
                ],
            },
        ),
    ]
