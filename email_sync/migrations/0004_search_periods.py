"""The search index begins with a mailbox's months and years as keys of their own (docs/adr/0011).

What is stored stays: the new columns are worked out from the messages, as `email_sync.periods` does.
"""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
from django.db import migrations, models

FILL = """
    UPDATE email_sync_messagesearch AS search
    SET received_at = message.received_at, periods = ARRAY[mailbox.bits + month.number, mailbox.bits + month.year]
    FROM email_sync_message AS message,
        LATERAL (
            SELECT (('x' || right(replace(message.connection_id::text, '-', ''), 12))::bit(48)::bigint
                    & (1::bigint << 46) - 1) << 17 AS bits
        ) AS mailbox,
        LATERAL (
            SELECT extract(year FROM message.received_at AT TIME ZONE 'UTC')::bigint * 13 AS year,
                   extract(year FROM message.received_at AT TIME ZONE 'UTC')::bigint * 13
                   + extract(month FROM message.received_at AT TIME ZONE 'UTC')::bigint AS number
        ) AS month
    WHERE message.id = search.message_id
"""


class Migration(migrations.Migration):
    dependencies = [("email_sync", "0003_mail_scope")]

    operations = [
        migrations.RemoveIndex("messagesearch", "messagesearch_document"),
        migrations.AddField("messagesearch", "received_at", models.DateTimeField(null=True)),
        migrations.AddField(
            "messagesearch",
            "periods",
            django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), null=True),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", migrations.RunSQL.noop),
        migrations.AlterField("messagesearch", "received_at", models.DateTimeField()),
        migrations.AlterField(
            "messagesearch",
            "periods",
            django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField()),
        ),
        migrations.RemoveField("messagesearch", "connection"),
        migrations.RemoveField("messagesearch", "month"),
        migrations.AddIndex(
            "messagesearch",
            django.contrib.postgres.indexes.GinIndex(fields=["periods", "document"], name="messagesearch_periods"),
        ),
    ]
