"""Integrations of workspaces, and what their owners are told about them."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import core.crypto
import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("integrations", "0007_quota_owner"),
        ("workspaces", "0002_idempotency_and_append_only"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Integration",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=255)),
                ("type", models.CharField(max_length=40)),
                ("config", models.JSONField(default=dict)),
                ("masks", models.JSONField(default=dict)),
                ("credentials", core.crypto.SealedJSONField(blank=True, null=True)),
                ("has_credentials", models.BooleanField(default=False)),
                ("fingerprint", models.CharField(blank=True, default="", max_length=40)),
                ("credentials_changed_at", models.DateTimeField(blank=True, null=True)),
                ("enabled", models.BooleanField(default=True)),
                ("is_site_email_provider", models.BooleanField(default=False)),
                (
                    "health",
                    models.CharField(
                        choices=[
                            ("unknown", "Unknown"),
                            ("ok", "Ok"),
                            ("limited", "Limited"),
                            ("failing", "Failing"),
                            ("needs_reconnect", "Needs Reconnect"),
                        ],
                        default="unknown",
                        max_length=20,
                    ),
                ),
                ("health_code", models.CharField(blank=True, default="", max_length=64)),
                ("health_message", models.TextField(blank=True, default="")),
                ("health_checked_at", models.DateTimeField(blank=True, null=True)),
                ("failing_since", models.DateTimeField(blank=True, null=True)),
                ("check_failures", models.PositiveIntegerField(default=0)),
                ("next_check_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("updated_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("deleted_at", models.DateTimeField(blank=True, null=True)),
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
                        related_name="integrations",
                        to="workspaces.workspace",
                    ),
                ),
            ],
            options={
                "ordering": ("created_at", "id"),
            },
        ),
        migrations.CreateModel(
            name="Notice",
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
                ("subject", models.CharField(max_length=255)),
                ("text", models.TextField()),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "integration",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notices",
                        to="integrations.integration",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="workspaces.workspace"
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="integration",
            index=models.Index(fields=["workspace", "created_at", "id"], name="integration_list"),
        ),
        migrations.AddIndex(
            model_name="integration",
            index=models.Index(
                condition=models.Q(("deleted_at__isnull", True), ("enabled", True)),
                fields=["next_check_at"],
                name="integration_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="integration",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_site_email_provider", True)),
                fields=("workspace",),
                name="integration_one_site_email_provider",
            ),
        ),
        migrations.AddConstraint(
            model_name="integration",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("is_site_email_provider", False),
                    models.Q(("deleted_at__isnull", True), ("enabled", True)),
                    _connector="OR",
                ),
                name="integration_site_email_provider_is_enabled",
            ),
        ),
        migrations.AddConstraint(
            model_name="integration",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("deleted_at__isnull", True),
                    models.Q(("credentials__isnull", True), ("enabled", False)),
                    _connector="OR",
                ),
                name="integration_deleted_holds_no_secret",
            ),
        ),
        migrations.AddIndex(
            model_name="notice",
            index=models.Index(fields=["status", "next_attempt_at"], name="notice_due"),
        ),
    ]
