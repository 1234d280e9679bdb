"""An entity's events in their order, page by page; series whose stretch begins late, and tombstones, found by an index."""

from django.db import migrations, models

FILL = """
    UPDATE calendar_sync_attendee AS person SET starts_at = event.starts_at
    FROM calendar_sync_calendarevent AS event WHERE event.id = person.event_id
"""


class Migration(migrations.Migration):
    dependencies = [("calendar_sync", "0007_calendar_channels"), ("integrations", "0011_contact_sync")]

    operations = [
        migrations.AddField(model_name="attendee", name="starts_at", field=models.DateTimeField(null=True)),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.AlterField(model_name="attendee", name="starts_at", field=models.DateTimeField()),
        migrations.RemoveIndex(model_name="attendee", name="attendee_address"),
        migrations.RemoveIndex(model_name="attendee", name="attendee_domain"),
        migrations.AddIndex(
            model_name="attendee",
            index=models.Index(
                condition=models.Q(("address_key", ""), _negated=True),
                fields=["connection", "address_key", "starts_at", "event"],
                name="attendee_address_timeline",
            ),
        ),
        migrations.AddIndex(
            model_name="attendee",
            index=models.Index(
                condition=models.Q(("domain", ""), _negated=True),
                fields=["connection", "domain", "starts_at", "event"],
                name="attendee_domain_timeline",
            ),
        ),
        migrations.AddIndex(
            model_name="calendarevent",
            index=models.Index(
                condition=models.Q(("cut", ""), ("recurrence__isnull", False), ("removed_at__isnull", True)),
                fields=["calendar", "expanded_from"],
                name="event_expanded_from",
            ),
        ),
        migrations.AddIndex(
            model_name="calendarevent",
            index=models.Index(
                condition=models.Q(("removed_at__isnull", False)), fields=["removed_at"], name="event_removed"
            ),
        ),
    ]
