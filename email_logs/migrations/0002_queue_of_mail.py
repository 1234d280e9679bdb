"""Who sends a mail and under what request; since when a provider takes nothing."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("email_logs", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="emaillogtable",
            name="failing_since",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="outgoingemail",
            name="fingerprint",
            field=models.CharField(blank=True, default="", max_length=64),
        ),
        migrations.AddField(
            model_name="outgoingemail",
            name="holder",
            field=models.CharField(blank=True, default="", max_length=120),
        ),
    ]
