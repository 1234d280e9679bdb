"""The calendar side of a sync run: what `settings.SYNC_ENGINES["calendar"]` names.

One slice of a run: list the calendars, bring each up to date from its cursor or, where there is none or it was lost,
by a complete pass (everything listed, what differs fetched, what is no longer there leaving), then settle what left.
Per page: ask the provider (no transaction is open) → one transaction in which the fence is proved, rows are written and
the cursor moves. So a kill at any point repeats a page and loses nothing.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from calendar_sync.models import Calendar, CalendarEvent
from calendar_sync.providers import CALENDAR_PROVIDERS
from calendar_sync.providers.base import CalendarProvider
from calendar_sync.records import ChangePage, ListingPage, RemoteCalendar, RemoteResource
from calendar_sync.services import calendars, coverage, settling, store, telling
from calendar_sync.services.accounts import with_calendars
from core.errors import CursorExpired, ProviderError, ProviderRejected, RemoteMissing
from integrations.models import Connection, SyncCursor, SyncRun
from integrations.services.sync_runs import ACCEPT_REMOVALS, LEASE_SECONDS

logger = logging.getLogger("patchbay.sync")

PAGE = 500
REMOVAL_FLOOR = 50
REMOVAL_SHARE = 0.3
"""A pass that would remove more than this share of a calendar (and more than the floor) stops and asks."""


class CalendarEngine:
    """Syncs the calendars of one connection."""

    key = "calendar"

    @classmethod
    def supports(cls, provider: str) -> bool:
        return provider in CALENDAR_PROVIDERS

    def run(self, run: SyncRun, *, deadline: float) -> bool:
        """One slice; True while there is more."""
        return with_calendars(run.connection, lambda account: AccountSync(run, account, deadline).work(), urgent=False)


class AccountSync:
    """One slice of one run over one open account."""

    def __init__(self, run: SyncRun, account: CalendarProvider, deadline: float) -> None:
        self.run = run
        self.connection: Connection = run.connection
        self.account = account
        self.deadline = deadline
        self.refused: list[ProviderError] = []

    def work(self) -> bool:
        """True while there is more to do."""
        listed = self.account.calendars()
        with transaction.atomic():
            self.hold()
            rows = calendars.store(self.connection, listed, accept=self.run.trigger == ACCEPT_REMOVALS)
            check = coverage.begin(self.connection, self.cursors())
        wanted = [(rows[remote.remote_id], remote) for remote in listed if rows[remote.remote_id].selected]
        for calendar, remote in wanted:
            if self._try(_CalendarSync(self, calendar, remote).work, calendar):
                return True
        self.run.removed += settling.settle(self.connection, self.hold)
        with transaction.atomic():
            self.hold()
            self.count()
            if check is not None and not self.refused:
                coverage.end(check, self.connection)
        if self.refused and len(self.refused) == len(wanted):
            raise self.refused[0]
        return False

    def _try(self, step: Callable[[], bool], calendar: Calendar) -> bool:
        """A calendar that refuses, or went between listing and asking, does not keep the others from syncing."""
        words = ""
        more = False
        try:
            more = step()
        except (ProviderRejected, RemoteMissing) as error:
            logger.warning("a calendar of connection %s refused: %s", self.connection.pk, error.message)
            self.refused.append(error)
            words = error.message
        row = self.cursors().filter(stream=str(calendar.pk)).first()
        if row is not None and row.last_error != words:
            with transaction.atomic():
                self.hold()
                self.move(row, {"last_error": words, "last_error_at": Now() if words else None})
        return more

    def cursors(self) -> QuerySet[SyncCursor]:
        return SyncCursor.objects.filter(connection=self.connection, type=self.run.type)

    def hold(self) -> None:
        """Before a write: the fence is ours. It is no progress: a worker that dies here again and again counts as
        such."""
        self.run.hold(lease_seconds=LEASE_SECONDS)

    def get_on(self) -> None:
        """As `hold`, with rows to write: the run gets on."""
        self.run.hold(lease_seconds=LEASE_SECONDS, attempts=0)

    def move(self, cursor: SyncCursor, columns: dict[str, object]) -> None:
        for name, value in columns.items():
            setattr(cursor, name, value)
        cursor.save(update_fields=[*columns, "updated_at"])

    def count(self) -> None:
        """Progress, over all calendars; no total before each told its own."""
        figures = list(self.cursors().values_list("listed", "total"))
        self.run.done = sum(listed for listed, _ in figures)
        unknown = any(total is None for _, total in figures)
        self.run.total = None if unknown else sum(max(total or 0, listed) for listed, total in figures)
        self.run.save(update_fields=["added", "changed", "removed", "done", "total"])

    def out_of_time(self) -> bool:
        return time.monotonic() >= self.deadline


class _CalendarSync:
    """One calendar in one slice."""

    def __init__(self, sync: AccountSync, calendar: Calendar, remote: RemoteCalendar) -> None:
        self.sync = sync
        self.calendar = calendar
        self.remote = remote
        own = {"connection": sync.connection, "type": sync.run.type, "stream": str(calendar.pk)}
        self.cursor, _ = SyncCursor.objects.get_or_create(**own, defaults={"name": calendar.name})
        self.as_of = store.clock()
        """When the provider was asked for what is written now."""

    def work(self) -> bool:
        """True where the slice ended before the end."""
        held = bool(self.cursor.held_reason) and self.sync.run.trigger == ACCEPT_REMOVALS
        if (held or self.cursor.reconcile or not self.cursor.backfill_done) and self._pass():
            return True
        while True:
            self.as_of = store.clock()
            try:
                page = self.sync.account.changes(self.remote, self.cursor.cursor)
            except CursorExpired:
                with transaction.atomic():
                    self.sync.hold()
                    self.sync.move(self.cursor, {"reconcile": True})
                return self._pass()
            if self._write_changes(page):
                return True
            if not page.more and self.cursor.cursor == page.cursor:
                return False

    # --- a complete pass --------------------------------------------------------------------------------------

    def _pass(self) -> bool:
        """Everything listed and compared; the cursor it leaves was taken before. True where the slice ended first."""
        number, token = self._begun()
        while True:
            self.as_of = store.clock()
            try:
                page = self.sync.account.listing(self.remote, token)
            except CursorExpired:  # the listing's token died: begin again, what is stored is not fetched twice
                number, token = self._begin()
                page = self.sync.account.listing(self.remote, token)
            if self._write_listed(page, number):
                return True
            if not page.next_token:
                self._end(page, number)
                return False
            token = page.next_token
            if self.sync.out_of_time():
                return True

    def _begun(self) -> tuple[uuid.UUID, str]:
        """The pass that is under way, or a new one."""
        if self.cursor.backfill_token:
            stored = json.loads(self.cursor.backfill_token)
            return uuid.UUID(stored["pass"]), str(stored["token"])
        return self._begin()

    def _begin(self) -> tuple[uuid.UUID, str]:
        fresh, number = self.sync.account.start_cursor(self.remote), uuid.uuid4()
        with transaction.atomic():
            self.sync.hold()
            self.sync.move(self.cursor, {"cursor": fresh, "listed": 0, "total": None, **_under_way(number, "")})
        return number, ""

    def _write_listed(self, page: ListingPage, number: uuid.UUID) -> bool:
        """A page of the listing: what differs is fetched and written, a batch at a time; then the place in the
        listing moves. True where the slice ended before that: the same page comes again, and costs what is left."""
        given = {one.remote_id: one for one in page.resources}
        versions = [(one.remote_id, one.etag) for one in page.resources] + list(page.versions)
        differing = self._differing(versions)
        whole = [given[remote_id] for remote_id in differing if remote_id in given]
        for chunk in _chunks(whole, PAGE):
            if self._write_seen(chunk, number):
                return True
        wanted = [remote_id for remote_id in differing if remote_id not in given]
        for batch in _chunks(wanted, self.sync.account.fetch_batch):
            if self._write_seen(list(self.sync.account.fetch(self.remote, batch)), number) or self.sync.out_of_time():
                return True
        seen = [remote_id for remote_id, _ in versions]
        listed = self.cursor.listed + len(seen)
        columns = {"listed": listed, "total": page.total if page.next_token else listed}
        with transaction.atomic():
            self.sync.hold()
            for chunk in _chunks(seen, 5000):
                store.mark_seen(self.calendar, chunk, number)
            self.sync.move(self.cursor, columns | _under_way(number, page.next_token))
            self.sync.count()
        return False

    def _write_seen(self, resources: Sequence[RemoteResource], number: uuid.UUID) -> bool:
        """What the user wrote meanwhile is asked for again. True where the slice ended before that."""
        again = self._write(resources, seen_in=number)
        while again and not self.sync.out_of_time():
            self.as_of = store.clock()
            again = self._write(list(self.sync.account.fetch(self.remote, again)), seen_in=number)
        return bool(again)

    def _end(self, page: ListingPage, number: uuid.UUID) -> None:
        """What the whole listing did not name is leaving, under the brake; then the pass is over."""
        there = CalendarEvent.objects.present().filter(calendar=self.calendar, leaving_at__isnull=True)
        unseen = there.filter(Q(seen_in__isnull=True) | ~Q(seen_in=number))
        gone = list(unseen.values_list("remote_id", flat=True).distinct())
        with transaction.atomic():
            self.sync.hold()
            if self._may_remove(len(gone)):
                for chunk in _chunks(gone, 5000):
                    store.write(calendar=self.calendar, removed=chunk, cause="absent", as_of=self.as_of)
            done: dict[str, object] = {"backfill_done": True, "backfill_token": "", "reconcile": False}
            if page.cursor:
                done["cursor"] = page.cursor
            self.sync.move(self.cursor, {**done, "checked_at": Now()})

    # --- what changed -----------------------------------------------------------------------------------------

    def _write_changes(self, page: ChangePage) -> bool:
        """Write what changed, then the cursor, in one transaction with the last batch. True where the slice ended
        before: the same page comes again, and costs what is left. It comes again too, with the cursor where it was,
        where the user wrote meanwhile what it tells of."""
        given = {one.remote_id for one in page.resources}
        resources = list(page.resources)
        wanted = [remote_id for remote_id in self._differing(page.versions) if remote_id not in given]
        batches = list(_chunks(wanted, self.sync.account.fetch_batch))
        passed_over: list[str] = []
        for batch in batches[:-1]:
            passed_over += self._write(list(self.sync.account.fetch(self.remote, batch)))
            if self.sync.out_of_time():
                return True
        if batches:
            resources += self.sync.account.fetch(self.remote, batches[-1])
        stored = store.etags(self.calendar, page.removed)
        with transaction.atomic():
            self.sync.hold()
            if not self._may_remove(len(stored)):
                page = replace(page, removed=())
            passed_over += self._write(resources, removed=page.removed)
            if not passed_over:
                self.sync.move(self.cursor, {"cursor": page.cursor})
        return (page.more or bool(passed_over)) and self.sync.out_of_time()

    def _differing(self, versions: Sequence[tuple[str, str]]) -> list[str]:
        """Those that are not stored as they are there. Without an etag nobody knows."""
        stored = store.etags(self.calendar, [remote_id for remote_id, _ in versions])
        return [remote_id for remote_id, etag in versions if not etag or stored.get(remote_id) != etag[:500]]

    def _write(
        self, resources: Sequence[RemoteResource], *, removed: Sequence[str] = (), seen_in: uuid.UUID | None = None
    ) -> list[str]:
        """One transaction: fence, rows, what is told, progress. What was passed over (`store.Written`)."""
        with transaction.atomic():
            self.sync.get_on()
            written = store.write(
                calendar=self.calendar, resources=resources, removed=removed, seen_in=seen_in, as_of=self.as_of
            )
            self.sync.run.added += len(written.added)
            self.sync.run.changed += len(written.changed)
            self.sync.count()
            if self.cursor.backfill_done:
                fresh = store.without_copies(self.sync.connection, self.calendar, written.added)
                telling.tell(self.sync.connection, created=fresh, updated=written.changed)
        return written.passed_over

    def _may_remove(self, count: int) -> bool:
        """Whether this many removals are believed; else the cursor says what is held, and a user may accept it."""
        present = CalendarEvent.objects.present().filter(calendar=self.calendar)
        stored = present.values("remote_id").distinct().count() if count > REMOVAL_FLOOR else 0
        held = ""
        if count > REMOVAL_FLOOR and count > stored * REMOVAL_SHARE and self.sync.run.trigger != ACCEPT_REMOVALS:
            held = (
                f"{count} of {stored} events would be removed because the provider no longer shows them. "
                "Nothing was removed. If this is right, start a sync that accepts removals."
            )
        if held or (count and self.cursor.held_reason) or self.sync.run.trigger == ACCEPT_REMOVALS:
            self.sync.move(self.cursor, {"held_reason": held})
        return not held


def _under_way(number: uuid.UUID, token: str) -> dict[str, object]:
    return {"backfill_token": json.dumps({"pass": str(number), "token": token})}


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
