"""One writer of a workspace's matches at a time. Called first by every transaction that makes or removes them.

Two that match one address at once would not see each other, and nobody would be asked which is right. The triggers that
keep `Match.shared` take the same lock, for whoever comes another way; taken first, it cannot end in a deadlock.
"""

from __future__ import annotations

import uuid

from django.db import connection as database


def one_writer(workspace_id: uuid.UUID) -> None:
    """Wait for the others, until the end of this transaction."""
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"matches {workspace_id}"])
