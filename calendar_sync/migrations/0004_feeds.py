"""Private addresses under which other programs read a member's calendars."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("calendar_sync", "0003_event_links"),
        ("workspaces", "0002_idempotency_and_append_only"),
    ]

    operations = [
        migrations.CreateModel(
            name="Feed",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("lookup", models.CharField(max_length=12, unique=True)),
                ("digest", models.CharField(max_length=64)),
                ("shows_private", models.BooleanField(default=False)),
                ("content", models.CharField(blank=True, default="", max_length=64)),
                ("changed_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "membership",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="workspaces.membership"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("digest__regex", "^[0-9a-f]{64}$")), name="feed_digest_format"
                    )
                ],
            },
        ),
    ]
