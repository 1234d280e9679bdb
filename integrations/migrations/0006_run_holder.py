"""Which process works on a run: one that is gone holds nothing."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("integrations", "0005_coverage"),
    ]

    operations = [
        migrations.AddField(
            model_name="syncrun",
            name="holder",
            field=models.CharField(blank=True, default="", max_length=120),
        ),
    ]
