"""Local changes: what a user does to a message shows at once and follows to the provider in order.

`change` is called by the API and writes the row and the queue entry in one transaction. `push` is called by the engine,
which holds the connection's lease, before it asks the provider for anything: so an incoming sync never undoes a change
under way, and two workers never push the same one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import groupby

from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.db.models.functions import Now

from core.errors import Conflict, HubError, ProviderAuthError, ProviderRateLimited, ProviderUnavailable, RemoteMissing
from email_sync.models import ChangeKind, ChangeStatus, LocalChange, Message
from email_sync.providers.base import MailProvider
from email_sync.records import RemoteState
from email_sync.services import store, threads
from integrations.models import Connection, SyncRun

logger = logging.getLogger("patchbay.sync")

PUSH_BATCH = 200


def change(*, message: Message, kind: ChangeKind, value: bool | None) -> Message:
    """Set a flag of a message, or toggle it where `value` is None. Answers the message as it now is.

    Conflict where the provider no longer has the message, or its account is disconnected.
    """
    if message.connection.disconnected_at is not None:
        raise Conflict("This account was disconnected. Connect it again first.", code="disconnected")
    with transaction.atomic():
        message = Message.objects.select_for_update().get(pk=message.pk)
        if message.removed_at is not None:
            raise Conflict("The provider no longer has this email.", code="removed")
        wanted = (not _current(message, kind)) if value is None else value
        if wanted != _current(message, kind):
            _set(message, kind, wanted)
            _enqueue(message, kind, wanted)
            threads.recount({message.thread_id})
    return message


def _current(message: Message, kind: ChangeKind) -> bool:
    columns = {ChangeKind.READ: "is_read", ChangeKind.STARRED: "is_starred", ChangeKind.ARCHIVED: "in_archive"}
    return bool(getattr(message, columns[kind]))


def _set(message: Message, kind: ChangeKind, value: bool) -> None:
    if kind == ChangeKind.READ:
        message.is_read = value
    elif kind == ChangeKind.STARRED:
        message.is_starred = value
    else:
        message.in_archive, message.in_inbox = value, not value
    message.save(update_fields=["is_read", "is_starred", "in_archive", "in_inbox", "updated_at"])


def _enqueue(message: Message, kind: ChangeKind, value: bool) -> None:
    """Coalesced: a second click before the provider has the first changes the entry, under a new version."""
    pending = LocalChange.objects.filter(message=message, kind=kind, status=ChangeStatus.PENDING)
    if not pending.update(value=value, version=F("version") + 1, attempts=0):
        LocalChange.objects.create(connection_id=message.connection_id, message=message, kind=kind, value=value)


def push(connection: Connection, mailbox: MailProvider) -> None:
    """Send what is pending, oldest first. What the provider refuses is marked with its words and does not stop the
    rest; what it cannot take now (away, throttled, credential) stays pending and ends the push with that error."""
    pending = LocalChange.objects.filter(connection=connection, status=ChangeStatus.PENDING)
    queue = list(pending.select_related("message").order_by("id")[:PUSH_BATCH])
    for (kind, value), group in groupby(queue, key=lambda entry: (entry.kind, entry.value)):
        _push_group(mailbox, ChangeKind(kind), value, list(group))


def _push_group(mailbox: MailProvider, kind: ChangeKind, value: bool, group: Sequence[LocalChange]) -> None:
    if kind == ChangeKind.ARCHIVED:
        for entry in group:
            _attempt([entry], lambda entry=entry: _archive(mailbox, entry, value))
        return
    ids = [entry.message.remote_id for entry in group if entry.message.removed_at is None]
    flags = {"read": value} if kind == ChangeKind.READ else {"starred": value}
    _attempt(group, lambda: mailbox.set_flags(ids, **flags))


def _attempt(entries: Sequence[LocalChange], call: object) -> None:
    try:
        call()  # type: ignore[operator]
    except (ProviderUnavailable, ProviderRateLimited, ProviderAuthError):
        LocalChange.objects.filter(pk__in=[entry.pk for entry in entries]).update(attempts=F("attempts") + 1)
        raise
    except HubError as error:
        _settle(entries, ChangeStatus.FAILED, error.message)
    else:
        _settle(entries, ChangeStatus.DONE, "")


def _archive(mailbox: MailProvider, entry: LocalChange, value: bool) -> None:
    """A move may give the message a new remote id: the row follows at once, in a transaction of its own."""
    try:
        state = mailbox.set_archived(entry.message.remote_id, value)
    except RemoteMissing:
        return  # moved or deleted elsewhere meanwhile: the next changes tell
    if state is not None:
        _follow(entry.message, state)


def _follow(message: Message, state: RemoteState) -> None:
    with transaction.atomic():
        row = Message.objects.select_for_update().get(pk=message.pk)
        if row.remote_id != state.remote_id or list(state.folder_ids) != row.folder_ids:
            stream = state.folder_ids[0] if row.stream in row.folder_ids and state.folder_ids else row.stream
            store.move_row(row, stream, state)


def _settle(entries: Sequence[LocalChange], status: ChangeStatus, words: str) -> None:
    """Only the version that was carried is settled: a click made meanwhile stays pending."""
    for entry in entries:
        with transaction.atomic():
            carried = LocalChange.objects.filter(pk=entry.pk, version=entry.version, status=ChangeStatus.PENDING)
            if status == ChangeStatus.FAILED and carried.exists():
                _undo(entry)
            carried.update(status=status, error_message=words, settled_at=Now(), attempts=F("attempts") + 1)
    if status == ChangeStatus.FAILED:
        logger.warning("the provider refused %d changes: %s", len(entries), words)


def _undo(entry: LocalChange) -> None:
    """The provider refused: the message shows again what the provider has."""
    message = Message.objects.select_for_update().get(pk=entry.message_id)
    if message.removed_at is None and _current(message, ChangeKind(entry.kind)) == entry.value:
        _set(message, ChangeKind(entry.kind), not entry.value)
        threads.recount({message.thread_id})


def unattended(limit: int = 500) -> list[Connection]:
    """Connections whose changes wait while no sync of theirs is under way (a click came as the last run ended)."""
    pending = LocalChange.objects.filter(connection=OuterRef("pk"), status=ChangeStatus.PENDING)
    under_way = SyncRun.objects.active().filter(connection=OuterRef("pk"), type="email")
    return list(Connection.objects.syncing().filter(Exists(pending), ~Exists(under_way))[:limit])
