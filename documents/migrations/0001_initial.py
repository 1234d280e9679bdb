"""Documents, how much of them a workspace has, objects that are to go; and the words a document is found by, which
PostgreSQL keeps. A mark among them names the workspace: it begins with a capital, which no folded word has."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("email_logs", "0006_log_words"),
        ("workspaces", "0002_idempotency_and_append_only"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="DocumentUsage",
            fields=[
                (
                    "workspace",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="workspaces.workspace",
                    ),
                ),
                ("size", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="Removal",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("key", models.CharField(max_length=200, unique=True)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("due_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("error", models.CharField(blank=True, default="", max_length=500)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["due_at"], name="removal_due")],
            },
        ),
        migrations.CreateModel(
            name="Document",
            fields=[
                ("entity_type", models.CharField(max_length=50)),
                ("entity_id", models.CharField(max_length=200)),
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("file_name", models.CharField(max_length=255)),
                ("content_type", models.CharField(max_length=255)),
                ("sniffed_type", models.CharField(blank=True, default="", max_length=255)),
                ("size", models.BigIntegerField(blank=True, null=True)),
                ("sha256", models.CharField(blank=True, default="", max_length=64)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("ready", "Ready"),
                            ("archived", "Archived"),
                            ("rejected", "Rejected"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("reason", models.CharField(blank=True, default="", max_length=40)),
                ("reason_text", models.CharField(blank=True, default="", max_length=500)),
                ("upload_key", models.CharField(blank=True, default="", max_length=200)),
                ("upload_expires_at", models.DateTimeField(blank=True, null=True)),
                ("key", models.CharField(blank=True, default="", max_length=200)),
                ("counted", models.BigIntegerField(default=0)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("confirmed_at", models.DateTimeField(blank=True, null=True)),
                ("archived_at", models.DateTimeField(blank=True, null=True)),
                (
                    "uploaded_by",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
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
                "ordering": ("-id",),
                "indexes": [
                    models.Index(fields=["workspace", "id"], name="document_page"),
                    models.Index(fields=["workspace", "entity_type", "entity_id", "id"], name="document_of_entity"),
                    models.Index(
                        fields=["workspace", "entity_type", "entity_id", "status", "id"], name="document_entity_state"
                    ),
                    models.Index(fields=["workspace", "status", "id"], name="document_in_state"),
                    models.Index(fields=["workspace", "uploaded_by", "id"], name="document_of_uploader"),
                    models.Index(fields=["workspace", "content_type", "id"], name="document_of_type"),
                    models.Index(fields=["uploaded_by"], name="document_uploader"),
                    models.Index(condition=models.Q(("status", "pending")), fields=["id"], name="document_pending"),
                    models.Index(condition=models.Q(("key", ""), _negated=True), fields=["key"], name="document_key"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("status__in", ("ready", "archived")),
                                models.Q(("key", ""), _negated=True),
                                ("confirmed_at__isnull", False),
                                ("size__gte", 0),
                            ),
                            models.Q(models.Q(("status__in", ("ready", "archived")), _negated=True), ("key", "")),
                            _connector="OR",
                        ),
                        name="document_stored_has_an_object",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("archived_at__isnull", False), ("status", "archived")),
                            models.Q(models.Q(("status", "archived"), _negated=True), ("archived_at__isnull", True)),
                            _connector="OR",
                        ),
                        name="document_archived_says_when",
                    ),
                ],
            },
        ),
        migrations.RunSQL(
            """
            ALTER TABLE documents_document ADD COLUMN words tsvector GENERATED ALWAYS AS (
                array_to_tsvector(email_logs_words(file_name::text) || ('W' || workspace_id::text))
            ) STORED
            """,
            "ALTER TABLE documents_document DROP COLUMN words",
        ),
        migrations.RunSQL(
            "CREATE INDEX document_words ON documents_document USING gin (words) WITH (gin_pending_list_limit = 512)",
            "DROP INDEX document_words",
        ),
    ]
