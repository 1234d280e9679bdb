"""When each key of the vault was first seen."""

from django.db import migrations, models

import workspaces.models


class Migration(migrations.Migration):
    dependencies = [
        ("workspaces", "0002_idempotency_and_append_only"),
    ]

    operations = [
        migrations.CreateModel(
            name="VaultKey",
            fields=[
                ("key_id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("first_seen_at", models.DateTimeField(db_default=workspaces.models.ClockTimestamp(), editable=False)),
            ],
        ),
    ]
