"""Connections, consent flows, sync states, cursors and runs."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import core.crypto
import core.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("workspaces", "0002_idempotency_and_append_only"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Connection",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("provider", models.CharField(max_length=40)),
                ("account_id", models.CharField(max_length=255)),
                ("account_email", models.EmailField(max_length=320)),
                ("display_name", models.CharField(blank=True, default="", max_length=255)),
                (
                    "scopes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(), blank=True, default=list, size=None
                    ),
                ),
                ("options", models.JSONField(blank=True, default=dict)),
                ("credentials", core.crypto.SealedJSONField(blank=True, null=True)),
                ("token_expires_at", models.DateTimeField(blank=True, null=True)),
                ("refresh_lease_until", models.DateTimeField(blank=True, null=True)),
                ("refresh_fence", models.PositiveBigIntegerField(default=0)),
                (
                    "visibility",
                    models.CharField(
                        choices=[("private", "Private"), ("metadata", "Metadata"), ("full", "Full")],
                        default="private",
                        max_length=10,
                    ),
                ),
                ("paused", models.BooleanField(default=False)),
                ("sync_email", models.BooleanField(default=True)),
                ("sync_calendar", models.BooleanField(default=True)),
                ("needs_reauth", models.BooleanField(default=False)),
                ("last_error_code", models.CharField(blank=True, default="", max_length=64)),
                ("last_error_message", models.TextField(blank=True, default="")),
                ("last_error_at", models.DateTimeField(blank=True, null=True)),
                ("last_synced_at", models.DateTimeField(blank=True, null=True)),
                ("disconnected_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="connections",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="connections",
                        to="workspaces.workspace",
                    ),
                ),
            ],
            options={
                "ordering": ("created_at", "id"),
            },
        ),
        migrations.CreateModel(
            name="OAuthState",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("provider", models.CharField(max_length=40)),
                ("state_digest", models.CharField(max_length=64, unique=True)),
                ("browser_digest", models.CharField(blank=True, default="", max_length=64)),
                ("session", core.crypto.SealedJSONField()),
                ("return_to", models.CharField(blank=True, default="", max_length=2000)),
                (
                    "wanted_scopes",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
                ),
                ("expires_at", models.DateTimeField()),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="integrations.connection",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
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
        migrations.CreateModel(
            name="SyncCursor",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("type", models.CharField(max_length=20)),
                ("stream", models.CharField(max_length=500)),
                ("cursor", models.TextField(blank=True, default="")),
                ("backfill_token", models.TextField(blank=True, default="")),
                ("backfill_done", models.BooleanField(default=False)),
                ("reconcile", models.BooleanField(default=False)),
                ("listed", models.PositiveIntegerField(default=0)),
                ("total", models.PositiveIntegerField(blank=True, null=True)),
                ("held_reason", models.TextField(blank=True, default="")),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "connection",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="cursors",
                        to="integrations.connection",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="SyncRun",
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
                ("type", models.CharField(max_length=20)),
                ("trigger", models.CharField(default="schedule", max_length=20)),
                ("done", models.PositiveIntegerField(default=0)),
                ("total", models.PositiveIntegerField(blank=True, null=True)),
                ("added", models.PositiveIntegerField(default=0)),
                ("changed", models.PositiveIntegerField(default=0)),
                ("removed", models.PositiveIntegerField(default=0)),
                ("rung_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="runs", to="integrations.connection"
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at", "-id"),
            },
        ),
        migrations.CreateModel(
            name="SyncState",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("type", models.CharField(max_length=20)),
                ("next_sync_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("last_synced_at", models.DateTimeField(blank=True, null=True)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("coverage_remote", models.PositiveIntegerField(blank=True, null=True)),
                ("coverage_stored", models.PositiveIntegerField(blank=True, null=True)),
                ("coverage_missing", models.PositiveIntegerField(blank=True, null=True)),
                ("coverage_checked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "connection",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sync_states",
                        to="integrations.connection",
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="connection",
            constraint=models.UniqueConstraint(
                fields=("workspace", "user", "provider", "account_id"), name="connection_one_per_account"
            ),
        ),
        migrations.AddConstraint(
            model_name="connection",
            constraint=models.CheckConstraint(
                condition=models.Q(("disconnected_at__isnull", True), ("credentials__isnull", True), _connector="OR"),
                name="connection_disconnected_holds_no_secret",
            ),
        ),
        migrations.AddIndex(
            model_name="oauthstate",
            index=models.Index(fields=["expires_at"], name="oauthstate_expiry"),
        ),
        migrations.AddConstraint(
            model_name="synccursor",
            constraint=models.UniqueConstraint(
                fields=("connection", "type", "stream"), name="synccursor_one_per_stream"
            ),
        ),
        migrations.AddIndex(
            model_name="syncrun",
            index=models.Index(
                condition=models.Q(("status", "queued")), fields=["next_attempt_at"], name="syncrun_due"
            ),
        ),
        migrations.AddIndex(
            model_name="syncrun",
            index=models.Index(
                condition=models.Q(("status", "running")), fields=["lease_until"], name="syncrun_leases"
            ),
        ),
        migrations.AddIndex(
            model_name="syncrun",
            index=models.Index(fields=["connection", "type", "-created_at"], name="syncrun_history"),
        ),
        migrations.AddConstraint(
            model_name="syncrun",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status__in", ("queued", "running"))),
                fields=("connection", "type"),
                name="syncrun_one_active",
            ),
        ),
        migrations.AddIndex(
            model_name="syncstate",
            index=models.Index(fields=["next_sync_at"], name="syncstate_due"),
        ),
        migrations.AddConstraint(
            model_name="syncstate",
            constraint=models.UniqueConstraint(fields=("connection", "type"), name="syncstate_one_per_type"),
        ),
    ]
