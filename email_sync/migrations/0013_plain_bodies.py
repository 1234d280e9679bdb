"""Bodies are stored as they are: PostgreSQL's compression took a third of the time of storing a message, and again of
indexing it, for half the room (docs/adr/0016). What is stored already stays as it is and is read as before."""

from django.db import migrations

COLUMNS = ("text", "html", "headers")


def storage(kind: str) -> str:
    return "ALTER TABLE email_sync_messagebody " + ", ".join(f"ALTER {name} SET STORAGE {kind}" for name in COLUMNS)


class Migration(migrations.Migration):
    dependencies = [("email_sync", "0012_unindexed")]

    operations = [migrations.RunSQL(storage("EXTERNAL"), storage("EXTENDED"))]
