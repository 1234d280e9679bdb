"""Large mailboxes made inside PostgreSQL: no mail, only the rows a sync would have left. Called by `inbox`.

Threads of three, folders and flags by chance (seeded), words after Zipf. Counters come from the product's own trigger.
Bodies are left out: no list reads them.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection as database

from benchmarks.corpus import words
from benchmarks.measuring import say
from core.ids import uuid7
from email_sync import periods
from email_sync.models import Message, MessageBody, Thread
from integrations.models import Connection, SyncState
from workspaces.services import members, tokens

CHUNK = 50_000
PASSWORD = "a password nobody types"
PHRASES, PHRASE_WORDS = 20_000, 12

_SETUP = """
    SELECT setseed(0.42);
    CREATE TEMP TABLE IF NOT EXISTS bench_phrases (id int PRIMARY KEY, words text);
    INSERT INTO bench_phrases
    SELECT number - 1, words FROM unnest(%(phrases)s::text[]) WITH ORDINALITY AS found (words, number)
    ON CONFLICT DO NOTHING;
    ANALYZE bench_phrases;
"""


def _phrase(number: int) -> str:
    """SQL: the phrase of row n, the `number`th of that row."""
    return f"(SELECT words FROM bench_phrases WHERE id = (hashint4(n::int * 16 + {number}) & 2147483647) %% {PHRASES})"


def _id(kind: int, number: str) -> str:
    """SQL: an id that begins with a time, as the product's do, and ends with the mailbox's own."""
    return f"(lpad(to_hex(%(base)s + {number}), 12, '0') || '7{kind:03}' || right(%(mailbox)s, 16))::uuid"


_SENDER = "'person ' || n %% 2000 || ' person' || n %% 2000 || ' org' || n %% 97 || ' example'"


def _words(*texts: str) -> str:
    """SQL: an array of the words of texts."""
    return f"string_to_array(concat_ws(' ', {', '.join(texts)}), ' ')"


def _marked(mark: str, text: str) -> str:
    """SQL: the words of one field as `search.document` has them a second time."""
    return f"(SELECT array_agg('{mark}' || word) FROM unnest({_words(text)}) AS word)"


_THREADS = f"""
    INSERT INTO email_sync_thread (id, connection_id, remote_id, subject, message_count, unread_count, last_message_at)
    SELECT {_id(1, "n")}, %(connection)s, '', {_phrase(1)}, 3, 0, timestamptz '2015-01-01' + n * interval '900 seconds'
    FROM generate_series(%(low)s / 3, (%(high)s - 1) / 3) AS n
    ON CONFLICT DO NOTHING
"""
_MESSAGES = f"""
    INSERT INTO email_sync_message (
        id, connection_id, thread_id, remote_id, stream, content_key, folder_ids, in_inbox, in_sent, in_archive,
        in_drafts, in_trash, in_spam, is_read, is_starred, message_id, fingerprint, subject, from_name, from_email,
        recipients, snippet, sent_at, received_at, size, has_attachments, defect, removed_cause, updated_at)
    SELECT {_id(2, "n")}, %(connection)s, {_id(1, "n / 3")}, '1/' || n || '/INBOX', 'INBOX', md5(n::text),
           ARRAY['INBOX'], place < 0.55, place >= 0.55 AND place < 0.75, place >= 0.75 AND place < 0.95, false,
           place >= 0.98, place >= 0.95 AND place < 0.98, random() < 0.86, random() < 0.03, n || '@bench.example',
           md5(n::text)::uuid,
           left({_phrase(1)}, 40), 'Person ' || n %% 2000, 'person' || n %% 2000 || '@org' || n %% 97 || '.example',
           '{{"to": [["Olivia Owner", "owner@bench.example"]], "cc": [], "bcc": []}}',
           left({_phrase(2)} || ' ' || {_phrase(3)}, 180), received, received, 6000, random() < 0.1, '', '', now()
    FROM (SELECT n, random() AS place, timestamptz '2015-01-01' + n * interval '300 seconds' AS received
          FROM generate_series(%(low)s, %(high)s - 1) AS n) AS made
