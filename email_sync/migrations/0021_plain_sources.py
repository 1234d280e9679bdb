"""Imported mail is stored as it is: of a compressed value PostgreSQL unpacks all before a range (its manual, 65.2), so
reading a large one range by range (`services.imported`) would take the square of its size. What is stored already
stays as it is and is read as before."""

from django.db import migrations


def storage(kind: str) -> str:
    return f"ALTER TABLE email_sync_importedsource ALTER raw SET STORAGE {kind}"


class Migration(migrations.Migration):
    dependencies = [("email_sync", "0020_push_fence")]

    operations = [migrations.RunSQL(storage("EXTERNAL"), storage("EXTENDED"))]
