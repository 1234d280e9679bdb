"""What an event means for writing to its recipients again."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("email_logs", "0003_day_counts"),
    ]

    operations = [
        migrations.AddField(
            model_name="deliveryevent",
            name="unwanted",
            field=models.CharField(blank=True, default="", max_length=20),
        ),
    ]
