"""Messages that did not come, or came without their body, asked for again: a few, and more where those came.

Called by the engine for each folder of a run. How often is said by their `Unfetched` rows (`isolating`): in a minute,
then later and later, at most once a day. What arrives takes the place of what stood for it: the row and its id stay.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction

from email_sync.models import Message, Thread
from email_sync.records import Stream
from email_sync.services import bounces, isolating, rewriting, salvage, store, telling, threads
from email_sync.services.fetching import REFUSED, prepare
from email_sync.services.locking import one_writer
from email_sync.services.store import Incoming
from integrations.models import Connection

if TYPE_CHECKING:
    from email_sync.services.pages import Pages


def retry(sync: Pages, stream: Stream) -> bool:
    """Ask for those whose time has come, until some do not come again. True where the slice ended before."""
    while ids := isolating.due(sync.connection, stream.key):
        prepare()
        stored = store.stored_ids(sync.connection, ids) - _incomplete(sync.connection, ids)
        wanted = [remote_id for remote_id in ids if remote_id not in stored]
        found = isolating.isolate(sync.mailbox, stream, wanted, between=sync.hold_if_slow)
        sync.write(stream, found.messages)
        whole = [item for item in found.messages if not item.remote.refused]
        salvage.write(partial(_write, sync), whole)
        bad = found.bad | {item.remote.state.remote_id: REFUSED for item in found.messages if item.remote.refused}
        if found.error is None:
            denied = [i for i in isolating.missing_of(wanted, found.messages) if i not in bad]
            bad |= isolating.doubted(sync.connection, denied)
        waiting = bad if found.error is None else isolating.missing_of(ids, whole)
        sync.set_aside(stream, bad, settled=[i for i in ids if i not in waiting])
        if found.error is not None:
            raise found.error
        if bad:
            return False
        if sync.out_of_time():
            return True
    return False


def _incomplete(connection: Connection, remote_ids: Sequence[str]) -> set[str]:
    rows = Message.objects.present().filter(connection=connection, remote_id__in=remote_ids).exclude(defect="")
    return set(rows.values_list("remote_id", flat=True))


def _write(sync: Pages, messages: Sequence[Incoming]) -> None:
    with transaction.atomic():
        sync.hold()
        fill(sync.connection, messages)


def fill(connection: Connection, messages: Sequence[Incoming]) -> None:
    """Inside the caller's transaction: give rows that stand for a message what it says, its conversation included.
    Where it is and its flags are the writer's (`store.write_page`)."""
    one_writer(connection.pk)
    brought = {item.remote.state.remote_id: item for item in messages}
    rows = Message.objects.present().filter(connection=connection, remote_id__in=list(brought)).exclude(defect="")
    filled = [(row, brought[row.remote_id]) for row in rows.select_for_update().order_by("id")]
    for row, item in filled:
        row.thread_id = _conversation(connection, row, item)
        rewriting.rewrite(row, item)
    if filled:
        touched = {row.thread_id for row, _ in filled}
        threads.recount(touched, disturbed=touched)
        bounces.note(connection, [(row.pk, item.remote, item.parsed.report) for row, item in filled])
        telling.changed(connection, [row.pk for row, _ in filled])


def _conversation(connection: Connection, row: Message, item: Incoming) -> uuid.UUID:
    """The thread of a message now that its headers are known. The thread its row had alone becomes one with that."""
    [own] = threads.assign(connection=connection, messages=[threads.Arrival.of(item.remote, item.parsed)]).threads
    row.refresh_from_db(fields=["thread"])  # late parents join threads
    if own == row.thread_id:
        return own
    if Message.objects.filter(thread=row.thread_id).exclude(pk=row.pk).exists():
        Message.objects.filter(pk=row.pk).update(thread=own)
        threads.recount({row.thread_id}, disturbed={row.thread_id})
        return own
    oldest, other = sorted((own, row.thread_id))
    threads.merge(oldest, [other])
    Thread.objects.filter(pk=oldest, subject="").update(subject=item.parsed.subject)
    return oldest
