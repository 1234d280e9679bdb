"""Words and text of the mail that can be searched already, from its words with their places. Of one word 256 had a place
and none beyond 16,383 (PostgreSQL's manual, 12.11): what is further is in the words, and in the text only as far as
phrases could find it before.
"""

from __future__ import annotations

from typing import Any

from django.db import migrations

TOGETHER = 2_000
NOBODY = "00000000-0000-0000-0000-000000000000"
_LINES = ", ".join(f"coalesce(string_agg(lexeme, ' ') FILTER (WHERE weight = '{weight}'), '')" for weight in "ABCD")
_FILL = f"""
    WITH part AS MATERIALIZED (
        SELECT message_id FROM email_sync_messagesearch WHERE message_id > %s ORDER BY message_id LIMIT %s
    ), filled AS (
        UPDATE email_sync_messagesearch AS kept
        SET words = strip(document), text = (
            SELECT concat(' ', concat_ws(E' \\n ', {_LINES}), ' ')
            FROM (
                SELECT lexeme, weight
                FROM unnest(document) AS word (lexeme, places, weights)
                CROSS JOIN LATERAL unnest(places, weights) AS spot (place, weight)
                WHERE lexeme COLLATE "C" < 'A' OR lexeme COLLATE "C" >= 'D'
                ORDER BY place
            ) AS said
        )
        FROM part WHERE kept.message_id = part.message_id
    )
    SELECT max(message_id::text) FROM part
"""


def fill(apps: Any, schema_editor: Any) -> None:
    """In the order of ids, part by part: each its own transaction, and repeatable."""
    after: str | None = NOBODY
    with schema_editor.connection.cursor() as cursor:
        while after is not None:
            cursor.execute(_FILL, [after, TOGETHER])
            [after] = cursor.fetchone()


class Migration(migrations.Migration):
    atomic = False
    dependencies = (("email_sync", "0022_search_text"),)
    operations = (migrations.RunPython(fill, migrations.RunPython.noop, elidable=True),)
