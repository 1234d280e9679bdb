"""Aliases, drafts and bounces; when a mail is to leave, and whether its provider was called."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("email_sync", "0007_unfetched"),
        ("integrations", "0005_coverage"),
    ]

    operations = [
        migrations.CreateModel(
            name="DraftFile",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("file_name", models.TextField()),
                ("content_type", models.CharField(max_length=255)),
                ("content_id", models.TextField(blank=True, default="")),
                ("size", models.PositiveBigIntegerField()),
                ("content", models.BinaryField()),
            ],
            options={
                "ordering": ("id",),
            },
        ),
        migrations.AddField(
            model_name="submission",
            name="calling",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="submission",
            name="entity_id",
            field=models.TextField(blank=True, default=""),
        ),
        migrations.AddField(
            model_name="submission",
            name="entity_type",
            field=models.CharField(blank=True, default="", max_length=64),
        ),
        migrations.AddField(
            model_name="submission",
            name="send_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="submission",
            name="source",
            field=models.CharField(blank=True, default="", max_length=40),
        ),
        migrations.AddField(
            model_name="submission",
            name="tried_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="submission",
            name="stage",
            field=models.CharField(
                choices=[
                    ("scheduled", "Scheduled"),
                    ("sending", "Sending"),
                    ("sent", "Sent"),
                    ("unconfirmed", "Unconfirmed"),
                    ("failed", "Failed"),
                    ("cancelled", "Cancelled"),
                ],
                default="sending",
                max_length=12,
            ),
        ),
        migrations.CreateModel(
            name="Alias",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("key", models.TextField()),
                ("email", models.TextField()),
                ("name", models.TextField(blank=True, default="")),
                ("is_primary", models.BooleanField(default=False)),
                ("by_user", models.BooleanField(default=False)),
                ("refreshed_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="aliases",
                        to="integrations.connection",
                    ),
                ),
            ],
            options={
                "ordering": ("-is_primary", "email"),
            },
        ),
        migrations.CreateModel(
            name="Bounce",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("recipient", models.TextField()),
                ("status", models.CharField(blank=True, default="", max_length=20)),
                ("diagnostic", models.TextField(blank=True, default="")),
                ("at", models.DateTimeField()),
                (
                    "message",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="email_sync.message",
                    ),
                ),
                (
                    "submission",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="bounces",
                        to="email_sync.submission",
                    ),
                ),
            ],
            options={
                "ordering": ("at", "id"),
            },
        ),
        migrations.CreateModel(
            name="Draft",
            fields=[
                (
                    "message",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="draft",
                        serialize=False,
                        to="email_sync.message",
                    ),
                ),
                ("content", models.JSONField(default=dict)),
                ("in_reply_to", models.TextField(blank=True, default="")),
                (
                    "references",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
                ),
                ("revision", models.PositiveIntegerField(default=1)),
                ("saved_revision", models.PositiveIntegerField(default=0)),
                ("mail_id", models.TextField(blank=True, default="")),
                ("removing", models.BooleanField(default=False)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                ("next_attempt_at", models.DateTimeField(blank=True, null=True)),
                ("error_code", models.CharField(blank=True, default="", max_length=64)),
                ("error_message", models.TextField(blank=True, default="")),
                (
                    "parent",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="email_sync.message",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="submission",
            name="draft",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="submissions",
                to="email_sync.draft",
            ),
        ),
        migrations.AddIndex(
            model_name="submission",
            index=models.Index(fields=["connection", "-created_at", "-id"], name="submission_recent"),
        ),
        migrations.AddConstraint(
            model_name="submission",
            constraint=models.UniqueConstraint(
                condition=models.Q(("stage__in", ("scheduled", "sending", "unconfirmed", "sent"))),
                fields=("draft",),
                name="submission_one_leaving_per_draft",
            ),
        ),
        migrations.AddField(
            model_name="draftfile",
            name="draft",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="files", to="email_sync.draft"
            ),
        ),
        migrations.AddConstraint(
            model_name="alias",
            constraint=models.UniqueConstraint(fields=("connection", "key"), name="alias_one_per_address"),
        ),
        migrations.AddConstraint(
            model_name="bounce",
            constraint=models.UniqueConstraint(fields=("submission", "recipient"), name="bounce_one_per_recipient"),
        ),
        migrations.AddIndex(
            model_name="draft",
            index=models.Index(
                condition=models.Q(("next_attempt_at__isnull", False)), fields=["next_attempt_at"], name="draft_due"
            ),
        ),
    ]
