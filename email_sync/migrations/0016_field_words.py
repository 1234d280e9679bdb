"""What is outside the bodies of stored mail is searched by words of its own (`search.marked`), as new mail's is."""

from __future__ import annotations

from typing import Any

from django.db import migrations

TOGETHER = 5_000
NOBODY = "00000000-0000-0000-0000-000000000000"
_MARK = """
    WITH part AS MATERIALIZED (
        SELECT message_id FROM email_sync_messagesearch WHERE message_id > %s ORDER BY message_id LIMIT %s
    ), marked AS (
        UPDATE email_sync_messagesearch AS kept
        SET document = concat_ws(' ', document::text, (
            SELECT string_agg(format('%%s%%s:1%%s', weight, lexeme, weight), ' ')
            FROM unnest(document) AS word (lexeme, places, weights)
            CROSS JOIN LATERAL unnest(ARRAY['A', 'B', 'C']) AS weight
            WHERE weight = ANY (word.weights) AND lexeme !~ '^[A-C]'
        ))::tsvector
        FROM part WHERE kept.message_id = part.message_id
    )
    SELECT max(message_id::text) FROM part
"""


def mark(apps: Any, schema_editor: Any) -> None:
    """In the order of ids, part by part: each its own transaction, and repeatable."""
    after: str | None = NOBODY
    with schema_editor.connection.cursor() as cursor:
        while after is not None:
            cursor.execute(_MARK, [after, TOGETHER])
            [after] = cursor.fetchone()


class Migration(migrations.Migration):
    atomic = False
    dependencies = (("email_sync", "0015_draft_remote_version"),)
    operations = (migrations.RunPython(mark, migrations.RunPython.noop, elidable=True),)
