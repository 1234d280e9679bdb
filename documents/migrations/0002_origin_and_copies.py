"""Where a file that the product brought is from: an entity has one document of each; and copies to and from vendors."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("documents", "0001_initial"),
        ("integrations", "0011_contact_sync"),
        ("workspaces", "0002_idempotency_and_append_only"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="DocumentCopy",
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
                ("action", models.CharField(max_length=40)),
                ("given", models.JSONField(default=dict)),
                ("file_id", models.CharField(blank=True, default="", max_length=200)),
                ("result", models.JSONField(default=dict)),
                ("done", models.BigIntegerField(default=0)),
                ("total", models.BigIntegerField(null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
            ],
        ),
        migrations.AddField(
            model_name="document",
            name="origin",
            field=models.CharField(blank=True, default="", max_length=300),
        ),
        migrations.AddConstraint(
            model_name="document",
            constraint=models.UniqueConstraint(
                condition=models.Q(("origin", ""), _negated=True),
                fields=("workspace", "entity_type", "entity_id", "origin"),
                name="document_one_per_origin",
            ),
        ),
        migrations.AddField(
            model_name="documentcopy",
            name="document",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="documents.document"
            ),
        ),
        migrations.AddField(
            model_name="documentcopy",
            name="integration",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="integrations.integration"
            ),
        ),
        migrations.AddField(
            model_name="documentcopy",
            name="started_by",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="documentcopy",
            index=models.Index(
                condition=models.Q(("status", "queued")), fields=["next_attempt_at"], name="documentcopy_due"
            ),
        ),
        migrations.AddIndex(
            model_name="documentcopy",
            index=models.Index(
                condition=models.Q(("status", "running")), fields=["lease_until"], name="documentcopy_leases"
            ),
        ),
        migrations.AddIndex(
            model_name="documentcopy",
            index=models.Index(fields=["finished_at"], name="documentcopy_finished"),
        ),
    ]
