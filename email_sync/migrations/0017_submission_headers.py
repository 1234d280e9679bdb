"""Whom the headers of an outgoing mail name and how many files it has, for the log of outbound mail."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("email_sync", "0016_field_words"),
    ]

    operations = [
        migrations.AddField(
            model_name="submission",
            name="to",
            field=django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
        ),
        migrations.AddField(
            model_name="submission",
            name="cc",
            field=django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
        ),
        migrations.AddField(
            model_name="submission",
            name="attachment_count",
            field=models.PositiveSmallIntegerField(default=0),
        ),
    ]
