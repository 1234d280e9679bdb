"""Events of a mailbox, written with the rows they tell of.

Called by whoever changes messages, inside its transaction: the writer of pages and local changes. Promised: a page
costs one statement, however many messages it brings; mail that was there before the mailbox was connected is never told
as received, however late it is stored. Payloads hold ids only (ADR 0010).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.ids import made_at
from email_sync.records import DRAFTS, INBOX, SENT, SPAM, TRASH
from integrations.models import Connection, EventType, SyncCursor
from integrations.services import events
from integrations.services.events import NewEvent

IDS_PER_EVENT = 500
CLOCKS_DIFFER = timedelta(minutes=1)
"""The provider says when a mail came, our clock when the mailbox was connected."""
NOT_RECEIVED = frozenset({SENT, DRAFTS, TRASH, SPAM})


@dataclass(frozen=True, slots=True)
class NewMessage:
    """What a page brought: our id, when the provider got it, where it is."""

    id: uuid.UUID
    received_at: datetime
    roles: frozenset[str]


def page(
    connection: Connection,
    *,
    new: Sequence[NewMessage] = (),
    changed: Sequence[uuid.UUID] = (),
    removed: Sequence[uuid.UUID] = (),
) -> None:
    """What a page came to: `email.received` for each mail that is news, and for streams what else is otherwise now."""
    since = _followed_since(connection) if new else None
    news = [message for message in new if since is not None and message.received_at >= since]
    received = [message.id for message in news if _is_received(message)]
    added = [message.id for message in news if not _is_received(message)]
    told = [_event(connection, EventType.EMAIL_RECEIVED, emailId=str(email_id)) for email_id in received]
    told += _updates(connection, added=added, changed=changed, removed=removed)
    if told:
        events.record_many(told)


def changed(connection: Connection, message_ids: Sequence[uuid.UUID]) -> None:
    """These messages have other flags, folders or threads now."""
    page(connection, changed=message_ids)


def _is_received(message: NewMessage) -> bool:
    """A mail to oneself is in Sent and in the inbox."""
    return INBOX in message.roles or not (message.roles & NOT_RECEIVED)


def _followed_since(connection: Connection) -> datetime | None:
    """When the mailbox's first cursor was taken: what came before it is history, what came after is news, whether the
    first listing or the changes since brought it."""
    ids = SyncCursor.objects.filter(connection=connection, type="email").order_by("id").values_list("pk", flat=True)
    first = ids.first()
    return None if first is None else made_at(first) - CLOCKS_DIFFER


def _updates(connection: Connection, **ids: Sequence[uuid.UUID]) -> Iterator[NewEvent]:
    """One event for all, or several where there are many."""
    longest = max(map(len, ids.values()))
    for start in range(0, longest, IDS_PER_EVENT):
        part = {name: [str(i) for i in some[start : start + IDS_PER_EVENT]] for name, some in ids.items()}
        yield _event(connection, EventType.EMAIL_UPDATED, **{name: some for name, some in part.items() if some})


def _event(connection: Connection, type: str, **payload: object) -> NewEvent:
    return NewEvent(type, connection.workspace_id, connection.pk, connection.user_id, payload)
