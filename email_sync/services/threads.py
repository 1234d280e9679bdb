"""Which thread a message belongs to, and the figures threads carry.

A provider's own thread id wins; where there is none, the header graph decides (References, In-Reply-To), within one
mailbox and never by subject. A parent that arrives late joins the threads of its children: the oldest thread keeps its
id, the others point to it. Called by the writer inside its transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence

from django.db import connection as database
from django.db.models import QuerySet

from core.ids import uuid7
from email_sync import threading
from email_sync.models import Message, Submission, Thread, ThreadKey
from email_sync.records import ParsedMessage, SentMail
from email_sync.services import bulk
from integrations.models import Connection

THREAD_COLUMNS = ("id", "connection", "remote_id", "subject", "message_count", "unread_count")


def assign(*, connection: Connection, messages: Sequence[tuple[str, ParsedMessage]]) -> list[uuid.UUID]:
    """The thread of each message, given as (provider's thread id or "", parsed message), in order."""
    by_remote = _remote_threads(connection, messages)
    graph = [(index, parsed) for index, (remote_id, parsed) in enumerate(messages) if not remote_id]
    by_graph = dict(zip([index for index, _ in graph], _graph_threads(connection, [p for _, p in graph]), strict=True))
    return [by_remote[remote_id] if remote_id else by_graph[index] for index, (remote_id, _) in enumerate(messages)]


def _remote_threads(connection: Connection, messages: Sequence[tuple[str, ParsedMessage]]) -> dict[str, uuid.UUID]:
    wanted = {remote_id: parsed.subject for remote_id, parsed in reversed(messages) if remote_id}
    found = _by_remote_id(connection, wanted)
    new = [
        Thread(id=uuid7(), connection=connection, remote_id=remote_id, subject=subject)
        for remote_id, subject in wanted.items()
        if remote_id not in found
    ]
    Thread.objects.bulk_create(new)
    return found | {thread.remote_id: thread.pk for thread in new}


def _by_remote_id(connection: Connection, remote_ids: Collection[str]) -> dict[str, uuid.UUID]:
    rows = Thread.objects.filter(connection=connection, remote_id__in=list(remote_ids))
    return dict(rows.values_list("remote_id", "pk"))


# --- the header graph ---------------------------------------------------------------------------------------------


def _graph_threads(connection: Connection, messages: Sequence[ParsedMessage]) -> list[uuid.UUID]:
    if not messages:
        return []
    links = [threading.links(message) for message in messages]
    keys = {key for link in links for key in link.keys}
    known = dict(ThreadKey.objects.filter(connection=connection, key__in=keys).values_list("key", "thread_id"))
    groups = threading.group(links, known)
    threads = [_known_thread(group) or uuid7() for group in groups]
    subjects = [messages[group.members[0]].subject for group in groups]
    new = [(t, s) for group, t, s in zip(groups, threads, subjects, strict=True) if not group.threads]
    bulk.copy(Thread, THREAD_COLUMNS, [(thread, connection.pk, "", subject, 0, 0) for thread, subject in new])
    owners = {key: thread for group, thread in zip(groups, threads, strict=True) for key in group.keys}
    _remember(connection, {key: thread for key, thread in owners.items() if key not in known})
    placed = {index: thread for group, thread in zip(groups, threads, strict=True) for index in group.members}
    return [placed[index] for index in range(len(messages))]


def _known_thread(group: threading.Group[uuid.UUID]) -> uuid.UUID | None:
    """The oldest thread of the group, others merged into it; None where there is none yet."""
    if not group.threads:
        return None
    oldest, *others = sorted(group.threads)  # ids are ordered by time
    if others:
        merge(oldest, others)
    return oldest


_REMEMBER = """
    INSERT INTO email_sync_threadkey (connection_id, key, thread_id)
    SELECT %s, fresh.key, fresh.thread_id FROM unnest(%s::uuid[], %s::uuid[]) AS fresh (key, thread_id)
    ON CONFLICT DO NOTHING
"""


def _remember(connection: Connection, owners: Mapping[uuid.UUID, uuid.UUID]) -> None:
    """Which thread each key belongs to. A send may have noted its own key meanwhile."""
    with database.cursor() as cursor:
        cursor.execute(_REMEMBER, [connection.pk, list(owners.keys()), list(owners.values())])


def merge(oldest: uuid.UUID, others: Sequence[uuid.UUID]) -> None:
    """Everything of the others moves to the oldest; they stay as pointers, so ids given out earlier still answer."""
    Message.objects.filter(thread__in=others).update(thread=oldest)
    ThreadKey.objects.filter(thread__in=others).update(thread=oldest)
    Submission.objects.filter(thread__in=others).update(thread=oldest)
    Thread.objects.filter(merged_into__in=others).update(merged_into=oldest)
    Thread.objects.filter(pk__in=others).update(
        merged_into=oldest, message_count=0, unread_count=0, last_message_at=None
    )


# --- figures ------------------------------------------------------------------------------------------------------

_RECOUNT = """
    UPDATE email_sync_thread AS thread
    SET message_count = coalesce(figures.messages, 0),
        unread_count = coalesce(figures.unread, 0),
        last_message_at = coalesce(figures.latest, thread.last_message_at)
    FROM unnest(%s::uuid[]) AS wanted(id)
    LEFT JOIN (
        SELECT thread_id, count(*) AS messages, count(*) FILTER (WHERE NOT is_read) AS unread,
               max(received_at) AS latest
        FROM email_sync_message
        WHERE thread_id = ANY(%s::uuid[]) AND removed_at IS NULL
        GROUP BY thread_id
    ) AS figures ON figures.thread_id = wanted.id
    WHERE thread.id = wanted.id
"""


def recount(thread_ids: Collection[uuid.UUID]) -> None:
    """Set the figures of these threads from their messages: one statement, cost by the threads touched."""
    if not thread_ids:
        return
    ids = sorted(thread_ids)
    with database.cursor() as cursor:
        cursor.execute(_RECOUNT, [ids, ids])


# --- sent mail ----------------------------------------------------------------------------------------------------


def of_sent(submission: Submission, sent: SentMail) -> Thread | None:
    """The thread a sent mail will be found in once its copy is synced, so that the answer to a send can name it."""
    if submission.thread_id is not None:
        return submission.thread
    connection = submission.connection
    if sent.thread_remote_id:
        thread, _ = Thread.objects.get_or_create(
            connection=connection, remote_id=sent.thread_remote_id, defaults={"subject": submission.subject}
        )
        return thread
    return _of_message_id(connection, submission)


def _of_message_id(connection: Connection, submission: Submission) -> Thread:
    key = threading.message_id_key(submission.message_id)
    found: QuerySet[ThreadKey] = ThreadKey.objects.filter(connection=connection, key=key).select_related("thread")
    if (known := found.first()) is not None:
        return known.thread
    thread = Thread.objects.create(connection=connection, subject=submission.subject)
    ThreadKey.objects.create(connection=connection, key=key, thread=thread)
    return thread
