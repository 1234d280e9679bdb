"""Who takes part in which conversation: the rows that matches of addresses and domains are joined with.

Called by the writer and by `threads.recount`, inside their transaction. Only mails that timelines show count: no
drafts, no trash, no spam, nothing that was removed.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from django.db import connection as database

from email_sync import arrays
from email_sync.models import Message
from email_sync.records import DRAFTS, SPAM, TRASH, ParsedMessage
from entities.matching import normalise
from integrations.models import Connection

NOT_SHOWN = frozenset({DRAFTS, TRASH, SPAM})
MAX_KEYS = 250
"""Of one message: a mail to thousands is nobody's conversation. The sender comes first."""
Pair = tuple[uuid.UUID, str]
"""A thread and an address key."""


def is_shown(message: Message) -> bool:
    """Whether timelines show a message."""
    return message.removed_at is None and not (message.in_drafts or message.in_trash or message.in_spam)


def of_page(
    connection: Connection, messages: Iterable[tuple[uuid.UUID, frozenset[str], ParsedMessage]]
) -> list[tuple[uuid.UUID, list[str]]]:
    """The thread and the people of each of these messages that timelines show; given as (thread, roles, parsed)."""
    own = normalise(connection.account_email)
    return [(thread, of_message(parsed, own)) for thread, roles, parsed in messages if not roles & NOT_SHOWN]


def of_message(parsed: ParsedMessage, own: str) -> list[str]:
    """The keys of a message's people; `own` is the key of the mailbox's account, which takes part in everything."""
    people = (parsed.sender, *parsed.to, *parsed.cc, *parsed.bcc)
    return _keys((person.email for person in people), own)


def of_row(from_email: str, recipients: Mapping[str, Sequence[Sequence[str]]], own: str) -> list[str]:
    """The same from what is stored."""
    others = (email for field in ("to", "cc", "bcc") for _, email in recipients.get(field) or ())
    return _keys((from_email, *others), own)


def _keys(addresses: Iterable[str], own: str) -> list[str]:
    keys = dict.fromkeys(normalise(address) for address in addresses)
    return [key for key in keys if key and key != own][:MAX_KEYS]


_NOTE = """
    INSERT INTO email_sync_threadparticipant (thread_id, address_key, connection_id, domain, shown_at)
    SELECT thread.id, fresh.address_key, thread.connection_id, split_part(fresh.address_key, '@', 2), thread.shown_at
    FROM unnest(%s::uuid[], %s::text[]) AS fresh (thread_id, address_key)
    JOIN email_sync_thread AS thread ON thread.id = fresh.thread_id
    ON CONFLICT DO NOTHING
"""
_FORGET_OTHERS = """
    DELETE FROM email_sync_threadparticipant AS kept
    WHERE thread_id = ANY(%s::uuid[]) AND NOT EXISTS (
        SELECT FROM unnest(%s::uuid[], %s::text[]) AS wanted (thread_id, address_key)
        WHERE wanted.thread_id = kept.thread_id AND wanted.address_key = kept.address_key)
"""


def note(pairs: Collection[Pair]) -> None:
    """These people take part. One statement; the threads' figures must be right already."""
    if pairs:
        with database.cursor() as cursor:
            cursor.execute(_NOTE, _columns(pairs))


def refresh(thread_ids: Collection[uuid.UUID]) -> None:
    """Read anew who takes part in these threads: mails of theirs went, came back or moved in or out of sight."""
    if not thread_ids:
        return
    pairs = list(_stored(thread_ids))
    with database.cursor() as cursor:
        cursor.execute(_FORGET_OTHERS, [arrays.of_ids(thread_ids), *_columns(pairs)])
    note(pairs)


def _stored(thread_ids: Collection[uuid.UUID]) -> Iterator[Pair]:
    rows = Message.objects.shown().filter(thread__in=list(thread_ids))
    for thread_id, account, sender, recipients in rows.values_list(
        "thread_id", "connection__account_email", "from_email", "recipients"
    ).iterator():
        for key in of_row(sender, recipients, normalise(account)):
            yield thread_id, key


def _columns(pairs: Collection[Pair]) -> list[str]:
    ordered = sorted({(thread.hex, key): thread for thread, key in pairs}.items())  # in one order, as every writer
    return [arrays.of_ids(thread for _, thread in ordered), arrays.of_values(key for (_, key), _ in ordered)]
