"""Budgets of integrations beside those of connections. What there was is forgotten: buckets begin anew."""

from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("integrations", "0006_run_holder"),
    ]

    operations = [
        migrations.DeleteModel("QuotaBudget"),
        migrations.DeleteModel("QuotaSlot"),
        migrations.CreateModel(
            name="QuotaBudget",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("owner_id", models.UUIDField()),
                ("name", models.CharField(max_length=20)),
                ("level", models.FloatField()),
                ("refilled_at", models.DateTimeField(db_default=models.functions.Now())),
                ("closed_until", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("owner_id", "name"), name="quotabudget_one_per_name")],
            },
        ),
        migrations.CreateModel(
            name="QuotaSlot",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("owner_id", models.UUIDField()),
                ("name", models.CharField(max_length=20)),
                ("number", models.PositiveSmallIntegerField()),
                ("holder", models.UUIDField(blank=True, null=True)),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("owner_id", "name", "number"), name="quotaslot_one_per_number")
                ],
            },
        ),
    ]
