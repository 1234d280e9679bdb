"""Room for a search row's words without their places, and for its text (docs/adr/0046). Neither is compressed, which
would cost more than it saves."""

import django.contrib.postgres.search
from django.db import migrations, models

EXTERNAL = "ALTER TABLE email_sync_messagesearch ALTER words SET STORAGE EXTERNAL, ALTER text SET STORAGE EXTERNAL"


class Migration(migrations.Migration):
    dependencies = [("email_sync", "0021_plain_sources")]

    operations = [
        migrations.RemoveIndex("messagesearch", "messagesearch_periods"),
        migrations.AddField(
            "messagesearch",
            "words",
            django.contrib.postgres.search.SearchVectorField(default=""),
            preserve_default=False,
        ),
        migrations.AddField("messagesearch", "text", models.TextField(default=""), preserve_default=False),
        migrations.RunSQL(EXTERNAL, migrations.RunSQL.noop),
    ]
