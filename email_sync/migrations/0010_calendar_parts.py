"""What invitations say at a glance, beside the attachment they are."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("email_sync", "0009_mail_transfers"),
    ]

    operations = [
        migrations.AddField(
            model_name="attachment",
            name="calendar",
            field=models.JSONField(null=True),
        ),
    ]
