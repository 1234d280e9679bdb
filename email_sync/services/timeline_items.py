"""What a timeline shows of each conversation: who, what about, when, and as much of the text as the reader may see."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection as database

from email_sync import arrays
from email_sync.models import Thread
from email_sync.services.timelines import Conversation
from email_sync.services.visibility import Access, Mailbox
from entities.matching import normalise

MESSAGES_READ = 20
"""Of each thread, the newest: they tell who takes part."""
MAX_PEOPLE = 30


@dataclass(frozen=True, slots=True)
class Item:
    """A conversation as a timeline shows it."""

    thread: Thread
    """The one that stands for it: the reader's own where there is one."""
    mailbox: Mailbox
    people: list[tuple[str, str]]
    """(name, address) of those who take part, in the order of their appearance."""
    message_count: int
    last_message_at: datetime
    snippet: str
    """Of the newest message whose text the reader may see; "" where there is none."""
    unread: int
    """The reader's own unread messages."""
    copies: list[tuple[Thread, Mailbox]]
    """The threads of other mailboxes that hold the same conversation."""


class _Message(NamedTuple):
    thread_id: uuid.UUID
    received_at: datetime
    sender: tuple[str, str]
    recipients: dict[str, list[list[str]]]
    snippet: str


def items(conversations: Sequence[Conversation], seen: dict[uuid.UUID, Mailbox]) -> list[Item]:
    """Of a page. One query."""
    messages = _messages([thread.pk for one in conversations for thread in one.threads])
    return [_item(one, messages, seen) for one in conversations]


_NEWEST = """
    SELECT message.* FROM unnest(%s::uuid[]) AS wanted (thread_id) CROSS JOIN LATERAL (
        SELECT thread_id, received_at, from_name, from_email, recipients::text, snippet FROM email_sync_message
        WHERE thread_id = wanted.thread_id
          AND removed_at IS NULL AND NOT (in_drafts OR in_trash OR in_spam)
        ORDER BY received_at DESC, id DESC LIMIT %s
    ) AS message
"""


def _messages(thread_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[_Message]]:
    """The newest messages of each thread, newest first."""
    found: defaultdict[uuid.UUID, list[_Message]] = defaultdict(list)
    with database.cursor() as cursor:
        cursor.execute(_NEWEST, [arrays.of_ids(thread_ids), MESSAGES_READ])
        for thread_id, received_at, name, email, recipients, snippet in cursor.fetchall():
            found[thread_id].append(_Message(thread_id, received_at, (name, email), json.loads(recipients), snippet))
    return found


def _item(one: Conversation, messages: dict[uuid.UUID, list[_Message]], seen: dict[uuid.UUID, Mailbox]) -> Item:
    access = {thread.pk: seen[thread.connection_id].access for thread in one.threads}
    chosen, *others = sorted(one.threads, key=lambda thread: _standing(thread, access, messages))
    held = sorted((m for t in one.threads for m in messages[t.pk]), key=lambda m: m.received_at)
    texts = [message.snippet for message in held if access[message.thread_id] >= Access.FULL]
    return Item(
        thread=chosen,
        mailbox=seen[chosen.connection_id],
        people=_people(held, access),
        message_count=sum(thread.shown_count for thread in one.threads) - one.repeats,
        last_message_at=one.place[0],
        snippet=texts[-1] if texts else "",
        unread=sum(thread.unread_count for thread in one.threads if access[thread.pk] == Access.OWN),
        copies=[(thread, seen[thread.connection_id]) for thread in others],
    )


def _standing(thread: Thread, access: dict[uuid.UUID, Access], messages: dict[uuid.UUID, list[_Message]]) -> Any:
    """Which thread stands for a conversation: the reader's own, else what shows most, else who had it first: a copy
    that somebody makes up later does not take its place."""
    first = min((message.received_at for message in messages[thread.pk]), default=thread.shown_at)
    return -access[thread.pk], first, thread.pk


def _people(messages: Iterable[_Message], access: dict[uuid.UUID, Access]) -> list[tuple[str, str]]:
    """Everybody once, by the address's key; blind copies only of one's own mail."""
    people: dict[str, tuple[str, str]] = {}
    for message in messages:
        fields = ("to", "cc", "bcc") if access[message.thread_id] == Access.OWN else ("to", "cc")
        for name, email in (
            message.sender,
            *(pair for field in fields for pair in message.recipients.get(field) or ()),
        ):
            key = normalise(email) or email
            if key not in people or (name and not people[key][0]):
                people[key] = (name, email)
    return list(people.values())[:MAX_PEOPLE]
