"""Doorbells of mailboxes."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("email_sync", "0010_calendar_parts"),
        ("integrations", "0005_coverage"),
    ]

    operations = [
        migrations.CreateModel(
            name="PushChannel",
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
                ("holder", models.UUIDField(blank=True, null=True)),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                ("last_notified_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "connection",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="push_channel",
                        to="integrations.connection",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["remote_id"], name="pushchannel_remote_id")],
            },
        ),
    ]
