"""Counters that are kept, compared with what counting says. Called by the coverage check.

Folder counters are kept by a trigger and thread figures by the writer; neither should ever be wrong. Where one is (a
bug, a restored backup), it is mended and counted, so that somebody sees it.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable

from django.db import connection as database
from django.db import transaction
from django.db.models import Count, Q

from email_sync.models import FOLDERS, FolderCounter, Message
from email_sync.services import threads
from email_sync.services.locking import one_writer
from integrations.models import Connection

logger = logging.getLogger("patchbay.sync")

RECOUNTED_TOGETHER = 1000
_WRONG_THREADS = """
    SELECT thread.id FROM email_sync_thread AS thread
    LEFT JOIN (
        SELECT thread_id, count(*) AS messages, count(*) FILTER (WHERE NOT is_read) AS unread,
               max(received_at) AS latest
        FROM email_sync_message WHERE connection_id = %(connection)s AND removed_at IS NULL GROUP BY thread_id
    ) AS figures ON figures.thread_id = thread.id
    WHERE thread.connection_id = %(connection)s AND (
        thread.message_count <> coalesce(figures.messages, 0)
        OR thread.unread_count <> coalesce(figures.unread, 0)
        OR thread.last_message_at IS DISTINCT FROM coalesce(figures.latest, thread.last_message_at)
    )
"""


def mend(connection: Connection, *, hold: Callable[[], None]) -> int:
    """Compare all counters of a mailbox and set right what is wrong; how many were. `hold` proves the fence."""
    wrong = _mend_folders(connection, hold) + _mend_threads(connection, hold)
    if wrong:
        logger.error("%d counters of connection %s were wrong and are mended", wrong, connection.pk)
    return wrong


def _mend_folders(connection: Connection, hold: Callable[[], None]) -> int:
    """First without a lock: counting a large mailbox takes a while, and nothing is wrong as a rule."""
    if not _wrong_folders(connection):
        return 0
    with transaction.atomic():
        hold()
        one_writer(connection.pk)
        wrong = _wrong_folders(connection)
        FolderCounter.objects.bulk_create(
            [FolderCounter(connection=connection, role=r, total=t, unread=u) for r, (t, u) in wrong.items()],
            update_conflicts=True,
            unique_fields=["connection", "role"],
            update_fields=["total", "unread"],
        )
    return len(wrong)


def _wrong_folders(connection: Connection) -> dict[str, tuple[int, int]]:
    """What the wrong ones should say: total and unread, by role. Certain only under the mailbox's lock."""
    counts = {role: Count("pk", filter=condition) for role, condition in FOLDERS.items()}
    unread = {f"{role}_unread": Count("pk", filter=condition & Q(is_read=False)) for role, condition in FOLDERS.items()}
    found = Message.objects.filter(connection=connection).aggregate(**counts, **unread)
    rows = FolderCounter.objects.filter(connection=connection).values_list("role", "total", "unread")
    kept = {role: (total, unread) for role, total, unread in rows}
    counted = {role: (found[role], found[f"{role}_unread"]) for role in FOLDERS}
    return {role: figures for role, figures in counted.items() if kept.get(role, (0, 0)) != figures}


def _mend_threads(connection: Connection, hold: Callable[[], None]) -> int:
    wrong = _wrong_threads(connection)
    for start in range(0, len(wrong), RECOUNTED_TOGETHER):
        with transaction.atomic():
            hold()
            one_writer(connection.pk)
            threads.recount(wrong[start : start + RECOUNTED_TOGETHER])
    return len(wrong)


def _wrong_threads(connection: Connection) -> list[uuid.UUID]:
    with database.cursor() as cursor:
        cursor.execute(_WRONG_THREADS, {"connection": connection.pk})
        return [row[0] for row in cursor.fetchall()]
