"""Fingerprints, participants and figures of the mail that is stored already, in chunks, each a transaction of its own.

Begun again after a kill it goes through all of it once more and changes nothing that is right.
"""

from django.db import migrations, transaction

from email_sync.fingerprints import fingerprint
from email_sync.services.participants import of_row
from entities.matching import normalise

CHUNK = 5000
COLUMNS = (
    "id", "thread_id", "connection_id", "message_id", "subject", "from_email", "recipients", "sent_at",
    "removed_at", "in_drafts", "in_trash", "in_spam",
)  # fmt: skip

FINGERPRINTS = """
    UPDATE email_sync_message AS kept SET fingerprint = fresh.fingerprint
    FROM unnest(%s::uuid[], %s::uuid[]) AS fresh (id, fingerprint)
    WHERE kept.id = fresh.id AND kept.fingerprint IS DISTINCT FROM fresh.fingerprint
"""
PEOPLE = """
    INSERT INTO email_sync_threadparticipant (thread_id, address_key, connection_id, domain)
    SELECT DISTINCT thread_id, address_key, connection_id, split_part(address_key, '@', 2)
    FROM unnest(%s::uuid[], %s::text[], %s::uuid[]) AS fresh (thread_id, address_key, connection_id)
    ORDER BY thread_id, address_key
    ON CONFLICT DO NOTHING
"""
FIGURES = """
    WITH shown AS (
        SELECT thread_id, count(*) AS messages, max(received_at) AS latest
        FROM email_sync_message
        WHERE thread_id = ANY(%(ids)s) AND removed_at IS NULL AND NOT (in_drafts OR in_trash OR in_spam)
        GROUP BY thread_id
    ), counted AS (
        UPDATE email_sync_thread AS thread SET shown_count = shown.messages, shown_at = shown.latest
        FROM shown WHERE thread.id = shown.thread_id
    )
    UPDATE email_sync_threadparticipant AS person SET shown_at = shown.latest
    FROM shown WHERE person.thread_id = shown.thread_id
"""


def _chunks(model, columns):
    last = None
    while True:
        rows = model.objects.order_by("id") if last is None else model.objects.filter(id__gt=last).order_by("id")
        chunk = list(rows.values(*columns)[:CHUNK])
        if not chunk:
            return
        yield chunk
        last = chunk[-1]["id"]


def fill(apps, schema_editor):
    accounts = apps.get_model("integrations", "Connection").objects.values_list("pk", "account_email")
    own = {pk: normalise(address) for pk, address in accounts}
    for chunk in _chunks(apps.get_model("email_sync", "Message"), COLUMNS):
        with transaction.atomic(), schema_editor.connection.cursor() as cursor:
            _messages(cursor, chunk, own)
    for chunk in _chunks(apps.get_model("email_sync", "Thread"), ("id",)):
        with transaction.atomic(), schema_editor.connection.cursor() as cursor:
            cursor.execute(FIGURES, {"ids": [row["id"] for row in chunk]})


def _messages(cursor, chunk, own):
    prints = [
        fingerprint(message_id=m["message_id"], sender=m["from_email"], sent_at=m["sent_at"], subject=m["subject"])
        for m in chunk
    ]
    cursor.execute(FINGERPRINTS, [[m["id"] for m in chunk], prints])
    people = [
        (m["thread_id"], key, m["connection_id"])
        for m in chunk
        if m["removed_at"] is None and not (m["in_drafts"] or m["in_trash"] or m["in_spam"])
        for key in of_row(m["from_email"], m["recipients"], own[m["connection_id"]])
    ]
    cursor.execute(PEOPLE, [[row[place] for row in people] for place in range(3)])


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("email_sync", "0005_entity_links"), ("integrations", "0001_initial")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
