"""The mirror of an email log in an outside table."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("email_logs", "0004_deliveryevent_unwanted"),
        ("integrations", "0011_contact_sync"),
    ]

    operations = [
        migrations.CreateModel(
            name="EmailLogMirror",
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
                ("target", models.CharField(blank=True, default="", max_length=400)),
                ("checked", models.BooleanField(default=False)),
                ("places", models.JSONField(default=dict)),
                ("run", models.PositiveIntegerField(default=1)),
                ("trigger", models.CharField(max_length=20)),
                ("done", models.PositiveBigIntegerField(default=0)),
                ("total", models.PositiveBigIntegerField(default=0)),
                ("written", models.PositiveBigIntegerField(default=0)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("error_at", models.DateTimeField(blank=True, null=True)),
                ("last_mirrored_at", models.DateTimeField(blank=True, null=True)),
                ("next_mirror_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "integration",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="email_log_mirror",
                        to="integrations.integration",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "queued")), fields=["next_attempt_at"], name="emaillogmirror_due"
                    ),
                    models.Index(
                        condition=models.Q(("status", "running")), fields=["lease_until"], name="emaillogmirror_leases"
                    ),
                ],
            },
        ),
    ]
