"""Which thread a message belongs to, and the figures threads carry.

A provider's own thread id wins; where there is none, the header graph decides (References, In-Reply-To), within one
mailbox and never by subject. A parent that arrives late joins the threads of its children: the oldest thread keeps its
id, the others point to it. Called by the writer inside its transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from django.db import connection as database
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Coalesce

from core.ids import uuid7
from email_sync import arrays, threading
from email_sync.models import Message, Submission, Thread, ThreadKey, ThreadLink, ThreadParticipant
from email_sync.records import ParsedMessage, RemoteMessage, SentMail
from email_sync.services import bulk, linking, participants, telling
from integrations.models import Connection

THREAD_COLUMNS = (
    "id", "connection", "remote_id", "subject", "message_count", "unread_count", "last_message_at", "shown_count",
    "shown_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arrival:
    """A new message as threads see it."""

    remote_thread: str
    """The provider's id of its thread, "" where there is none."""
    parsed: ParsedMessage
    received_at: datetime
    is_read: bool
    is_shown: bool
    """On timelines of entities (`participants.NOT_SHOWN`)."""

    @classmethod
    def of(cls, remote: RemoteMessage, parsed: ParsedMessage) -> Arrival:
        is_shown = not remote.state.roles & participants.NOT_SHOWN
        return cls(remote.thread_remote_id, parsed, remote.received_at, remote.state.is_read, is_shown)


@dataclass(frozen=True, slots=True)
class Assigned:
    """The thread of each message, in order, and which of them are new: those have their figures already."""

    threads: list[uuid.UUID]
    opened: frozenset[uuid.UUID]


def assign(*, connection: Connection, messages: Sequence[Arrival]) -> Assigned:
    """The threads of new messages, which the caller writes."""
    by_remote = [message for message in messages if message.remote_thread]
    by_graph = [message for message in messages if not message.remote_thread]
    remote, new_remote = _remote_threads(connection, by_remote)
    graph, new_graph = _graph_threads(connection, by_graph)
    placed = iter(graph)
    threads = [remote[m.remote_thread] if m.remote_thread else next(placed) for m in messages]
    return Assigned(threads, frozenset({*new_remote, *new_graph}))


def _open(connection: Connection, threads: Iterable[tuple[uuid.UUID, str, Sequence[Arrival]]]) -> None:
    """New threads, given as (id, the provider's, their messages), written once with the figures `recount` would find:
    most threads of a first sync are never touched again."""
    rows = []
    for thread, remote_id, messages in threads:
        shown = [message.received_at for message in messages if message.is_shown]
        unread = sum(not message.is_read for message in messages)
        latest = max(message.received_at for message in messages)
        subject = messages[0].parsed.subject
        figures = (len(messages), unread, latest, len(shown), max(shown, default=None))
        rows.append((thread, connection.pk, remote_id, subject, *figures))
    bulk.copy(Thread, THREAD_COLUMNS, rows)


def _remote_threads(
    connection: Connection, messages: Sequence[Arrival]
) -> tuple[dict[str, uuid.UUID], Collection[uuid.UUID]]:
    """By the provider's id; and which are new."""
    members: dict[str, list[Arrival]] = {}
    for message in messages:
        members.setdefault(message.remote_thread, []).append(message)
    found = _by_remote_id(connection, members)
    new = {remote_id: uuid7() for remote_id in members if remote_id not in found}
    _open(connection, ((thread, remote_id, members[remote_id]) for remote_id, thread in new.items()))
    return found | new, new.values()


def _by_remote_id(connection: Connection, remote_ids: Collection[str]) -> dict[str, uuid.UUID]:
    """The thread that stands where the provider's was joined to another (`_joined`)."""
    rows = Thread.objects.filter(connection=connection, remote_id__any_of=set(remote_ids))
    return dict(rows.values_list("remote_id", Coalesce("merged_into_id", "pk")))


# --- the header graph ---------------------------------------------------------------------------------------------


def _graph_threads(
    connection: Connection, messages: Sequence[Arrival]
) -> tuple[list[uuid.UUID], Collection[uuid.UUID]]:
    """In order; and which are new."""
    if not messages:
        return [], ()
    links = [threading.links(message.parsed) for message in messages]
    keys = {key for link in links for key in link.keys}
    known = dict(ThreadKey.objects.filter(connection=connection, key__any_of=keys).values_list("key", "thread_id"))
    groups = threading.group(links, known)
    threads = [_known_thread(group) or uuid7() for group in groups]
    new = {thread: group.members for group, thread in zip(groups, threads, strict=True) if not group.threads}
    _open(connection, ((thread, "", [messages[index] for index in members]) for thread, members in new.items()))
    owners = {key: thread for group, thread in zip(groups, threads, strict=True) for key in group.keys}
    _remember(connection, {key: thread for key, thread in owners.items() if key not in known})
    placed = {index: thread for group, thread in zip(groups, threads, strict=True) for index in group.members}
    return [placed[index] for index in range(len(messages))], new


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
        cursor.execute(_REMEMBER, [connection.pk, arrays.of_ids(owners.keys()), arrays.of_ids(owners.values())])


def merge(oldest: uuid.UUID, others: Sequence[uuid.UUID]) -> None:
    """Everything of the others moves to the oldest; they stay as pointers, so ids given out earlier still answer."""
    Message.objects.filter(thread__in=others).update(thread=oldest)
    ThreadKey.objects.filter(thread__in=others).update(thread=oldest)
    Submission.objects.filter(thread__in=others).update(thread=oldest)
    ThreadParticipant.objects.filter(thread__in=others).delete()  # the recount of the oldest finds them
    linking.follow_merge(oldest, others)
    Thread.objects.filter(merged_into__in=others).update(merged_into=oldest)
    Thread.objects.filter(pk__in=others).update(
        merged_into=oldest, message_count=0, unread_count=0, last_message_at=None, shown_count=0, shown_at=None
    )


