"""The budgets of providers."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("integrations", "0002_event"),
    ]

    operations = [
        migrations.CreateModel(
            name="QuotaBudget",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=20)),
                ("level", models.FloatField()),
                ("refilled_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("closed_until", models.DateTimeField(blank=True, null=True)),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="integrations.connection",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("connection", "name"), name="quotabudget_one_per_name")
                ],
            },
        ),
        migrations.CreateModel(
            name="QuotaSlot",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=20)),
                ("number", models.PositiveSmallIntegerField()),
                ("holder", models.UUIDField(blank=True, null=True)),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="integrations.connection",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("connection", "name", "number"), name="quotaslot_one_per_number")
                ],
            },
        ),
    ]
