"""What the console calls several matches."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("entities", "0002_match_source"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="addressmatch",
            options={"verbose_name_plural": "address matches"},
        ),
        migrations.AlterModelOptions(
            name="domainmatch",
            options={"verbose_name_plural": "domain matches"},
        ),
    ]