"""
_BODY = [_phrase(number) for number in range(2, 7)]
_SEARCH = f"""
    INSERT INTO email_sync_messagesearch (message_id, received_at, periods, words, text)
    SELECT {_id(2, "n")}, received,
           ARRAY[%(period)s + extract(year FROM received) * 13 + extract(month FROM received),
                 %(period)s + extract(year FROM received) * 13]::bigint[],
           array_to_tsvector({_words(_phrase(1), _SENDER, *_BODY)} || {_marked("A", _phrase(1))}
                             || {_marked("B", _SENDER)}),
           concat(' ', concat_ws(E' \\n ', {_phrase(1)}, {_SENDER}, '', concat_ws(' ', {", ".join(_BODY)})), ' ')
    FROM (SELECT n, timestamptz '2015-01-01' + n * interval '300 seconds' AS received
          FROM generate_series(%(low)s, %(high)s - 1) AS n) AS made
"""
_INDEX = "messagesearch_periods"


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A mailbox of a user of its own, and that user's token."""

    size: int
    connection: Connection
    token: str


def make(size: int, *, searchable: bool, name: str = "") -> Mailbox:
    """A mailbox of so many messages, of an owner of its own."""
    name = name or f"{size} messages"
    address = f"{name.replace(' ', '-')}-{uuid7().hex[-8:]}@bench.example"
    owner = members.create_workspace(by=None, name=name, owner_email=address, owner_password=PASSWORD)
    connection = Connection.objects.create(
        workspace=owner.workspace, user=owner.user, provider="imap", account_id=address, account_email=address
    )
    SyncState.objects.create(connection=connection, type="email")
    statements = [_THREADS, _MESSAGES, *([_SEARCH] if searchable else [])]
    with database.cursor() as cursor:
        cursor.execute(_SETUP, {"phrases": _phrases()})
        rebuild = _without_index(cursor) if searchable else ""
        for low in range(0, size, CHUNK):
            for statement in statements:
                cursor.execute(statement, _values(connection.pk, low, min(low + CHUNK, size)))
            say(f"{min(low + CHUNK, size):,} of {size:,} messages")
        if rebuild:
            cursor.execute(rebuild)
        for table in ("message", "thread", "messagesearch", "foldercounter"):
            cursor.execute(f"VACUUM (ANALYZE) email_sync_{table}")
    return Mailbox(size, connection, tokens.issue(by=None, membership=owner, name="Bench").text)


def _without_index(cursor: Any) -> str:
    """Drop the search index; the statement that builds it again, many times faster than row by row."""
    cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [_INDEX])
    [definition] = cursor.fetchone()
    cursor.execute(f"DROP INDEX {_INDEX}")
    return str(definition)


def add_thread(box: Mailbox, size: int) -> Thread:
    """A thread of so many messages with bodies, the newest of the mailbox."""
    thread = Thread.objects.create(connection=box.connection, subject="A long thread", message_count=size)
    newest = list(
        Message.objects.filter(connection=box.connection, in_inbox=True).order_by("-received_at", "-id")[:size]
    )
    Message.objects.filter(pk__in=[message.pk for message in newest]).update(thread=thread)
    chance = random.Random("thread")
    MessageBody.objects.bulk_create(
        MessageBody(message=message, text=" ".join(words(chance, 400)), html=f"<p>{' '.join(words(chance, 400))}</p>")
        for message in newest
    )
    return thread


def _phrases() -> list[str]:
    chance = random.Random("phrases")
    return [" ".join(words(chance, PHRASE_WORDS)) for _ in range(PHRASES)]


def _values(connection_id: uuid.UUID, low: int, high: int) -> dict[str, object]:
    base = 1_420_070_400_000  # 2015 in milliseconds
    period = periods.keys(connection_id, datetime(1, 1, 1, tzinfo=UTC))[1] - 13
    return {
        "connection": connection_id, "mailbox": connection_id.hex, "period": period, "base": base, "low": low,
        "high": high,
    }  # fmt: skip
