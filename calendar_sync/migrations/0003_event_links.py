"""Decisions made by hand: which CRM entities an event is about."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("calendar_sync", "0002_cut_off"),
        ("integrations", "0011_contact_sync"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="EventLink",
            fields=[
                ("entity_type", models.CharField(max_length=50)),
                ("entity_id", models.CharField(max_length=200)),
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("kind", models.CharField(choices=[("linked", "Linked"), ("unlinked", "Unlinked")], max_length=10)),
                ("decided_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="integrations.connection",
                    ),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "event",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="links",
                        to="calendar_sync.calendarevent",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["connection", "entity_type", "entity_id"], name="eventlink_of_entity")
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("event", "entity_type", "entity_id"), name="eventlink_one_decision")
                ],
            },
        ),
    ]
