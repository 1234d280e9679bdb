"""What the console calls several deliveries."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("integrations", "0011_contact_sync"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="delivery",
            options={"ordering": ("id",), "verbose_name_plural": "deliveries"},
        ),
    ]
