"""A draft knows the key of the request that made it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("email_sync", "0013_plain_bodies"),
    ]

    operations = [
        migrations.AddField(
            model_name="draft",
            name="idempotency_key",
            field=models.CharField(blank=True, default="", max_length=255),
        ),
        migrations.AddIndex(
            model_name="draft",
            index=models.Index(
                condition=models.Q(("idempotency_key", ""), _negated=True), fields=["idempotency_key"], name="draft_key"
            ),
        ),
    ]
