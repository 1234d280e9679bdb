"""The erasure of one person's address from the logs of a workspace; what the console calls a log and its emails."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import core.crypto
import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("email_logs", "0006_log_words"),
        ("workspaces", "0002_idempotency_and_append_only"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="emaillogentry",
            options={"ordering": ("-sent_at", "-id"), "verbose_name": "logged email"},
        ),
        migrations.AlterModelOptions(
            name="emaillogmirror",
            options={"verbose_name": "mirror of the email log", "verbose_name_plural": "mirrors of the email log"},
        ),
        migrations.AlterModelOptions(
            name="emaillogtable",
            options={"ordering": ("created_at", "id"), "verbose_name": "email log"},
        ),
        migrations.CreateModel(
            name="PersonalDataErasure",
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
                ("address", core.crypto.SealedTextField(blank=True, null=True)),
                ("mark", models.CharField(max_length=80)),
                ("places", models.JSONField(default=dict)),
                ("events_seen", models.JSONField(default=dict)),
                ("waiting", models.JSONField(default=list)),
                ("done", models.PositiveBigIntegerField(default=0)),
                ("total", models.PositiveBigIntegerField(default=0)),
                ("entries", models.PositiveBigIntegerField(default=0)),
                ("events", models.PositiveBigIntegerField(default=0)),
                ("mails", models.PositiveBigIntegerField(default=0)),
                ("suppressions", models.PositiveBigIntegerField(default=0)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
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
                    models.Index(
                        condition=models.Q(("status", "queued")),
                        fields=["next_attempt_at"],
                        name="personaldataerasure_due",
                    ),
                    models.Index(
                        condition=models.Q(("status", "running")),
                        fields=["lease_until"],
                        name="personaldataerasure_leases",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status__in", ("queued", "running"))),
                        fields=("workspace", "mark"),
                        name="personaldataerasure_one_under_way",
                    )
                ],
            },
        ),
    ]
