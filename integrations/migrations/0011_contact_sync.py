"""The sync of a CRM's contacts and companies, one row per integration."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("integrations", "0010_delivery"),
    ]

    operations = [
        migrations.CreateModel(
            name="ContactSync",
            fields=[
                (
                    "status",
                    models.CharField(
                        choices=[("queued", "Queued"), ("running", "Running"), ("done", "Done"), ("failed", "Failed")],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                ("fence", models.PositiveBigIntegerField(default=0)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("error_code", models.CharField(blank=True, default="", max_length=64)),
                ("error_message", models.TextField(blank=True, default="")),
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("account", models.CharField(blank=True, default="", max_length=300)),
                ("cursor", models.JSONField(default=dict)),
                ("midway", models.BooleanField(default=False)),
                ("run", models.PositiveIntegerField(default=1)),
                ("trigger", models.CharField(max_length=20)),
                ("done", models.PositiveIntegerField(default=0)),
                ("total", models.PositiveIntegerField(default=0)),
                ("made", models.PositiveIntegerField(default=0)),
                ("removed", models.PositiveIntegerField(default=0)),
                ("skipped", models.JSONField(default=dict)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("error_at", models.DateTimeField(blank=True, null=True)),
                ("last_synced_at", models.DateTimeField(blank=True, null=True)),
                ("next_sync_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "integration",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="contact_sync",
                        to="integrations.integration",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "queued")), fields=["next_attempt_at"], name="contactsync_due"
                    ),
                    models.Index(
                        condition=models.Q(("status", "running")), fields=["lease_until"], name="contactsync_leases"
                    ),
                    models.Index(
                        condition=models.Q(("status__in", ("done", "failed"))),
                        fields=["next_sync_at"],
                        name="contactsync_next",
                    ),
                ],
            },
        ),
    ]
