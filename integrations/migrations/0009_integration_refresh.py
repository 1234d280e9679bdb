"""The lease under which the access token of an integration is refreshed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("integrations", "0008_integration"),
    ]

    operations = [
        migrations.AddField(
            model_name="integration",
            name="refresh_fence",
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="integration",
            name="refresh_lease_until",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
