"""How often a doorbell was taken on, so that a worker whose turn ran out stores nothing."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("calendar_sync", "0009_push_address"),
    ]

    operations = [
        migrations.AddField(
            model_name="calendarchannel",
            name="fence",
            field=models.PositiveBigIntegerField(db_default=0),
        ),
    ]
