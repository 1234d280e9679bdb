"""Messages of a first sync that no search finds yet (docs/adr/0016). A tsvector hardly shrinks when it is compressed."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("email_sync", "0011_push_channel"),
        ("integrations", "0005_coverage"),
    ]

    operations = [
        migrations.CreateModel(
            name="Unindexed",
            fields=[
                (
                    "message",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="email_sync.message",
                    ),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="integrations.connection",
                    ),
                ),
            ],
            options={"indexes": [models.Index(fields=["connection", "message"], name="unindexed_of_connection")]},
        ),
        migrations.RunSQL(
            "ALTER TABLE email_sync_messagesearch ALTER COLUMN document SET STORAGE EXTERNAL",
            "ALTER TABLE email_sync_messagesearch ALTER COLUMN document SET STORAGE EXTENDED",
        ),
    ]
