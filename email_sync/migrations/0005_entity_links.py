"""Participants of conversations, decisions about them, and what makes two messages copies of one."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import core.ids


def _owner(to, related_name, **options):
    """A row that goes with what it belongs to; the indexes below find it."""
    cascade = django.db.models.deletion.CASCADE
    return models.ForeignKey(to, cascade, db_index=False, related_name=related_name, **options)


class Migration(migrations.Migration):
    dependencies = [
        ("email_sync", "0004_search_periods"),
        ("integrations", "0003_quota"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField("message", "fingerprint", models.UUIDField(blank=True, null=True)),
        migrations.AddField("thread", "shown_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("thread", "shown_count", models.PositiveIntegerField(db_default=0, default=0)),
        migrations.CreateModel(
            name="ThreadLink",
            fields=[
                ("entity_type", models.CharField(max_length=50)),
                ("entity_id", models.CharField(max_length=200)),
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("connection", _owner("integrations.connection", "+")),
                ("thread", _owner("email_sync.thread", "links")),
                ("kind", models.CharField(choices=[("linked", "Linked"), ("unlinked", "Unlinked")], max_length=10)),
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
                ("decided_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "indexes": [
                    models.Index(fields=["connection", "entity_type", "entity_id"], name="threadlink_of_entity")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("thread", "entity_type", "entity_id"), name="threadlink_one_decision"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ThreadParticipant",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "thread", "address_key", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("thread", _owner("email_sync.thread", "+")),
                ("connection", _owner("integrations.connection", "+", db_constraint=False)),
                ("address_key", models.CharField(max_length=320)),
                ("domain", models.CharField(max_length=255)),
                ("shown_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        fields=["connection", "address_key", "shown_at", "thread"], name="participant_address"
                    ),
                    models.Index(
                        fields=["connection", "domain", "shown_at", "thread"],
                        include=("address_key",),
                        name="participant_domain",
                    ),
                ]
            },
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("fingerprint__isnull", False)),
                fields=["fingerprint", "connection"],
                include=("thread",),
                name="message_fingerprint",
            ),
        ),
    ]
