"""What a user wants of a mailbox, and what that keeps out."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("email_sync", "0002_folder_counters"),
        ("integrations", "0002_event"),
    ]

    operations = [
        migrations.CreateModel(
            name="Excluded",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("remote_id", models.TextField()),
                ("stream", models.CharField(max_length=500)),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("folder", "in a folder that is not synced"),
                            ("age", "older than is synced"),
                            ("blocked", "from or to somebody blocked"),
                        ],
                        max_length=10,
                    ),
                ),
                ("rule", models.TextField(blank=True, default="")),
                ("key", models.UUIDField(null=True)),
                ("received_at", models.DateTimeField(null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
            ],
        ),
        migrations.CreateModel(
            name="MailScope",
            fields=[
                (
                    "connection",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="mail_scope",
                        serialize=False,
                        to="integrations.connection",
                    ),
                ),
                (
                    "folder_rule",
                    models.CharField(
                        choices=[("all", "All"), ("include", "only these"), ("exclude", "all but these")],
                        default="all",
                        max_length=10,
                    ),
                ),
                (
                    "folder_ids",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=500), default=list, size=None
                    ),
                ),
                ("days", models.PositiveIntegerField(null=True)),
                ("since", models.DateTimeField(null=True)),
                (
                    "blocked",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
                ),
                ("metadata_only", models.BooleanField(default=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
        ),
        migrations.CreateModel(
            name="ScopeChange",
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
                ("position", models.TextField(blank=True, default="")),
                ("total", models.PositiveIntegerField(default=0)),
                ("done", models.PositiveIntegerField(default=0)),
                ("removed", models.PositiveIntegerField(default=0)),
                ("reduced", models.PositiveIntegerField(default=0)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
            ],
        ),
        migrations.AddField(
            model_name="message",
            name="body_withheld",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("body_withheld", True)), fields=["connection", "id"], name="message_withheld"
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=django.contrib.postgres.indexes.HashIndex(
                condition=models.Q(("message_id", ""), _negated=True), fields=["message_id"], name="message_message_id"
            ),
        ),
        migrations.AddField(
            model_name="excluded",
            name="connection",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="excluded_mail",
                to="integrations.connection",
            ),
        ),
        migrations.AddConstraint(
            model_name="mailscope",
            constraint=models.CheckConstraint(
                condition=models.Q(("folder_rule__in", ["all", "include", "exclude"])), name="mailscope_rule_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="mailscope",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("days__isnull", True), ("since__isnull", True)),
                    models.Q(("days", 0), ("since__isnull", True)),
                    models.Q(("days__gt", 0), ("since__isnull", False)),
                    _connector="OR",
                ),
                name="mailscope_days_and_since_agree",
            ),
        ),
        migrations.AddField(
            model_name="scopechange",
            name="connection",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="scope_changes", to="integrations.connection"
            ),
        ),
        migrations.AddIndex(
            model_name="excluded",
            index=models.Index(
                condition=models.Q(("key__isnull", False)), fields=["connection", "key"], name="excluded_message_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="excluded",
            constraint=models.UniqueConstraint(fields=("connection", "remote_id"), name="excluded_one_per_remote_id"),
        ),
        migrations.AddIndex(
            model_name="scopechange",
            index=models.Index(
                condition=models.Q(("status", "queued")), fields=["next_attempt_at"], name="scopechange_due"
            ),
        ),
        migrations.AddIndex(
            model_name="scopechange",
            index=models.Index(
                condition=models.Q(("status", "running")), fields=["lease_until"], name="scopechange_leases"
            ),
        ),
        migrations.AddConstraint(
            model_name="scopechange",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status__in", ("queued", "running"))),
                fields=("connection",),
                name="scopechange_one_active",
            ),
        ),
    ]
