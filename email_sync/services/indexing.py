"""The text search rows of messages: at once by the writer, inside its transaction, or after a first sync's pages.

What waits is a row (`Unindexed`), written with the message; `index_waiting` works them off from what is stored, with
two connections where there is much, and any worker may go on where another was killed.

The words are made here and not by `to_tsvector`: the text is folded already (`search.fold`), so the database's parser
would only find the same words again. They come sorted and without their places, so that it has nothing to do but to
take them over (docs/adr/0046).
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime

from django.db import connection as database
from django.db import transaction

from email_sync import binary, periods, search
from email_sync.models import Unindexed
from email_sync.records import ParsedMessage
from email_sync.services import bulk

BATCH = 200
"""Messages a transaction."""
HOLD_SECONDS = 5.0
MUCH = 1_000
"""So many waiting messages are worth a second connection."""


def index(connection_id: uuid.UUID, messages: Iterable[tuple[uuid.UUID, datetime, ParsedMessage]]) -> None:
    """Make messages, given as (id, received at, parsed), findable."""
    write(connection_id, ((message_id, received_at, document(parsed)) for message_id, received_at, parsed in messages))


def postpone(connection_id: uuid.UUID, message_ids: Iterable[uuid.UUID]) -> None:
    """Inside the writer's transaction: leave these for `index_waiting`."""
    bulk.copy(Unindexed, ("message", "connection"), ((message_id, connection_id) for message_id in message_ids))


def is_waiting(connection_ids: Collection[uuid.UUID]) -> bool:
    """Whether any message of these mailboxes cannot be searched for yet."""
    return Unindexed.objects.filter(connection__in=connection_ids).exists()


def index_waiting(connection_id: uuid.UUID, *, hold: Callable[[], None], out_of_time: Callable[[], bool]) -> bool:
    """Make findable what waits. `hold` is called every few seconds. True where time ran out before the end."""
    if not is_waiting([connection_id]):
        return False
    held = time.monotonic()
    with _helped(connection_id):
        while _index_batch(connection_id):
            if time.monotonic() - held > HOLD_SECONDS:
                hold()
                held = time.monotonic()
            if out_of_time():
                return True
    merge_new_words()
    return is_waiting([connection_id])


def merge_new_words() -> None:
    """Put the index's list of new rows in order now: every search reads that list, and nobody else is in a hurry."""
    with database.cursor() as cursor:
        cursor.execute("SELECT gin_clean_pending_list('messagesearch_periods')")


@contextmanager
def _helped(connection_id: uuid.UUID) -> Iterator[None]:
    """While the caller works, a second connection does too where there is much: the database's half of the work is
    more than half."""
    if Unindexed.objects.filter(connection=connection_id)[:MUCH].count() < MUCH:
        yield
        return
    enough = threading.Event()
    with ThreadPoolExecutor(1, "index") as helper:
        helping = helper.submit(_help, connection_id, enough)
        try:
            yield
        finally:
            enough.set()
    helping.result()


def _help(connection_id: uuid.UUID, enough: threading.Event) -> None:
    try:
        while not enough.is_set() and _index_batch(connection_id):
            pass
    finally:
        database.close()


_TAKE = """
    SELECT waiting.message_id, received_at, subject, from_name, from_email, recipients, body.text
    FROM (
        SELECT message_id FROM email_sync_unindexed WHERE connection_id = %s
        ORDER BY message_id LIMIT %s FOR UPDATE SKIP LOCKED
    ) AS waiting
    JOIN email_sync_message AS message ON message.id = waiting.message_id
    JOIN email_sync_messagebody AS body ON body.message_id = waiting.message_id
"""


def _index_batch(connection_id: uuid.UUID) -> bool:
    """The oldest waiting rows, which a first sync wrote newest mail first. False where there are none that nobody else
    has. Its commit does not wait for the disk: rows and queue would come back together."""
    with transaction.atomic(), database.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit TO OFF")
        cursor.execute(_TAKE, [connection_id, BATCH])
        taken = cursor.fetchall()
        write(connection_id, ((pk, received_at, _stored(*row)) for pk, received_at, *row in taken))
        cursor.execute("DELETE FROM email_sync_unindexed WHERE message_id = ANY(%s)", [[row[0] for row in taken]])
    return bool(taken)


def _stored(subject: str, name: str, email: str, recipients: str, text: str) -> search.Document:
    stored = json.loads(recipients)  # which the database keeps in an order of its own
    people = [f"{name} {email}" for kind in ("to", "cc", "bcc") for name, email in stored.get(kind, ())]
    return search.document(subject, f"{name} {email}", " ".join(people), text)


def document(parsed: ParsedMessage) -> search.Document:
    """What a message is found by."""
    recipients = " ".join(f"{a.name} {a.email}" for a in (*parsed.to, *parsed.cc, *parsed.bcc))
    return search.document(parsed.subject, f"{parsed.sender.name} {parsed.sender.email}", recipients, parsed.text)


_COPY = "COPY email_sync_messagesearch (message_id, received_at, periods, words, text) FROM STDIN (FORMAT BINARY)"


def write(connection_id: uuid.UUID, messages: Iterable[tuple[uuid.UUID, datetime, search.Document]]) -> None:
    """The search rows of messages, given as (id, received at, document)."""
    rows = [
        binary.row(
            binary.of_id(message_id),
            binary.of_moment(received_at),
            binary.of_numbers(periods.keys(connection_id, received_at)),
            binary.of_words(document.words),
            binary.of_text(document.text),
        )
        for message_id, received_at, document in messages
    ]
    with database.wrap_database_errors, database.cursor() as cursor, cursor.copy(_COPY) as sink:
        sink.write(b"".join([binary.START, *rows, binary.END]))
