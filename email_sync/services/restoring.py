"""Texts taken off stored messages, and brought back: a mailbox of which only metadata is kept, or no longer.

`withhold` is called by the work of a scope change, the rest by the engine, which fetches. A message keeps its row, its
thread and its flags; only what hangs on it goes and comes.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from django.db import connection as database
from django.db import transaction

from email_sync.models import Attachment, ImportedSource, Message, MessageBody, MessageSearch, Unindexed
from email_sync.scope import kept_headers
from email_sync.services import bulk, scoping, store
from email_sync.services.locking import one_writer
from email_sync.services.store import Incoming
from integrations.models import Connection

PAGE = 200


def withhold(message_ids: Sequence[uuid.UUID]) -> None:
    """Inside the caller's transaction: leave of these messages what `scope.metadata_of` leaves. They are found by
    subject and people only."""
    list(Unindexed.objects.filter(message__in=message_ids).select_for_update())  # nobody reads the text of these now
    Message.objects.filter(pk__in=message_ids).update(body_withheld=True, snippet="")
    Attachment.objects.filter(message__in=message_ids).update(file_name="", content_id="", calendar=None)
    ImportedSource.objects.filter(message__in=message_ids).delete()
    bodies = list(MessageBody.objects.filter(message__in=message_ids))
    for body in bodies:
        body.text, body.html, body.headers = "", "", kept_headers(body.headers)
    MessageBody.objects.bulk_update(bodies, ["text", "html", "headers"])
    with database.cursor() as cursor:
        cursor.execute(_ONLY_OUTSIDE, [list(message_ids)])


_ONLY_OUTSIDE = """
    UPDATE email_sync_messagesearch SET
        words = array_to_tsvector(ARRAY(
            SELECT unnest(ARRAY[lexeme, substr(lexeme, 2)]) FROM unnest(words) WHERE left(lexeme, 1) IN ('A', 'B', 'C')
        )),
        text = array_to_string((string_to_array(text, E'\\n'))[1:3], E'\\n') || E'\\n  '
    WHERE message_id = ANY(%s)
"""
"""What is outside the body bears the mark of its field (`search.document`)."""


def bring_back(
    connection: Connection,
    stream: str,
    fetch: Callable[[Sequence[str]], Sequence[Incoming]],
    *,
    hold: Callable[[], None],
    out_of_time: Callable[[], bool],
) -> bool:
    """Fetch the texts of a stream that are withheld; `hold` proves the run's fence in each transaction. True where time
    ran out before the end. A message the provider does not give is tried again by the next run."""
    after = None
    while ids := withheld_ids(connection, stream, after, PAGE):
        messages = fetch(list(ids.values()))
        with transaction.atomic():
            hold()
            fill(connection, messages)
        after = list(ids)[-1]
        if out_of_time():
            return True
    return False


def withheld_ids(connection: Connection, stream: str, after: uuid.UUID | None, limit: int) -> dict[uuid.UUID, str]:
    """Own id and remote id of so many messages of a stream of which only metadata is stored, in the order of ids."""
    rows = Message.objects.present().filter(connection=connection, body_withheld=True, stream=stream)
    if after is not None:
        rows = rows.filter(pk__gt=after)
    return dict(rows.order_by("id").values_list("pk", "remote_id")[:limit])


def fill(connection: Connection, messages: Sequence[Incoming]) -> None:
    """Inside the caller's transaction: give stored messages their texts, unless their user wishes otherwise by now."""
    one_writer(connection.pk)
    if scoping.of(connection).metadata_only:
        return
    brought = {item.remote.state.remote_id: item for item in messages if not item.remote.refused}
    rows = Message.objects.filter(connection=connection, remote_id__in=list(brought), body_withheld=True)
    found = [(row, brought[row.remote_id]) for row in rows.select_for_update().order_by("id")]
    for model in (Unindexed, MessageBody, Attachment, MessageSearch):
        model._default_manager.filter(message__in=[row.pk for row, _ in found]).delete()
    for row, item in found:
        row.body_withheld, row.snippet = False, store.snippet(item.parsed)
    bulk.update(["body_withheld", "snippet"], [row for row, _ in found])
    store.insert_texts(connection, [(row.pk, item) for row, item in found])
