"""Files of a log that are made in the background, in pieces."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("email_logs", "0007_personal_data"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="EmailLogExport",
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
                ("size", models.PositiveBigIntegerField(default=0)),
                ("chunks", models.PositiveIntegerField(default=0)),
                ("expires_at", models.DateTimeField(null=True)),
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("format", models.CharField(max_length=10)),
                ("filters", models.JSONField(default=dict)),
                ("oldest_first", models.BooleanField(default=False)),
                ("until", models.DateTimeField()),
                ("mailboxes", models.JSONField(null=True)),
                ("place", models.JSONField(null=True)),
                ("written", models.JSONField(default=dict)),
                ("total", models.PositiveBigIntegerField(null=True)),
                ("done", models.PositiveBigIntegerField(default=0)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "table",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="exports",
                        to="email_logs.emaillogtable",
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at", "-id"),
            },
        ),
        migrations.CreateModel(
            name="ExportChunk",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("number", models.PositiveIntegerField()),
                ("data", models.BinaryField()),
                (
                    "export",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="pieces",
                        to="email_logs.emaillogexport",
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="emaillogexport",
            index=models.Index(fields=["table", "created_at", "id"], name="emaillogexport_list"),
        ),
        migrations.AddIndex(
            model_name="emaillogexport",
            index=models.Index(
                condition=models.Q(("status", "queued")), fields=["next_attempt_at"], name="emaillogexport_due"
            ),
        ),
        migrations.AddIndex(
            model_name="emaillogexport",
            index=models.Index(
                condition=models.Q(("status", "running")), fields=["lease_until"], name="emaillogexport_leases"
            ),
        ),
        migrations.AddIndex(
            model_name="emaillogexport",
            index=models.Index(fields=["expires_at"], name="emaillogexport_expires"),
        ),
        migrations.AddConstraint(
            model_name="emaillogexport",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status__in", ("queued", "running"))),
                fields=("table", "created_by"),
                name="emaillogexport_one_under_way",
            ),
        ),
        migrations.AddConstraint(
            model_name="exportchunk",
            constraint=models.UniqueConstraint(fields=("export", "number"), name="exportchunk_one_per_number"),
        ),
    ]
