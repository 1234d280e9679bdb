"""The tables of calendars."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("integrations", "0011_contact_sync"),
    ]

    operations = [
        migrations.CreateModel(
            name="Calendar",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("remote_id", models.CharField(max_length=1000)),
                ("name", models.CharField(blank=True, default="", max_length=500)),
                ("color", models.CharField(blank=True, default="", max_length=9)),
                ("time_zone", models.CharField(blank=True, default="", max_length=200)),
                ("read_only", models.BooleanField(default=False)),
                ("is_primary", models.BooleanField(default=False)),
                ("selected", models.BooleanField(default=True)),
                ("removed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="calendars",
                        to="integrations.connection",
                    ),
                ),
            ],
            options={
                "ordering": ("-is_primary", "name", "id"),
            },
        ),
        migrations.CreateModel(
            name="CalendarEvent",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("remote_id", models.CharField(max_length=1000)),
                ("recurrence_key", models.CharField(blank=True, default="", max_length=16)),
                ("series_remote_id", models.CharField(blank=True, default="", max_length=1000)),
                ("etag", models.CharField(blank=True, default="", max_length=500)),
                ("raw", models.TextField(blank=True, default="")),
                ("uid", models.TextField(blank=True, default="")),
                ("meeting", models.UUIDField()),
                ("title", models.TextField(blank=True, default="")),
                ("description", models.TextField(blank=True, default="")),
                ("location", models.TextField(blank=True, default="")),
                ("conference_url", models.TextField(blank=True, default="")),
                ("status", models.CharField(default="confirmed", max_length=10)),
                ("visibility", models.CharField(default="public", max_length=12)),
                ("busy", models.BooleanField(default=True)),
                ("organizer_email", models.CharField(blank=True, default="", max_length=320)),
                ("organizer_name", models.CharField(blank=True, default="", max_length=255)),
                ("sequence", models.PositiveIntegerField(default=0)),
                ("wall_start", models.DateTimeField()),
                ("duration", models.DurationField()),
                ("zone", models.CharField(blank=True, default="", max_length=200)),
                ("zone_rules", models.JSONField(blank=True, null=True)),
                ("all_day", models.BooleanField(default=False)),
                ("nominal", models.BooleanField(default=False)),
                ("recurrence", models.JSONField(blank=True, null=True)),
                ("following", models.BooleanField(default=False)),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("series_ends_at", models.DateTimeField(blank=True, null=True)),
                ("expanded_from", models.DateTimeField(blank=True, null=True)),
                ("expanded_until", models.DateTimeField(blank=True, null=True)),
                ("cut", models.TextField(blank=True, default="")),
                ("problem", models.TextField(blank=True, default="")),
                ("removed_at", models.DateTimeField(blank=True, null=True)),
                ("removed_cause", models.CharField(blank=True, default="", max_length=20)),
                ("leaving_at", models.DateTimeField(blank=True, null=True)),
                ("seen_in", models.UUIDField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "calendar",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
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
                (
                    "series",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="changes",
                        to="calendar_sync.calendarevent",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Attendee",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("email", models.CharField(blank=True, default="", max_length=320)),
                ("name", models.CharField(blank=True, default="", max_length=255)),
                ("address_key", models.CharField(blank=True, default="", max_length=320)),
                ("domain", models.CharField(blank=True, default="", max_length=255)),
                ("response", models.CharField(default="needsAction", max_length=12)),
                ("optional", models.BooleanField(default=False)),
                ("is_resource", models.BooleanField(default=False)),
                ("is_invited", models.BooleanField(default=True)),
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
                    "event",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="attendees",
                        to="calendar_sync.calendarevent",
                    ),
                ),
            ],
            options={
                "ordering": ("id",),
            },
        ),
        migrations.CreateModel(
            name="Occurrence",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("key", models.CharField(blank=True, default="", max_length=16)),
                ("meeting", models.UUIDField()),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("all_day", models.BooleanField(default=False)),
                ("is_long", models.BooleanField(default=False)),
                (
                    "calendar",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="calendar_sync.calendar",
                    ),
                ),
                (
                    "event",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="occurrences",
                        to="calendar_sync.calendarevent",
                    ),
                ),
                (
                    "source",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="calendar_sync.calendarevent",
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="calendar",
            constraint=models.UniqueConstraint(fields=("connection", "remote_id"), name="calendar_one_per_remote_id"),
        ),
        migrations.AddIndex(
            model_name="calendarevent",
            index=models.Index(fields=["connection", "meeting"], name="event_of_meeting"),
        ),
        migrations.AddIndex(
            model_name="calendarevent",
            index=models.Index(fields=["series"], name="event_of_series"),
        ),
        migrations.AddIndex(
            model_name="calendarevent",
            index=models.Index(
                condition=models.Q(("series__isnull", True), models.Q(("series_remote_id", ""), _negated=True)),
                fields=["calendar", "series_remote_id"],
                name="event_without_series",
            ),
        ),
        migrations.AddIndex(
            model_name="calendarevent",
            index=models.Index(
                condition=models.Q(("cut", ""), ("recurrence__isnull", False), ("removed_at__isnull", True)),
                fields=["calendar", "expanded_until"],
                name="event_to_expand",
            ),
        ),
        migrations.AddIndex(
            model_name="calendarevent",
            index=models.Index(
                condition=models.Q(("leaving_at__isnull", False)), fields=["connection"], name="event_leaving"
            ),
        ),
        migrations.AddConstraint(
            model_name="calendarevent",
            constraint=models.UniqueConstraint(
                fields=("calendar", "remote_id", "recurrence_key"), name="event_one_per_remote_id"
            ),
        ),
        migrations.AddIndex(
            model_name="attendee",
            index=models.Index(
                condition=models.Q(("address_key", ""), _negated=True),
                fields=["connection", "address_key"],
                name="attendee_address",
            ),
        ),
        migrations.AddIndex(
            model_name="attendee",
            index=models.Index(
                condition=models.Q(("domain", ""), _negated=True),
                fields=["connection", "domain"],
                name="attendee_domain",
            ),
        ),
        migrations.AddIndex(
            model_name="occurrence",
            index=models.Index(
                condition=models.Q(("is_long", False)), fields=["calendar", "starts_at"], name="occurrence_range"
            ),
        ),
        migrations.AddIndex(
            model_name="occurrence",
            index=models.Index(
                condition=models.Q(("is_long", True)), fields=["calendar", "ends_at"], name="occurrence_long"
            ),
        ),
        migrations.AddIndex(
            model_name="occurrence",
            index=models.Index(fields=["source", "starts_at"], name="occurrence_source"),
        ),
        migrations.AddConstraint(
            model_name="occurrence",
            constraint=models.UniqueConstraint(fields=("event", "key"), name="occurrence_one_per_key"),
        ),
    ]