# --- figures ------------------------------------------------------------------------------------------------------

_RECOUNT = """
    WITH counted AS (
        SELECT thread_id, count(*) AS messages, count(*) FILTER (WHERE NOT is_read) AS unread,
               max(received_at) AS latest,
               count(*) FILTER (WHERE NOT (in_drafts OR in_trash OR in_spam)) AS shown,
               max(received_at) FILTER (WHERE NOT (in_drafts OR in_trash OR in_spam)) AS shown_at
        FROM email_sync_message
        WHERE thread_id = ANY(%(ids)s::uuid[]) AND removed_at IS NULL
        GROUP BY thread_id
    ), kept AS (
        UPDATE email_sync_thread AS thread
        SET message_count = coalesce(counted.messages, 0),
            unread_count = coalesce(counted.unread, 0),
            last_message_at = coalesce(counted.latest, thread.last_message_at),
            shown_count = coalesce(counted.shown, 0),
            shown_at = counted.shown_at,
            subject = CASE
                WHEN before.subject = '' AND before.message_count = 0 THEN coalesce((
                    SELECT message.subject FROM email_sync_message AS message
                    WHERE message.thread_id = before.id AND message.removed_at IS NULL
                    ORDER BY message.received_at LIMIT 1
                ), '')
                ELSE before.subject
            END
        FROM email_sync_thread AS before
        LEFT JOIN counted ON counted.thread_id = before.id
        WHERE before.id = ANY(%(ids)s::uuid[]) AND thread.id = before.id
        RETURNING thread.id, thread.shown_at, thread.shown_count - before.shown_count AS growth
    ), dated AS (
        UPDATE email_sync_threadparticipant AS participant
        SET shown_at = kept.shown_at
        FROM kept
        WHERE participant.thread_id = kept.id AND participant.shown_at IS DISTINCT FROM kept.shown_at
    )
    SELECT id, growth FROM kept WHERE growth <> 0
"""


def recount(
    thread_ids: Collection[uuid.UUID],
    *,
    added: Mapping[uuid.UUID, int] = MappingProxyType({}),
    disturbed: Collection[uuid.UUID] = (),
) -> None:
    """Set the figures of these threads from their messages: one statement, cost by the threads touched. One that was
    emptied and lost its subject (`forget_empty`) gets it back with its mail.

    Who takes part is read anew where mails came back or went out of sight: in the `disturbed` threads, and in those
    whose count changed by more than the new mails the caller itself notes (`added`, by thread).
    """
    if not thread_ids:
        return
    with database.cursor() as cursor:
        cursor.execute(_RECOUNT, {"ids": arrays.of_ids(sorted(thread_ids))})
        grown = dict(cursor.fetchall())
    expected = {thread: count for thread, count in added.items() if count}
    participants.refresh({thread for thread, _ in grown.items() ^ expected.items()} | set(disturbed))


def forget_empty(thread_ids: Collection[uuid.UUID]) -> None:
    """Delete those of these threads that have no message left, with the pointers to them: a subject is content too. One
    that somebody decided about stays without it: the decision stands when the mail comes back."""
    empty = Thread.objects.filter(pk__in=thread_ids, messages__isnull=True, merged_into__isnull=True)
    decided = Exists(ThreadLink.objects.filter(thread=OuterRef("pk")))
    empty.filter(~decided).delete()
    Thread.objects.filter(Q(pk__in=empty.values("pk")) | Q(merged_into__in=empty.values("pk"))).update(subject="")


# --- sent mail ----------------------------------------------------------------------------------------------------


def of_sent(submission: Submission, sent: SentMail) -> Thread | None:
    """The thread a sent mail will be found in once its copy is synced, so that the answer to a send can name it."""
    remote = _of_remote_id(submission, sent.thread_remote_id) if sent.thread_remote_id else None
    if submission.thread is not None:
        return _joined(submission.thread, remote) if remote else submission.thread
    if remote is not None:
        return remote.merged_into or remote
    return _of_message_ids(submission, [submission.message_id, sent.message_id or submission.message_id])


def _of_remote_id(submission: Submission, remote_id: str) -> Thread:
    rows = Thread.objects.select_related("merged_into")
    named = {"connection": submission.connection, "remote_id": remote_id}
    return rows.get_or_create(**named, defaults={"subject": submission.subject})[0]


def _joined(answered: Thread, filed: Thread) -> Thread:
    """The conversation that was answered. The provider may have filed the copy under another one: Exchange finds the
    conversation of a mail by its own marks, which MIME does not carry. Then that one, and what comes under it later,
    belongs to the one answered. One that belongs to a third conversation already stays there."""
    if filed.pk == answered.pk or filed.merged_into_id is not None or answered.merged_into_id is not None:
        return answered
    moved = list(Message.objects.filter(thread=filed).values_list("pk", flat=True))
    merge(answered.pk, [filed.pk])
    recount([answered.pk], disturbed=[answered.pk])
    telling.changed(answered.connection, moved)
    return answered


def _of_message_ids(submission: Submission, message_ids: Sequence[str]) -> Thread:
    """By ours and by the one the server put in its place: the copy that is synced bears the second."""
    connection = submission.connection
    keys = list(dict.fromkeys(map(threading.message_id_key, message_ids)))
    known = ThreadKey.objects.filter(connection=connection, key__in=keys).select_related("thread").first()
    thread = known.thread if known else Thread.objects.create(connection=connection, subject=submission.subject)
    rows = [ThreadKey(connection=connection, key=key, thread=thread) for key in keys]
    ThreadKey.objects.bulk_create(rows, ignore_conflicts=True)
    return thread
