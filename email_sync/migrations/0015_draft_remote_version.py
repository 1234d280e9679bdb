"""A draft knows what the provider's copy said when it was last seen."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("email_sync", "0014_draft_key"),
    ]

    operations = [
        migrations.AddField(
            model_name="draft",
            name="remote_version",
            field=models.TextField(blank=True, default=""),
        ),
    ]
