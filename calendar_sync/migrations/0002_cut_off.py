"""Series that are cut off are found without looking at all."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("calendar_sync", "0001_initial"),
        ("integrations", "0011_contact_sync"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="calendarevent",
            index=models.Index(
                condition=models.Q(("cut", ""), _negated=True), fields=["calendar"], name="event_cut_off"
            ),
        ),
    ]
