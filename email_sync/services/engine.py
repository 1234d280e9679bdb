"""The mail side of a sync run: what `settings.SYNC_ENGINES["email"]` names.

One slice of a run: send local changes, catch up every stream from its cursor, then go on with the first sync (inbox
newest first, then sent, then the rest). Per page: ask the provider (no transaction is open) → one transaction in which
the fence is proved, rows are written and the cursor moves. So a kill at any point repeats a page and loses nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connection as database
from django.db import transaction
from django.db.models import QuerySet, Sum
from django.db.models.functions import Greatest

from core.errors import CursorExpired, ProviderError, ProviderRejected, ProviderUnavailable, RemoteMissing
from email_sync.models import Folder
from email_sync.providers import MAIL_PROVIDERS
from email_sync.providers.base import MailProvider
from email_sync.records import IdPage, RemoteFolder, RemoteState, Stream
from email_sync.services import changes, salvage, store
from email_sync.services.accounts import with_mailbox
from email_sync.services.fetching import Brought, bring, prepare
from email_sync.services.reconcile import compare, guard_removal
from email_sync.services.store import Incoming, Written
from integrations.models import Connection, SyncCursor, SyncRun
from integrations.services.sync_runs import ACCEPT_REMOVALS, LEASE_SECONDS

logger = logging.getLogger("patchbay.sync")

FIRST_PAGE = 50
"""The first page is small, so that the newest mail is readable within seconds."""
PAGE = 200
HOLD_AGAIN_SECONDS = 20.0
"""While a page is fetched, the lease is extended this often."""


class EmailEngine:
    """Syncs the mail of one connection."""

    key = "email"

    @classmethod
    def supports(cls, provider: str) -> bool:
        return provider in MAIL_PROVIDERS

    def run(self, run: SyncRun, *, deadline: float) -> bool:
        """One slice; True while there is more."""
        return with_mailbox(run.connection, lambda mailbox: MailboxSync(run, mailbox, deadline).work())


class MailboxSync:
    """One slice of one run over one open mailbox."""

    def __init__(self, run: SyncRun, mailbox: MailProvider, deadline: float) -> None:
        self.run = run
        self.connection: Connection = run.connection
        self.mailbox = mailbox
        self.deadline = deadline
        self.cursors: dict[str, SyncCursor] = {}
        self.held_at = time.monotonic()
        self.refused: dict[str, ProviderError] = {}

    def work(self) -> bool:
        changes.push(self.connection, self.mailbox)
        streams = self._streams()
        for step in (self._catch_up, self._backfill):
            for stream in streams:
                if self._try(step, stream):
                    return True
        if self.refused and len(self.refused) >= len(streams):
            raise next(iter(self.refused.values()))
        return self._drop_vanished({stream.key for stream in streams} | self.refused.keys())

    def _try(self, step: Callable[[Stream], bool], stream: Stream) -> bool:
        """A folder that refuses, or went between listing and asking, does not keep the others from syncing."""
        try:
            return stream.key not in self.refused and step(stream)
        except (ProviderRejected, RemoteMissing) as error:
            logger.warning("a folder of connection %s refused: %s", self.connection.pk, error.message)
            self.refused[stream.key] = error
            return False

    # --- streams ----------------------------------------------------------------------------------------------

    def _streams(self) -> list[Stream]:
        """The streams of the mailbox, each with its cursor row. A new stream's cursor is taken before anything is
        listed, so that nothing falls between the listing and the first changes."""
        folders = store.storable(self.mailbox.folders())
        streams = self.mailbox.streams(folders)
        if not streams:
            raise ProviderUnavailable("The provider listed no folders.")
        self.cursors = {row.stream: row for row in self._cursor_rows()}
        fresh: dict[str, str] = {}
        for stream in streams:
            if stream.key not in self.cursors:
                self._try(lambda s: bool(fresh.update({s.key: self.mailbox.start_cursor(s)})), stream)
        with transaction.atomic():
            self._hold()
            self._store_folders(folders)
            for key, cursor in fresh.items():
                self.cursors[key] = SyncCursor.objects.create(
                    connection=self.connection, type=self.run.type, stream=key, cursor=cursor
                )
        return streams

    def _cursor_rows(self) -> QuerySet[SyncCursor]:
        return SyncCursor.objects.filter(connection=self.connection, type=self.run.type)

    def _store_folders(self, folders: Sequence[RemoteFolder]) -> None:
        rows = [Folder(connection=self.connection, remote_id=f.remote_id, name=f.name, role=f.role) for f in folders]
        Folder.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["connection", "remote_id"], update_fields=["name", "role"]
        )
        Folder.objects.filter(connection=self.connection).exclude(remote_id__in=[f.remote_id for f in folders]).delete()

    def _drop_vanished(self, keys: set[str]) -> bool:
        """A folder that is gone takes its messages along, unless that would be a suspicious share of the mailbox. It
        comes last: what is under another folder by now was renamed or moved, and keeps its rows."""
        vanished = sorted(set(self.cursors) - keys)
        lost = store.unseen_elsewhere(self.connection, vanished)
        for key in vanished:
            if not self._may_remove(self.cursors[key], lost, stream=""):
                continue
            while stored := store.ids_of(self.connection, key, PAGE * 5):
                self._write(Stream(key), [], removed=stored, removed_cause="absent")
                if self._out_of_time():
                    return True
            with transaction.atomic():
                self._hold()
                self.cursors.pop(key).delete()
        return False

    # --- incremental ------------------------------------------------------------------------------------------

    def _catch_up(self, stream: Stream) -> bool:
        """Everything since the stream's cursor. True where the slice ended before the end."""
        cursor = self.cursors[stream.key]
        while True:
            if cursor.reconcile or (cursor.held_reason and self.run.trigger == ACCEPT_REMOVALS):
                return self._reconcile(stream, cursor)
            try:
                page = self.mailbox.changes(stream, cursor.cursor)
            except CursorExpired:
                with transaction.atomic():
                    self._hold()
                    self._move(cursor, {"reconcile": True})
                continue
            if page.removed and not self._may_remove(cursor, len(page.removed)):
                page = replace(page, removed=())
            self._write_changes(stream, cursor, page.added, page.updated, page.removed, page.cursor)
            if not page.more:
                return False
            if self._out_of_time():
                return True

    def _write_changes(
        self,
        stream: Stream,
        cursor: SyncCursor,
        added: Sequence[str],
        updated: Sequence[RemoteState],
        removed: Sequence[str],
        next_cursor: str,
    ) -> None:
        """The cursor moves with the last chunk; a kill before it repeats the page, which changes nothing twice."""
        chunks = [added[i : i + PAGE] for i in range(0, len(added), PAGE)] or [()]
        missing = self._unknown(updated)
        for chunk in chunks[:-1]:
            self._write(stream, self._fetch(stream, chunk))
        last = self._fetch(stream, [*chunks[-1], *missing])
        here = {*added, *(state.remote_id for state in updated)}
        removed = [remote_id for remote_id in removed if remote_id not in here]
        fetched = set(missing)
        known = [state for state in updated if state.remote_id not in fetched]
        while len(known) + len(removed) > PAGE * 10:  # "mark all as read" of a large folder, or a folder emptied
            self._write(stream, [], updated=known[: PAGE * 5], removed=removed[: PAGE * 5])
            known, removed = known[PAGE * 5 :], removed[PAGE * 5 :]
        if last or known or removed or next_cursor != cursor.cursor:
            self._write(stream, last, updated=known, removed=removed, cursor=cursor, columns={"cursor": next_cursor})

    def _unknown(self, states: Sequence[RemoteState]) -> list[str]:
        """Changed messages that are not stored: older than the backfill has come, or missed. They are fetched."""
        ids = [state.remote_id for state in states]
        stored = store.stored_ids(self.connection, ids)
        return [remote_id for remote_id in ids if remote_id not in stored]

    # --- first sync -------------------------------------------------------------------------------------------

    def _backfill(self, stream: Stream) -> bool:
        """Page by page, newest first. While one is written, the next is fetched and parsed by a second thread."""
        cursor = self.cursors[stream.key]
        if cursor.backfill_done:
            return False
        prepare()
        page = self._list(stream, cursor.backfill_token)
        messages = self._fetch(stream, page.remote_ids)
        with ThreadPoolExecutor(1, "fetch-ahead") as ahead:
            while page.next_token and not self._out_of_time():
                try:
                    changes.push(self.connection, self.mailbox)
                    following = self._list(stream, page.next_token, under_way=page.remote_ids)
                    coming = ahead.submit(bring, self.mailbox, stream, following.remote_ids)
                finally:  # what is paid for is kept, also where the provider refuses to go on
                    self._write_listed(stream, cursor, page, messages)
                page, messages = following, self._kept(stream, self._awaited(coming))
        self._write_listed(stream, cursor, page, messages)
        return bool(page.next_token)

    def _list(self, stream: Stream, token: str, *, under_way: Sequence[str] = ()) -> IdPage:
        """A page of the listing, without what is stored already or about to be: pages may overlap."""
        limit = PAGE if token or self.run.done else FIRST_PAGE
        try:
            page = self.mailbox.list_ids(stream, token, limit, since=self._since)
        except CursorExpired:
            # The listing's token died (a restart, a new UIDVALIDITY): begin again; what is stored is not fetched twice.
            page = self.mailbox.list_ids(stream, "", limit, since=self._since)
        known = store.stored_ids(self.connection, page.remote_ids) | set(under_way)
        return replace(page, remote_ids=tuple(i for i in page.remote_ids if i not in known))

    def _write_listed(self, stream: Stream, cursor: SyncCursor, page: IdPage, messages: Sequence[Incoming]) -> None:
        listed = cursor.listed + len(messages)
        columns = {"backfill_token": page.next_token, "listed": listed, "backfill_done": not page.next_token}
        columns["total"] = listed if not page.next_token else page.total if page.total is not None else cursor.total
        self._write(stream, messages, cursor=cursor, columns=columns)

    @property
    def _since(self) -> datetime | None:
        """How far back mail is wanted; None is everything."""
        days = settings.MAIL_BACKFILL_DAYS
        return datetime.now(UTC) - timedelta(days=days) if days else None

    # --- reconcile --------------------------------------------------------------------------------------------

    def _reconcile(self, stream: Stream, cursor: SyncCursor) -> bool:
        """The provider lost our cursor: compare everything, fetch what is missing, remove what is gone; the new cursor
        is taken first and committed last. A kill in between begins the comparison again."""
        fresh = self.mailbox.start_cursor(stream)
        states = self._all_states(stream)
        with transaction.atomic():
            self._hold()
            difference = compare(self.connection, stream.key, states)
        for states in difference.known_chunks(PAGE * 5):
            self._write(stream, [], updated=states)
        for ids in difference.missing_chunks(PAGE):
            self._write(stream, [item for item in self._fetch(stream, ids) if self._wanted(item)])
            if self._out_of_time():
                return True
        gone = difference.gone if self._may_remove(cursor, len(difference.gone), compared=True) else []
        for start in range(0, len(gone), PAGE * 5):
            self._write(stream, [], removed=gone[start : start + PAGE * 5], removed_cause="absent")
        columns = {"cursor": fresh, "reconcile": False, "backfill_done": True, "backfill_token": ""}
        self._write(stream, [], cursor=cursor, columns=columns)
        return False

    def _wanted(self, item: Incoming) -> bool:
        """A comparison sees the whole mailbox: what is older than the operator asked for stays out."""
        return self._since is None or item.remote.received_at >= self._since

    def _all_states(self, stream: Stream) -> list[RemoteState]:
        """The whole stream's states; the lease is extended while they come."""
        states: list[RemoteState] = []
        for chunk in self.mailbox.states(stream):
            states += chunk
            self._hold()
        return states

    def _may_remove(self, cursor: SyncCursor, count: int, *, stream: str | None = None, compared: bool = False) -> bool:
        """The brake: a suspicious removal is held, said in the cursor row, and waits for its user's word. Only a whole
        comparison lifts it: a small removal that follows says nothing of the large one."""
        accepted = self.run.trigger == ACCEPT_REMOVALS
        of = cursor.stream if stream is None else stream
        reason = "" if accepted else guard_removal(self.connection, of, count)
        if reason != cursor.held_reason and (reason or compared):
            SyncCursor.objects.filter(pk=cursor.pk).update(held_reason=reason)
            cursor.held_reason = reason
        return not reason

    # --- pages ------------------------------------------------------------------------------------------------

    def _fetch(self, stream: Stream, remote_ids: Sequence[str]) -> list[Incoming]:
        """Fetch and parse."""
        return self._kept(stream, bring(self.mailbox, stream, remote_ids, between=self._hold_if_slow))

    def _awaited(self, coming: Future[Brought]) -> Brought:
        """What the second thread brings. However slow the provider is, the lease is kept meanwhile."""
        while True:
            try:
                return coming.result(timeout=HOLD_AGAIN_SECONDS)
            except TimeoutError:
                if coming.done():
                    raise
                self._hold_on()

    def _kept(self, stream: Stream, brought: Brought) -> list[Incoming]:
        """The messages. Where the provider failed in between, what came is kept and the error goes on up: the same
        page comes again later and does not pay for it twice."""
        if brought.error is not None:
            self._write(stream, brought.messages)
            raise brought.error
        return brought.messages

    def _write(self, stream: Stream, messages: Sequence[Incoming], **page: Any) -> None:
        """A page, as `_write_page` does it, whatever values a message in it has."""
        salvage.write(partial(self._write_page, stream), messages, **page)

    def _write_page(
        self,
        stream: Stream,
        messages: Sequence[Incoming],
        *,
        updated: Sequence[RemoteState] = (),
        removed: Sequence[str] = (),
        removed_cause: str = "deleted",
        cursor: SyncCursor | None = None,
        columns: dict[str, object] | None = None,
    ) -> None:
        """One transaction: fence, rows, cursor, progress. Its commit does not wait for the disk: a crash of the
        database would take rows and cursor back together, and the provider still has them."""
        with transaction.atomic():
            with database.cursor() as statement:
                statement.execute("SET LOCAL synchronous_commit TO OFF")
            self._hold()
            written = store.write_page(
                connection=self.connection,
                stream=stream.key,
                messages=messages,
                updated=updated,
                removed=removed,
                removed_cause=removed_cause,
            )
            if cursor is not None:
                self._move(cursor, columns or {})
            self._count(written)

    def _hold(self) -> None:
        """Before a write: the fence is ours, and the run gets on."""
        self.run.hold(lease_seconds=LEASE_SECONDS, attempts=0)
        self.held_at = time.monotonic()

    def _hold_on(self) -> None:
        """While nothing is written. It is no progress: a worker that dies here again and again still counts as such."""
        self.run.hold(lease_seconds=LEASE_SECONDS)
        self.held_at = time.monotonic()

    def _hold_if_slow(self) -> None:
        if time.monotonic() - self.held_at > HOLD_AGAIN_SECONDS:
            self._hold_on()

    def _move(self, cursor: SyncCursor, columns: dict[str, object]) -> None:
        for name, value in columns.items():
            setattr(cursor, name, value)
        cursor.save(update_fields=[*columns, "updated_at"])

    def _count(self, written: Written) -> None:
        """Progress of the run: the whole first sync, over all streams."""
        figures = self._cursor_rows().aggregate(done=Sum("listed"), total=Sum(Greatest("total", "listed")))
        self.run.added += written.added
        self.run.changed += written.changed
        self.run.removed += written.removed
        self.run.done, self.run.total = figures["done"] or 0, figures["total"]
        self.run.save(update_fields=["added", "changed", "removed", "done", "total"])

    def _out_of_time(self) -> bool:
        return time.monotonic() >= self.deadline
