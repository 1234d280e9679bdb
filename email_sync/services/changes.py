"""Local changes: what a user does to a message shows at once and follows to the provider in order.

`change` is called by the API and writes the row and the queue entry in one transaction. `push` is called by the engine,
which holds the connection's lease, before it asks the provider for anything: so an incoming sync never undoes a change
under way, and two workers never push the same one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from itertools import groupby

from django.db import transaction
from django.db.models import DurationField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from core.errors import (
    Conflict,
    HubError,
    ProviderAuthError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    RemoteMissing,
)
from email_sync.models import ChangeKind, ChangeStatus, Folder, LocalChange, Message
from email_sync.providers.base import MailProvider
from email_sync.records import INBOX, RemoteState
from email_sync.services import store, threads
from email_sync.services.locking import one_writer
from integrations.models import Connection, SyncRun, SyncState

logger = logging.getLogger("patchbay.sync")

PUSH_BATCH = 200
MAX_ATTEMPTS = 40
"""Of a change whose call is never answered: with the growing waits about a day."""


def change(*, message: Message, kind: ChangeKind, value: bool | None) -> Message:
    """Set a flag of a message, or toggle it where `value` is None. Answers the message as it now is.

    Conflict where the provider no longer has the message, or its account is disconnected.
    """
    if message.connection.disconnected_at is not None:
        raise Conflict("This account was disconnected. Connect it again first.", code="disconnected")
    with transaction.atomic():
        one_writer(message.connection_id)
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
    """Coalesced: a second click before the provider has the first changes the entry, under a new version; the waits
    between its attempts begin anew."""
    pending = LocalChange.objects.filter(message=message, kind=kind, status=ChangeStatus.PENDING)
    if not pending.update(value=value, version=F("version") + 1, attempts=0, created_at=Now()):
        LocalChange.objects.create(connection_id=message.connection_id, message=message, kind=kind, value=value)


def _due(**which: object) -> QuerySet[LocalChange]:
    """Pending changes to try now. One that did not work waits a minute, then 4, 9, 16 …: a call the provider never
    answers must cost neither the mailbox nor the other changes anything."""
    wait = ExpressionWrapper(F("attempts") * F("attempts") * timedelta(minutes=1), DurationField())
    pending = LocalChange.objects.filter(status=ChangeStatus.PENDING, **which)
    return pending.filter(Q(attempts=0) | Q(created_at__lt=Now() - wait))


def push(connection: Connection, mailbox: MailProvider) -> None:
    """Send what is pending, oldest first, those that failed before last and one by one. What the provider refuses is
    marked with its words; where it is away the rest stays pending. Throttled, or the credential refused: raises."""
    queue = list(_due(connection=connection).order_by("attempts", "id")[:PUSH_BATCH])
    try:
        for (kind, value, _), group in groupby(queue, key=lambda c: (c.kind, c.value, c.attempts and c.pk)):
            _push_group(mailbox, ChangeKind(kind), value, list(group))
    except ProviderUnavailable as error:
        logger.info("changes of connection %s wait: %s", connection.pk, error.message)


def _push_group(mailbox: MailProvider, kind: ChangeKind, value: bool, group: Sequence[LocalChange]) -> None:
    """Flags of many messages are one call; where it is refused, one call each tells which of them it was."""
    if kind == ChangeKind.ARCHIVED:
        for entry in group:
            _attempt([entry], partial(_archive, mailbox, entry, value))
        return
    flags = {"read": value} if kind == ChangeKind.READ else {"starred": value}
    try:
        _attempt(group, partial(_flag, mailbox, group, flags))
    except ProviderRejected:
        for entry in group:
            _attempt([entry], partial(_flag, mailbox, [entry], flags))


def _attempt(entries: Sequence[LocalChange], call: Callable[[], None]) -> None:
    """One call and what comes of it. ProviderRejected of several goes on up: the caller finds out whose it is."""
    try:
        call()
    except (ProviderRateLimited, ProviderAuthError):
        raise
    except ProviderUnavailable as error:
        _count(entries, error)
        raise
    except RemoteMissing:  # moved or deleted elsewhere meanwhile: the next changes tell
        _settle(entries, ChangeStatus.DONE, "")
    except HubError as error:
        if len(entries) > 1:
            raise ProviderRejected(error.message) from error
        _settle(entries, ChangeStatus.FAILED, error.message)
    else:
        _settle(entries, ChangeStatus.DONE, "")


def _count(entries: Sequence[LocalChange], error: HubError) -> None:
    """Nothing came of it: later again, until it was tried for a day."""
    for entry in entries:
        LocalChange.objects.filter(pk=entry.pk, version=entry.version).update(attempts=F("attempts") + 1)
    _settle([entry for entry in entries if entry.attempts + 1 >= MAX_ATTEMPTS], ChangeStatus.FAILED, error.message)


def _flag(mailbox: MailProvider, group: Sequence[LocalChange], flags: dict[str, bool]) -> None:
    """Under the ids the messages have now: an archive just before in the queue may have changed them."""
    rows = Message.objects.present().filter(pk__in=[entry.message_id for entry in group])
    if ids := list(rows.order_by("id").values_list("remote_id", flat=True)):
        mailbox.set_flags(ids, **flags)


def _archive(mailbox: MailProvider, entry: LocalChange, value: bool) -> None:
    """A move may give the message a new remote id: the row follows at once, in a transaction of its own."""
    message = Message.objects.get(pk=entry.message_id)
    if message.removed_at is not None:
        raise RemoteMissing
    state = mailbox.set_archived(message.remote_id, value)
    if state is not None:
        _follow(message, state)


def _follow(message: Message, state: RemoteState) -> None:
    """Where another row has that id by now, the next changes put the two together."""
    with transaction.atomic():
        one_writer(message.connection_id)
        row = Message.objects.select_for_update().get(pk=message.pk)
        same = Message.objects.filter(connection=row.connection_id, remote_id=state.remote_id)
        if same.exclude(pk=row.pk).exists():
            return
        if row.remote_id != state.remote_id or list(state.folder_ids) != row.folder_ids:
            stream = state.folder_ids[0] if row.stream in row.folder_ids and state.folder_ids else row.stream
            store.move_row(row, stream, state)


def _settle(entries: Sequence[LocalChange], status: ChangeStatus, words: str) -> None:
    """Only the version that was carried is settled: a click made meanwhile stays pending."""
    for entry in entries:
        with transaction.atomic():
            one_writer(entry.connection_id)  # nobody clicks between the look at the version and the undoing
            message = Message.objects.select_for_update().get(pk=entry.message_id)
            carried = LocalChange.objects.filter(pk=entry.pk, version=entry.version, status=ChangeStatus.PENDING)
            settled = carried.update(status=status, error_message=words, settled_at=Now(), attempts=F("attempts") + 1)
            if settled and status == ChangeStatus.FAILED:
                _undo(message, entry)
    if entries and status == ChangeStatus.FAILED:
        logger.warning("the provider refused %d changes: %s", len(entries), words)


def _undo(message: Message, entry: LocalChange) -> None:
    """The provider refused: the message shows again what the provider has."""
    kind = ChangeKind(entry.kind)
    if message.removed_at is not None or _current(message, kind) != entry.value:
        return
    if kind == ChangeKind.ARCHIVED:
        held = Folder.objects.filter(connection=message.connection_id, remote_id__in=message.folder_ids)
        roles = set(held.values_list("role", flat=True))
        message.in_inbox, message.in_archive = INBOX in roles, not entry.value
        message.save(update_fields=["in_inbox", "in_archive", "updated_at"])
    else:
        _set(message, kind, not entry.value)
    threads.recount({message.thread_id})


def unattended(limit: int = 500) -> list[Connection]:
    """Connections whose changes wait while no sync of theirs is under way (a click came as the last run ended)."""
    under_way = SyncRun.objects.active().filter(connection=OuterRef("pk"), type="email")
    failing = SyncState.objects.filter(
        connection=OuterRef("pk"), type="email", failures__gt=0, next_sync_at__gt=Now()
    )  # the schedule backs off from it; clicks must not undo that
    waiting = Connection.objects.syncing().filter(sync_email=True)
    pending = _due(connection=OuterRef("pk"))
    return list(waiting.filter(Exists(pending), ~Exists(under_way), ~Exists(failing))[:limit])
