"""Local changes: what a user does to a message shows at once and follows to the provider in order.

`change` is called by the API and writes the row and the queue entry in one transaction. `push` is called by the engine,
which holds the connection's lease, before it asks the provider for anything: so an incoming sync never undoes a change
under way, and two workers never push the same one.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import groupby

from django.db import DatabaseError, transaction
from django.db import connection as database
from django.db.models import DurationField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from core.errors import (
    Conflict,
    HubError,
    LeaseLost,
    ProviderAuthError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    RemoteMissing,
)
from email_sync.models import ChangeKind, ChangeStatus, Folder, LocalChange, Message
from email_sync.providers.base import MailProvider
from email_sync.records import INBOX, RemoteState
from email_sync.scope import is_imported
from email_sync.services import store, telling, threads
from email_sync.services.locking import one_writer
from integrations.models import Connection, SyncRun, SyncState

logger = logging.getLogger("patchbay.sync")

PUSH_BATCH = 200
PUSH_SECONDS = 20.0
"""Longer is not pushed at a time: the rest is carried by the next run, so that mail comes in meanwhile."""
Hold = Callable[[], None]
NOT_MET = "The provider does not have this email under the id it gave."
BROKE = "This broke on our side; the log says where."
MAX_ATTEMPTS = 40
"""Of a change whose call is never answered: with the growing waits about a day."""


def change(*, message: Message, kind: ChangeKind, value: bool | None) -> Message:
    """Set a flag of a message, or toggle it where `value` is None. Answers the message as it now is.

    Conflict where the provider no longer has the message, or its account is disconnected.
    """
    connection = message.connection
    if connection.disconnected_at is not None:
        raise disconnected()
    with transaction.atomic():
        one_writer(message.connection_id)
        message = Message.objects.select_for_update().get(pk=message.pk)
        if message.removed_at is not None:
            raise removed()
        wanted = (not current(message, kind)) if value is None else value
        if wanted != current(message, kind):
            _set(message, kind, wanted)
            _enqueue(message, kind, wanted)
            threads.recount({message.thread_id})
            telling.changed(connection, [message.pk])
    return message


def disconnected() -> Conflict:
    """The account gives and takes nothing any more."""
    return Conflict("This account was disconnected. Connect it again first.", code="disconnected")


def removed() -> Conflict:
    """The message is only kept for its grace period."""
    return Conflict("The provider no longer has this email.", code="removed")


def columns_of(kind: ChangeKind, value: bool) -> dict[str, bool]:
    """The columns a change sets; the first is the one it is known by."""
    if kind == ChangeKind.ARCHIVED:
        return {"in_archive": value, "in_inbox": not value}
    return {"is_read" if kind == ChangeKind.READ else "is_starred": value}


def current(message: Message, kind: ChangeKind) -> bool:
    """What the message shows now."""
    return bool(getattr(message, next(iter(columns_of(kind, True)))))


def _set(message: Message, kind: ChangeKind, value: bool) -> None:
    for name, wanted in columns_of(kind, value).items():
        setattr(message, name, wanted)
    message.save(update_fields=["is_read", "is_starred", "in_archive", "in_inbox", "updated_at"])


def _enqueue(message: Message, kind: ChangeKind, value: bool) -> None:
    """Coalesced: a second click before the provider has the first changes the entry, under a new version; the waits
    between its attempts begin anew. Imported mail is nobody's but ours: no provider hears of it."""
    if is_imported(message.remote_id):
        return
    pending = LocalChange.objects.filter(message=message, kind=kind, status=ChangeStatus.PENDING)
    if not pending.update(value=value, version=F("version") + 1, attempts=0, created_at=Now()):
        LocalChange.objects.create(connection_id=message.connection_id, message=message, kind=kind, value=value)


def _due(**which: object) -> QuerySet[LocalChange]:
    """Pending changes to try now. One that did not work waits a minute, then 4, 9, 16 …: a call the provider never
    answers must cost neither the mailbox nor the other changes anything."""
    wait = ExpressionWrapper(F("attempts") * F("attempts") * timedelta(minutes=1), DurationField())
    pending = LocalChange.objects.filter(status=ChangeStatus.PENDING, **which)
    return pending.filter(Q(attempts=0) | Q(created_at__lt=Now() - wait))


def are_due(connection: Connection) -> bool:
    """Whether `push` has anything to send now."""
    return _due(connection=connection).exists()


