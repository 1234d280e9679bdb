"""The index is over the words without their places; the vector with them goes."""

import django.contrib.postgres.indexes
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("email_sync", "0023_fill_search_text")]

    operations = [
        migrations.RemoveField("messagesearch", "document"),
        migrations.AddIndex(
            "messagesearch",
            django.contrib.postgres.indexes.GinIndex(fields=["periods", "words"], name="messagesearch_periods"),
        ),
    ]
