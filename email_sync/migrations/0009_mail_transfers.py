"""Exports and imports of mail: their work, their files, and the bytes of what was imported."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("email_sync", "0008_outgoing"),
        ("integrations", "0004_purge"),
    ]

    operations = [
        migrations.CreateModel(
            name="ImportedSource",
            fields=[
                (
                    "message",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="imported_source",
                        serialize=False,
                        to="email_sync.message",
                    ),
                ),
                ("raw", models.BinaryField()),
            ],
        ),
        migrations.CreateModel(
            name="MailTransfer",
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
                ("kind", models.CharField(choices=[("export", "Export"), ("import", "Import")], max_length=10)),
                ("received", models.BooleanField(default=True)),
                ("size", models.PositiveBigIntegerField(default=0)),
                ("chunks", models.PositiveIntegerField(default=0)),
                ("position", models.TextField(blank=True, default="")),
                ("offset", models.PositiveBigIntegerField(default=0)),
                ("total", models.PositiveIntegerField(null=True)),
                ("done", models.PositiveIntegerField(default=0)),
                ("rebuilt", models.PositiveIntegerField(default=0)),
                ("stored", models.PositiveIntegerField(default=0)),
                ("skipped", models.PositiveIntegerField(default=0)),
                ("refused", models.PositiveIntegerField(default=0)),
                ("problems", models.JSONField(default=list)),
                ("expires_at", models.DateTimeField(null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="mail_transfers",
                        to="integrations.connection",
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at", "-id"),
            },
        ),
        migrations.CreateModel(
            name="TransferChunk",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("number", models.PositiveIntegerField()),
                ("data", models.BinaryField()),
                (
                    "transfer",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="pieces",
                        to="email_sync.mailtransfer",
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="mailtransfer",
            index=models.Index(
                condition=models.Q(("status", "queued")), fields=["next_attempt_at"], name="mailtransfer_due"
            ),
        ),
        migrations.AddIndex(
            model_name="mailtransfer",
            index=models.Index(
                condition=models.Q(("status", "running")), fields=["lease_until"], name="mailtransfer_leases"
            ),
        ),
        migrations.AddConstraint(
            model_name="transferchunk",
            constraint=models.UniqueConstraint(fields=("transfer", "number"), name="transferchunk_one_per_number"),
        ),
    ]
