"""When its user last wrote an event from here, which a sync that had asked before must not write over."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("calendar_sync", "0005_unreadable_index")]

    operations = [
        migrations.AddField(
            model_name="calendarevent", name="written_at", field=models.DateTimeField(blank=True, null=True)
        ),
    ]
