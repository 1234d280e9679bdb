"""A message and a key of a thread belong to their thread's connection: the thread's foreign key holds it for all of them,
so a first sync has nothing checked twice."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("email_sync", "0017_submission_headers")]

    operations = [
        migrations.AlterField(
            model_name="message",
            name="connection",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="messages",
                to="integrations.connection",
            ),
        ),
        migrations.AlterField(
            model_name="threadkey",
            name="connection",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="integrations.connection",
            ),
        ),
    ]
