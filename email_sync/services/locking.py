"""One writer of a mailbox's rows at a time. Called first by every transaction that writes messages or their threads.

A page locks messages, the folder counters and threads in an order that depends on what it brings, so no fixed order
keeps it and a click, or a send whose copy arrives, from waiting for each other. Each is short, and the counters made
most of them wait anyway.
"""

from __future__ import annotations

import uuid

from django.db import connection as database


def one_writer(connection_id: uuid.UUID) -> None:
    """Wait for the others, until the end of this transaction."""
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"mail {connection_id}"])
