"""How often a doorbell was taken on, so that a worker whose turn ran out stores nothing."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("email_sync", "0019_push_address"),
    ]

    operations = [
        migrations.AddField(
            model_name="pushchannel",
            name="fence",
            field=models.PositiveBigIntegerField(db_default=0),
        ),
    ]
