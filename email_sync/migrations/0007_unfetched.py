"""Messages that never come."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("email_sync", "0006_link_stored_mail"),
        ("integrations", "0005_coverage"),
    ]

    operations = [
        migrations.CreateModel(
            name="Unfetched",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("remote_id", models.TextField()),
                ("stream", models.CharField(max_length=500)),
                ("reason", models.TextField()),
                ("attempts", models.PositiveIntegerField(default=1)),
                ("next_attempt_at", models.DateTimeField()),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="unfetched",
                        to="integrations.connection",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["connection", "stream"], name="unfetched_stream")],
                "constraints": [
                    models.UniqueConstraint(fields=("connection", "remote_id"), name="unfetched_one_per_remote_id")
                ],
            },
        ),
    ]
