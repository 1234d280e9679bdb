"""The mail side of a sync run: what `settings.SYNC_ENGINES["email"]` names.

One slice of a run: send local changes, catch up every stream from its cursor, then go on with the first sync (the
newest of the inbox, mail of people the workspace knows, then the inbox, sent and the rest, newest first), and once a
day compare everything with the provider. Per page: ask the provider (no transaction is open) → one transaction in which
the fence is proved, rows are written and the cursor moves. So a kill at any point repeats a page and loses nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from django.db import transaction
from django.db.models.functions import Now

from core.errors import CursorExpired, ProviderError, ProviderRejected, ProviderUnavailable, RemoteMissing
from email_sync.providers import MAIL_PROVIDERS
from email_sync.providers.base import MailProvider
from email_sync.records import ChangePage, RemoteState, Stream
from email_sync.services import (
    aliases,
    changes,
    coverage,
    draft_refreshing,
    early,
    folder_rows,
    indexing,
    isolating,
    refilling,
    restoring,
    scoping,
    store,
)
from email_sync.services.accounts import with_mailbox
from email_sync.services.ahead import Ahead
from email_sync.services.fetching import prepare
from email_sync.services.garbage import rare_collections
from email_sync.services.pages import PAGE, Pages
from email_sync.services.reconcile import compare, fresh_cursor, guard_removal, ids_of, listed_since, unseen_elsewhere
from integrations.models import SyncCursor, SyncRun
from integrations.services import quota
from integrations.services.sync_runs import ACCEPT_REMOVALS, LEASE_SECONDS

logger = logging.getLogger("patchbay.sync")

MAX_RESYNCS = 3
"""Of a folder within a day, because its cursor was lost; then it waits."""
PARKED = (
    "The provider lost the place in this folder again and again. "
    "It is compared again tomorrow, or when you ask for a sync."
)
BY_ITS_USER = ("user", ACCEPT_REMOVALS)


class EmailEngine:
    """Syncs the mail of one connection."""

    key = "email"

    @classmethod
    def supports(cls, provider: str) -> bool:
        return provider in MAIL_PROVIDERS

    def run(self, run: SyncRun, *, deadline: float) -> bool:
        """One slice; True while there is more. What came is made findable last, also while the provider is away."""
        with rare_collections():
            try:
                more = with_mailbox(
                    run.connection, lambda mailbox: MailboxSync(run, mailbox, deadline).work(), urgent=False
                )
            except ProviderError:
                _index(run, deadline)
                raise
            return more or _index(run, deadline)


def _index(run: SyncRun, deadline: float) -> bool:
    hold = partial(run.hold, lease_seconds=LEASE_SECONDS)
    return indexing.index_waiting(run.connection_id, hold=hold, out_of_time=lambda: time.monotonic() >= deadline)


class MailboxSync(Pages):
    """One slice of one run over one open mailbox."""

    def __init__(self, run: SyncRun, mailbox: MailProvider, deadline: float) -> None:
        super().__init__(run, mailbox, deadline)
        self.refused: dict[str, ProviderError] = {}
        self.wanted: set[str] = set()
        """Keys of the streams that the mailbox's user wants here."""

    def work(self) -> bool:
        """True while there is more to do."""
        self._push()
        aliases.refresh_daily(self.connection, self.mailbox)
        streams = self._streams()
        wanted = [stream for stream in streams if stream.key in self.wanted]
        self._count_ahead(wanted)
        retry = partial(refilling.retry, self)
        steps = (self._begin, self.catch_up, retry, self._bring_known, partial(self._backfill, wanted), self._restore)
        with Ahead(self) as self.ahead:
            for step in steps:
                for stream in wanted:
                    if self._try(step, stream):
                        return True
        if self.refused and len(self.refused) >= len(wanted):
            raise next(iter(self.refused.values()))
        if self._drop_vanished({stream.key for stream in streams} | self.refused.keys()):
            return True
        return self._check(wanted)

    def _check(self, wanted: Sequence[Stream]) -> bool:
        """The comparison with the provider, where it is due: a folder at a time."""
        check = coverage.due(self.connection, self.run.type)
        if check is None:
            return False
        for stream in coverage.unchecked(check, wanted, self.cursors):
            if self._try(partial(coverage.check_stream, self, check), stream) or self.out_of_time():
                return True
        left = [s for s in coverage.unchecked(check, wanted, self.cursors) if s.key not in self.refused]
        if not left:  # else one was renumbered meanwhile: the next run goes on with it
            coverage.end(self, check)
        return False

    def _push(self) -> None:
        with quota.urgently():
            changes.push(self.connection, self.mailbox, hold=self.hold_on)

    def _try(self, step: Callable[[Stream], bool], stream: Stream) -> bool:
        """A folder that refuses, or went between listing and asking, does not keep the others from syncing."""
        try:
            return stream.key not in self.refused and step(stream)
        except (ProviderRejected, RemoteMissing) as error:
            logger.warning("a folder of connection %s refused: %s", self.connection.pk, error.message)
            self.refused[stream.key] = error
            self._note_trouble(stream.key, error.message)
            return False

    def _note_trouble(self, key: str, words: str) -> None:
        """Why a folder does not sync, for its user; "" where it does."""
        cursor = self.cursors.get(key)
        if cursor is not None and cursor.last_error != words:
            with transaction.atomic():
                self.hold_on()
                self.move(cursor, {"last_error": words, "last_error_at": Now() if words else None})

    # --- streams ----------------------------------------------------------------------------------------------

    def _streams(self) -> list[Stream]:
        """The streams of the mailbox, each with its cursor row. A new stream's cursor is taken before anything is
        listed, so that nothing falls between the listing and the first changes."""
        folders = store.storable(self.mailbox.folders())
        streams = self.mailbox.streams(folders)
        if not streams:
            raise ProviderUnavailable("The provider listed no folders.")
        self.cursors = {row.stream: row for row in self.cursor_rows()}
        self.wanted = {stream.key for stream in streams if self.scope.wants_stream(stream, folders, streams)}
        fresh: dict[str, str] = {}
        for stream in streams:
            if stream.key in self.wanted and not self._has_cursor(stream.key):
                self._try(lambda s: bool(fresh.update({s.key: self.mailbox.start_cursor(s)})), stream)
        with transaction.atomic():
            self.hold() if fresh else self.hold_on()
            for key in folder_rows.store(self.connection, folders) & self.cursors.keys():
                self.move(self.cursors[key], {"reconcile": True})
            for stream in streams:
                if stream.key in self.wanted:
                    self._store_cursor(stream, fresh.get(stream.key, ""))
                    self.compare_untold(self.cursors[stream.key])
            self.note_begin()
        return streams

    def _count_ahead(self, wanted: Sequence[Stream]) -> None:
        """How much there is to list, before the first page: a time left needs a whole."""
        cursors = [self.cursors[s.key] for s in wanted if s.key in self.cursors and s.key not in self.refused]
        uncounted = {row.stream for row in cursors if row.total is None and not row.backfill_done}
        if not uncounted:
            return
        totals = self.mailbox.totals([s for s in wanted if s.key in uncounted], since=self.scope.since)
        with transaction.atomic():
            self.hold_on()
            for key in uncounted & totals.keys():
                self.move(self.cursors[key], {"total": totals[key]})
            self._count(store.Written())

    def _has_cursor(self, key: str) -> bool:
        row = self.cursors.get(key)
        return row is not None and bool(row.cursor or row.reconcile)

    def _store_cursor(self, stream: Stream, fresh: str) -> None:
        """A refused stream has a row without a cursor, which says why."""
        row = self.cursors.get(stream.key)
        columns = self.moved_to(fresh, row) | {"name": stream.folder.name if stream.folder else ""}
        if row is None:
            if not fresh:
                columns |= {"last_error": self.refused[stream.key].message, "last_error_at": Now()}
            own = {"connection": self.connection, "type": self.run.type, "stream": stream.key}
            self.cursors[stream.key] = SyncCursor.objects.create(**own, **columns)
        elif fresh or row.name != columns["name"]:
            self.move(row, columns)

    def _drop_vanished(self, keys: set[str]) -> bool:
        """A folder that is gone takes its messages along, unless that would be a suspicious share of the mailbox. It
        comes last: what is under another folder by now was renamed or moved, and keeps its rows."""
        vanished = sorted(set(self.cursors) - keys)
        lost = unseen_elsewhere(self.connection, vanished)
        for key in vanished:
            if not self.may_remove(self.cursors[key], lost, stream=""):
                continue
            while stored := ids_of(self.connection, key, PAGE * 5):
                self.write(Stream(key), [], removed=stored, removed_cause="absent")
                if self.out_of_time():
                    return True
            with transaction.atomic():
                self.hold()
                isolating.forget_stream(self.connection, key)
                self.cursors.pop(key).delete()
        return False

    # --- incremental ------------------------------------------------------------------------------------------

    def catch_up(self, stream: Stream) -> bool:
        """Everything since the stream's cursor. True where the slice ended before the end."""
        cursor = self.cursors[stream.key]
        while True:
            if cursor.reconcile and self._is_parked(cursor):
                return False
            if cursor.reconcile or (cursor.held_reason and self.run.trigger == ACCEPT_REMOVALS):
                return self._reconcile(stream, cursor)
            if self.mailbox.untold(cursor.cursor):
                return False
            try:
                page = self.mailbox.changes(stream, cursor.cursor)
            except CursorExpired:
                self._lose_cursor(cursor)
                continue
            if page.removed and not self.may_remove(cursor, len(page.removed)):
                page = replace(page, removed=())
            self._write_changes(stream, cursor, page)
            if not page.more:
                self._note_trouble(stream.key, "")
                return False
            if self.out_of_time():
                return True

    def _lose_cursor(self, cursor: SyncCursor) -> None:
        """To be reconciled. How often within a day is counted: a server that forgets all the time must not make its
        mailbox be compared all the time (reference R10)."""
        columns: dict[str, object] = {"reconcile": True, "resyncs": cursor.resyncs + 1}
        with transaction.atomic():
            self.hold_on()
            if not self._within_a_day(cursor):
                columns |= {"resyncs": 1, "resyncs_since": Now()}
            self.move(cursor, columns)

    def _is_parked(self, cursor: SyncCursor) -> bool:
        """Its cursor was lost too often: it waits for the next day, or for its user who asks for a sync."""
        if cursor.resyncs <= MAX_RESYNCS or self.run.trigger in BY_ITS_USER or not self._within_a_day(cursor):
            return False
        self._note_trouble(cursor.stream, PARKED)
        return True

    def _within_a_day(self, cursor: SyncCursor) -> bool:
        return self.cursor_rows().filter(pk=cursor.pk, resyncs_since__gt=Now() - timedelta(days=1)).exists()

    def _write_changes(self, stream: Stream, cursor: SyncCursor, page: ChangePage) -> None:
        """The cursor moves with the last chunk; a kill before it repeats the page, which changes nothing twice."""
        added, updated = page.added, page.updated
        missing = self._unknown(updated)
        if not (cursor.backfill_done or cursor.backfill_token):  # the listing is still to begin and finds the new
            added, updated, missing = (), tuple(state for state in updated if state.remote_id not in missing), []
        chunks = [added[i : i + PAGE] for i in range(0, len(added), PAGE)] or [()]
        for chunk in chunks[:-1]:
            self.write(stream, self.fetch(stream, chunk))
        last = self.fetch(stream, [*chunks[-1], *missing])
        here = {*added, *(state.remote_id for state in updated)}
        removed = [remote_id for remote_id in page.removed if remote_id not in here]
        fetched = set(missing)
        known = [state for state in updated if state.remote_id not in fetched]
        draft_refreshing.follow(self.connection, self.mailbox, known, hold=self.hold)
        while len(known) + len(removed) > PAGE * 10:  # "mark all as read" of a large folder, or a folder emptied
            self.write(stream, [], updated=known[: PAGE * 5], removed=removed[: PAGE * 5])
            known, removed = known[PAGE * 5 :], removed[PAGE * 5 :]
        if last or known or removed or page.cursor != cursor.cursor:
            self.write(stream, last, updated=known, removed=removed, cursor=cursor, columns={"cursor": page.cursor})

    def _unknown(self, states: Sequence[RemoteState]) -> list[str]:
        """Changed messages that are not stored: older than the backfill has come, or missed. They are fetched."""
        ids = [state.remote_id for state in states]
        known = store.stored_ids(self.connection, ids) - scoping.readmitted(self.connection, states)
        known |= isolating.set_aside_ids(self.connection, ids)
        return [remote_id for remote_id in ids if remote_id not in known]

    # --- first sync -------------------------------------------------------------------------------------------

    def _begin(self, stream: Stream) -> bool:
        """The newest of the inbox before all else: a provider's changes may begin with a walk over everything (Graph).
        The listing itself begins later, so what that walk names is still left to it."""
        if any(row.listed or row.backfill_token or row.backfill_done for row in self.cursors.values()):
            return False
        page = self.listing(stream, "")()
        prepare()
        new = self.fetch(stream, self.not_known(page.remote_ids, stream.key))
        self.write(stream, new, cursor=self.cursors[stream.key], columns={"listed": len(new)})
        return self.out_of_time()

    def _bring_known(self, stream: Stream) -> bool:
        """Then mail from and to people that the workspace's CRM knows, wherever it is."""
        cursor = self.cursors[stream.key]
        if cursor.backfill_done or cursor.known_brought:
            return False
        wanted = self.not_known(early.matching_ids(self.connection, self.mailbox, stream))
        prepare()
        for start in range(0, len(wanted), PAGE):
            messages = self.fetch(stream, wanted[start : start + PAGE])
            columns = {"listed": cursor.listed + len(messages)}
            self.write(stream, messages, cursor=cursor, columns=columns)
        with transaction.atomic():
            self.hold_on()
            self.move(cursor, {"known_brought": True})
        return bool(wanted) and self.out_of_time()

    def _backfill(self, wanted: Sequence[Stream], stream: Stream) -> bool:
        """Page by page, newest first. While one is written, a second thread fetches the next, at the end another's."""
        cursor = self.cursors[stream.key]
        if cursor.backfill_done:
            return False
        prepare()
        then = [s for s in wanted[wanted.index(stream) + 1 :] if s.key not in self.refused]
        while True:
            page, brought = self.ahead.take(stream, then)
            messages = self.kept(stream, page.remote_ids, brought)
            try:
                if changes.are_due(self.connection):
                    self.ahead.rest()
                    self._push()
                if not self.out_of_time():
                    self.ahead.fill()
            finally:  # what is paid for is kept, also where the provider refuses to go on
                self.write_listed(stream, cursor, page, messages)
            if self.out_of_time():
                self.ahead.pause()
            if not page.next_token or (self.out_of_time() and not self.ahead.has_begun(stream)):
                return bool(page.next_token)

    # --- reconcile --------------------------------------------------------------------------------------------

    def _reconcile(self, stream: Stream, cursor: SyncCursor) -> bool:
        """The provider lost our cursor: compare everything, fetch what is missing, remove what is gone; the new cursor
        is taken first and committed last. A kill in between begins the comparison again."""
        fresh = fresh_cursor(self.mailbox, stream, between=self.hold_on)
        states = self.all_states(stream)
        with transaction.atomic():
            self.hold()
            difference = compare(self.connection, stream.key, states)
        difference = replace(difference, missing=self._recent(stream, difference.missing))
        draft_refreshing.follow(self.connection, self.mailbox, difference.known, hold=self.hold)
        for states in difference.known_chunks(PAGE * 5):
            self.write(stream, [], updated=states)
        for ids in difference.missing_chunks(PAGE):
            self.write(stream, self.fetch(stream, ids))
            if self.out_of_time():
                return True
        gone = difference.gone if self.may_remove(cursor, len(difference.gone), compared=True) else []
        for start in range(0, len(gone), PAGE * 5):
            self.write(stream, [], removed=gone[start : start + PAGE * 5], removed_cause="absent")
        columns = self.moved_to(fresh, cursor) | {"reconcile": False, "backfill_done": True, "backfill_token": ""}
        self.write(stream, [], cursor=cursor, columns=columns)
        return False

    def _recent(self, stream: Stream, missing: Sequence[str]) -> list[str]:
        """Those from the horizon on; the others are noted as too old and need no fetch."""
        if self.scope.since is None or not missing:
            return list(missing)
        recent = listed_since(self.mailbox, stream, self.scope.since, between=self.hold_if_slow)
        with transaction.atomic():
            self.hold()
            scoping.note_older(self.connection, stream.key, set(missing) - recent)
        return [remote_id for remote_id in missing if remote_id in recent]

    def may_remove(self, cursor: SyncCursor, count: int, *, stream: str | None = None, compared: bool = False) -> bool:
        """The brake: a suspicious removal is held, said in the cursor row, and waits for its user's word. Only a whole
        comparison lifts it: a small removal that follows says nothing of the large one."""
        accepted = self.run.trigger == ACCEPT_REMOVALS
        of = cursor.stream if stream is None else stream
        reason = "" if accepted else guard_removal(self.connection, of, count)
        if reason != cursor.held_reason and (reason or compared):
            SyncCursor.objects.filter(pk=cursor.pk).update(held_reason=reason)
            cursor.held_reason = reason
        return not reason

    def _restore(self, stream: Stream) -> bool:
        """Its user wants more than metadata again."""
        work = partial(restoring.bring_back, self.connection, stream.key, partial(self.fetch, stream))
        return not self.scope.metadata_only and work(hold=self.hold, out_of_time=self.out_of_time)
