"""Doorbells of calendars."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("calendar_sync", "0006_written_at"),
        ("integrations", "0011_contact_sync"),
    ]

    operations = [
        migrations.CreateModel(
            name="CalendarChannel",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("via", models.CharField(max_length=20)),
                ("remote_id", models.CharField(blank=True, default="", max_length=320)),
                ("secret_digest", models.CharField(blank=True, default="", max_length=64)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("active", "the provider tells of changes"),
                            ("off", "polled only"),
                            ("failed", "it could not be set up"),
                        ],
                        default="off",
                        max_length=10,
                    ),
                ),
                ("message", models.TextField(blank=True, default="")),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("next_attempt_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("failures", models.PositiveIntegerField(default=0)),
                ("last_notified_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "calendar",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="channels",
                        to="calendar_sync.calendar",
                    ),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="integrations.connection",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["remote_id"], name="calendarchannel_remote_id"),
                    models.Index(fields=["next_attempt_at"], name="calendarchannel_due"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("connection", "calendar"), name="calendarchannel_one_each", nulls_distinct=False
                    )
                ],
            },
        ),
    ]
