"""The address that a doorbell was made with."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("email_sync", "0018_connection_by_thread"),
    ]

    operations = [
        migrations.AddField(
            model_name="pushchannel",
            name="address",
            field=models.TextField(blank=True, default=""),
        ),
    ]
