"""Uploads in parts: the store's name for one, with its document and with the removal that ends it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("documents", "0002_origin_and_copies")]

    operations = [
        migrations.AddField(model_name="document", name="upload_id", field=models.TextField(blank=True, default="")),
        migrations.AddField(
            model_name="document", name="part_size", field=models.BigIntegerField(blank=True, null=True)
        ),
        migrations.AddField(model_name="removal", name="upload_id", field=models.TextField(blank=True, default="")),
        migrations.AddConstraint(
            model_name="document",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("part_size__isnull", True), ("upload_id", "")),
                    models.Q(models.Q(("upload_id", ""), _negated=True), ("part_size__gt", 0), ("size__gt", 0)),
                    _connector="OR",
                ),
                name="document_in_parts_has_sizes",
            ),
        ),
    ]
