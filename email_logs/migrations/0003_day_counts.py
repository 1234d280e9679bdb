"""How far the counts by day are, and an index of events nobody knows a mail of, for their removal."""

import uuid

import django.db.models.deletion
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("email_logs", "0002_queue_of_mail"),
        ("workspaces", "0002_idempotency_and_append_only"),
    ]

    operations = [
        migrations.CreateModel(
            name="DayCount",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("transaction", models.BigIntegerField(default=0)),
                ("entry_id", models.UUIDField(default=uuid.UUID("00000000-0000-0000-0000-000000000000"))),
                ("final_before", models.DateField(blank=True, null=True)),
            ],
        ),
        migrations.AddIndex(
            model_name="deliveryevent",
            index=models.Index(
                condition=models.Q(("entry_id__isnull", True)), fields=["id"], name="deliveryevent_unjoined_old"
            ),
        ),
        migrations.AddField(
            model_name="daycount",
            name="table",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE, related_name="day_count", to="email_logs.emaillogtable"
            ),
        ),
    ]
