"""The address that a doorbell was made with."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("calendar_sync", "0008_timelines"),
    ]

    operations = [
        migrations.AddField(
            model_name="calendarchannel",
            name="address",
            field=models.TextField(blank=True, default=""),
        ),
    ]