def push(connection: Connection, mailbox: MailProvider, *, hold: Hold = lambda: None) -> None:
    """Send what is pending, oldest first, those that failed before last and one by one. What the provider refuses is
    marked with its words; where it is away the rest stays pending. Throttled, or the credential refused: raises.

    `hold` proves that the mailbox is still the caller's (LeaseLost where not): before every call and in every
    transaction that writes what came of it."""
    pusher = _Pusher(connection, mailbox, hold)
    until = time.monotonic() + PUSH_SECONDS
    queue = list(_due(connection=connection).order_by("attempts", "id")[:PUSH_BATCH])
    try:
        while queue:
            for (kind, value, _), group in groupby(queue, key=lambda c: (c.kind, c.value, c.attempts and c.pk)):
                pusher.carry(ChangeKind(kind), value, list(group))
            queue = _after(queue, connection) if time.monotonic() < until else []
    except ProviderUnavailable as error:
        logger.info("changes of connection %s wait: %s", connection.pk, error.message)


def _after(queue: Sequence[LocalChange], connection: Connection) -> list[LocalChange]:
    """What comes next where a batch was full. What was tried in this push, and what failed before, has its turn in
    another."""
    fresh = [entry.pk for entry in queue if not entry.attempts]
    if len(fresh) < PUSH_BATCH:
        return []
    return list(_due(connection=connection, attempts=0, pk__gt=fresh[-1]).order_by("id")[:PUSH_BATCH])


@dataclass(frozen=True, slots=True)
class _Pusher:
    """Carries changes of one mailbox."""

    connection: Connection
    mailbox: MailProvider
    hold: Hold

    def carry(self, kind: ChangeKind, value: bool, group: Sequence[LocalChange]) -> None:
        """Flags of many messages are one call; where it is refused, one call each tells which of them it was."""
        if kind == ChangeKind.ARCHIVED:
            for entry in group:
                self._attempt([entry], partial(self._archive, entry, value))
            return
        flags = {"read": value} if kind == ChangeKind.READ else {"starred": value}
        try:
            self._attempt(group, partial(self._flag, group, flags))
        except ProviderRejected:
            for entry in group:
                self._attempt([entry], partial(self._flag, [entry], flags))

    def _attempt(self, entries: Sequence[LocalChange], call: Callable[[], set[uuid.UUID]]) -> None:
        """One call and what comes of it. ProviderRejected of several goes on up: the caller finds out whose it is."""
        self.hold()
        try:
            met = call()
        except (ProviderRateLimited, ProviderAuthError, LeaseLost, DatabaseError):
            raise
        except ProviderUnavailable as error:
            self._count(entries, error.message)
            raise
        except RemoteMissing:
            self._settle_met(entries, set())
        except HubError as error:
            if len(entries) > 1:
                raise ProviderRejected(error.message) from error
            self._fail(entries, error.message)
        except Exception:
            logger.exception("%d changes of connection %s broke", len(entries), self.connection.pk)
            self._count(entries, BROKE)
        else:
            self._settle_met(entries, met)

    def _flag(self, group: Sequence[LocalChange], flags: dict[str, bool]) -> set[uuid.UUID]:
        """Under the ids the messages have now: an archive just before in the queue may have changed them. Answers the
        messages that the provider has under these ids."""
        rows = Message.objects.present().filter(pk__in=[entry.message_id for entry in group]).order_by("id")
        ids = dict(rows.values_list("remote_id", "pk"))
        met = self.mailbox.set_flags(list(ids), **flags) if ids else ()
        return {ids[remote_id] for remote_id in met}

    def _archive(self, entry: LocalChange, value: bool) -> set[uuid.UUID]:
        """A move may give the message a new remote id: the row follows at once, in a transaction of its own."""
        message = Message.objects.get(pk=entry.message_id)
        if message.removed_at is not None:
            raise RemoteMissing
        state = self.mailbox.set_archived(message.remote_id, value)
        if state is not None:
            self._follow(message, state)
        return {message.pk}

    def _follow(self, message: Message, state: RemoteState) -> None:
        """Where another row has that id by now, the next changes put the two together."""
        with transaction.atomic():
            self.hold()
            one_writer(message.connection_id)
            row = Message.objects.select_for_update().get(pk=message.pk)
            same = Message.objects.filter(connection=row.connection_id, remote_id=state.remote_id)
            if same.exclude(pk=row.pk).exists():
                return
            if row.remote_id != state.remote_id or list(state.folder_ids) != row.folder_ids:
                stream = state.folder_ids[0] if row.stream in row.folder_ids and state.folder_ids else row.stream
                store.move_row(row, stream, state)

    # --- what came of it --------------------------------------------------------------------------------------

    def _settle_met(self, entries: Sequence[LocalChange], met: set[uuid.UUID]) -> None:
        """Done where the provider met the message, and where it is known to be gone. The others may be under new ids
        (a new UIDVALIDITY, a move elsewhere): they wait for the sync that finds them."""
        left = [entry for entry in entries if entry.message_id not in met]
        present = Message.objects.present().filter(pk__in=[entry.message_id for entry in left])
        lost = set(present.values_list("pk", flat=True))
        self._done([e for e in entries if e.message_id not in lost])
        self._count([e for e in left if e.message_id in lost], NOT_MET)

    def _count(self, entries: Sequence[LocalChange], words: str) -> None:
        """Nothing came of it: later again, until it was tried for a day."""
        with transaction.atomic():
            self.hold()
            for entry in entries:
                LocalChange.objects.filter(pk=entry.pk, version=entry.version).update(attempts=F("attempts") + 1)
        self._fail([e for e in entries if e.attempts + 1 >= MAX_ATTEMPTS], words)

    def _fail(self, entries: Sequence[LocalChange], words: str) -> None:
        """The provider refused: each message shows again what the provider has. Only the version that was carried is
        settled: a click made meanwhile stays pending."""
        for entry in entries:
            with transaction.atomic():
                self.hold()
                one_writer(entry.connection_id)  # nobody clicks between the look at the version and the undoing
                message = Message.objects.select_for_update().get(pk=entry.message_id)
                carried = LocalChange.objects.filter(pk=entry.pk, version=entry.version, status=ChangeStatus.PENDING)
                if carried.update(
                    status=ChangeStatus.FAILED, error_message=words, settled_at=Now(), attempts=F("attempts") + 1
                ):
                    _undo(message, entry)
        if entries:
            logger.warning("the provider refused %d changes: %s", len(entries), words)

    def _done(self, entries: Sequence[LocalChange]) -> None:
        """The provider has them: one statement for all, by the version that was carried, and word to those who
        look."""
        if not entries:
            return
        with transaction.atomic():
            self.hold()
            one_writer(self.connection.pk)
            with database.cursor() as cursor:
                cursor.execute(DONE, [[entry.pk for entry in entries], [entry.version for entry in entries]])
                settled = [row[0] for row in cursor.fetchall()]
            telling.changed(self.connection, settled)


