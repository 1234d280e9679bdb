"""The text search rows of messages: at once by the writer, inside its transaction, or after a first sync's pages.

What waits is a row (`Unindexed`), written with the message; `index_waiting` works them off from what is stored, with
two connections where there is much, and any worker may go on where another was killed.

The vector is made here and not by `to_tsvector`: the text is folded to plain words already (`search.fold`), so the
database's parser would only find the same words again, at twice the cost of reading them.
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
from itertools import chain, repeat
from operator import add

from django.db import connection as database
from django.db import transaction

from email_sync import periods, search
from email_sync.models import MessageSearch, Unindexed
from email_sync.records import ParsedMessage
from email_sync.services import bulk

BATCH = 200
"""Messages a transaction."""
HOLD_SECONDS = 5.0
MUCH = 1_000
"""So many waiting messages are worth a second connection."""
Texts = tuple[str, str, str, str]
"""What is searched, folded, in the order of the weights A to D."""
LAST_PLACE = 16_383
"""PostgreSQL counts no further (its manual, 12.11)."""
_PLACES = {weight: [f":{number}{weight}" for number in range(1, LAST_PLACE + 1)] for weight in ("A", "B", "C", "")}


def index(connection_id: uuid.UUID, messages: Iterable[tuple[uuid.UUID, datetime, ParsedMessage]]) -> None:
    """Make messages, given as (id, received at, parsed), findable."""
    _write(connection_id, ((message_id, received_at, texts(parsed)) for message_id, received_at, parsed in messages))


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
        _write(connection_id, ((pk, received_at, _stored_texts(*row)) for pk, received_at, *row in taken))
        cursor.execute("DELETE FROM email_sync_unindexed WHERE message_id = ANY(%s)", [[row[0] for row in taken]])
    return bool(taken)


def _stored_texts(subject: str, name: str, email: str, recipients: str, text: str) -> Texts:
    stored = json.loads(recipients)  # which the database keeps in an order of its own
    people = [f"{name} {email}" for kind in ("to", "cc", "bcc") for name, email in stored.get(kind, ())]
    return search.document(subject, f"{name} {email}", " ".join(people), text)


def _write(connection_id: uuid.UUID, messages: Iterable[tuple[uuid.UUID, datetime, Texts]]) -> None:
    bulk.copy(
        MessageSearch,
        ("message", "received_at", "periods", "document"),
        ((pk, moment, periods.keys(connection_id, moment), vector(*texts)) for pk, moment, texts in messages),
    )


def texts(parsed: ParsedMessage) -> Texts:
    """What is searched, folded, in the order of the weights A to D."""
    recipients = " ".join(f"{a.name} {a.email}" for a in (*parsed.to, *parsed.cc, *parsed.bcc))
    return search.document(parsed.subject, f"{parsed.sender.name} {parsed.sender.email}", recipients, parsed.text)


def vector(subject: str, sender: str, recipients: str, body: str) -> str:
    """A tsvector as text: every word with its place, counted through from the subject on. A word that comes again is
    written again; the database puts its places together faster than Python would. Words are folded: letters and
    digits, which a tsvector takes unquoted. Those outside the body follow once more, marked by their field."""
    placed: list[str] = []
    own: list[str] = []
    for weight, text in (("A", subject), ("B", sender), ("C", recipients), ("", body)):
        words = text.split()
        placed += map(add, words, _places(weight, len(placed), len(words)))
        if weight:
            own += [f"{search.marked(weight, word)}:1{weight}" for word in words]
    return " ".join([*placed, *own])


def _places(weight: str, after: int, count: int) -> Iterator[str]:
    """`count` places after the first so many; the last one stands for all that would follow."""
    numbered = _PLACES[weight]
    return chain(numbered[after : after + count], repeat(numbered[-1]))