DONE = """
    UPDATE email_sync_localchange AS waiting
    SET status = 'done', error_message = '', settled_at = now(), attempts = waiting.attempts + 1
    FROM unnest(%s::bigint[], %s::int[]) AS carried (id, version)
    WHERE waiting.id = carried.id AND waiting.version = carried.version AND waiting.status = 'pending'
    RETURNING waiting.message_id
"""


def _undo(message: Message, entry: LocalChange) -> None:
    """The provider refused: the message shows again what the provider has."""
    kind = ChangeKind(entry.kind)
    if message.removed_at is not None or current(message, kind) != entry.value:
        return
    if kind == ChangeKind.ARCHIVED:
        held = Folder.objects.filter(connection=message.connection_id, remote_id__in=message.folder_ids)
        roles = set(held.values_list("role", flat=True))
        message.in_inbox, message.in_archive = INBOX in roles, not entry.value
        message.save(update_fields=["in_inbox", "in_archive", "updated_at"])
    else:
        _set(message, kind, not entry.value)
    threads.recount({message.thread_id})
    telling.changed(message.connection, [message.pk])


def unattended(limit: int = 500) -> list[Connection]:
    """Connections whose changes wait while no sync of theirs is under way (a click came as the last run ended)."""
    under_way = SyncRun.objects.active().filter(connection=OuterRef("pk"), type="email")
    failing = SyncState.objects.filter(
        connection=OuterRef("pk"), type="email", failures__gt=0, next_sync_at__gt=Now()
    )  # the schedule backs off from it; clicks must not undo that
    waiting = Connection.objects.syncing().filter(sync_email=True)
    pending = _due(connection=OuterRef("pk"))
    return list(waiting.filter(Exists(pending), ~Exists(under_way), ~Exists(failing))[:limit])
