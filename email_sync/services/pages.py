"""Pages of a mailbox under a run's lease: fetched, parsed, written with their cursor, counted.

The engine's steps stand on it. Promised: nothing is written without the fence being proved in the same transaction; a
page and its cursor commit together; what a provider brought before it failed is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, TypeVar

from django.db import connection as database
from django.db import transaction
from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import Greatest, Now

from core.errors import CursorExpired
from email_sync.providers.base import MailProvider
from email_sync.records import IdPage, RemoteState, Stream
from email_sync.services import isolating, salvage, scoping, store
from email_sync.services.ahead import Ahead
from email_sync.services.fetching import Brought, bring
from email_sync.services.store import Incoming, Written
from integrations.models import Connection, SyncCursor, SyncRun
from integrations.services.sync_runs import LEASE_SECONDS

FIRST_PAGE = 50
"""The first page is small, so that the newest mail is readable within seconds."""
PAGE = 400
"""What a page costs whatever it holds is a third of a first sync's work at half of that."""
HOLD_AGAIN_SECONDS = 20.0
"""While a page is fetched, the lease is extended this often."""
Result = TypeVar("Result")


class Pages:
    """What a slice works with: its run, its mailbox, the cursors it holds."""

    def __init__(self, run: SyncRun, mailbox: MailProvider, deadline: float) -> None:
        self.run = run
        self.connection: Connection = run.connection
        self.mailbox = mailbox
        self.deadline = deadline
        self.cursors: dict[str, SyncCursor] = {}
        self.held_at = time.monotonic()
        self.scope = scoping.of(self.connection)
        self.ahead: Ahead
        """The second thread, for as long as the mailbox is worked with."""

    def cursor_rows(self) -> QuerySet[SyncCursor]:
        return SyncCursor.objects.filter(connection=self.connection, type=self.run.type)

    def note_begin(self) -> None:
        """What earlier runs did is no part of this one's pace, but of its progress, also where it finds nothing new."""
        if self.run.done_before is None:
            self.run.done_before = self.cursor_rows().aggregate(done=Sum("listed"))["done"] or 0
            self.run.save(update_fields=["done_before"])
            self._count(Written())

    # --- listing ----------------------------------------------------------------------------------------------

    def listing(self, stream: Stream, token: str) -> Callable[[], IdPage]:
        """What asks for a page of the listing; in the second thread as well as here."""
        return partial(self._listed, stream, token, PAGE if token or self.run.done else FIRST_PAGE)

    def _listed(self, stream: Stream, token: str, limit: int) -> IdPage:
        try:
            return self.mailbox.list_ids(stream, token, limit, since=self.scope.since)
        except CursorExpired:
            # The listing's token died (a restart, a new UIDVALIDITY): begin again; what is stored is not fetched twice.
            return self.mailbox.list_ids(stream, "", limit, since=self.scope.since)

    def not_known(self, remote_ids: Sequence[str], stream: str = "") -> list[str]:
        """Those to be fetched: not stored (in this stream), not kept out, not set aside."""
        known = store.stored_ids(self.connection, remote_ids, stream=stream)
        known |= isolating.set_aside_ids(self.connection, remote_ids)
        return [remote_id for remote_id in remote_ids if remote_id not in known]

    def write_listed(self, stream: Stream, cursor: SyncCursor, page: IdPage, messages: Sequence[Incoming]) -> None:
        """A page of the first sync: seen first, found by searches after (docs/adr/0016)."""
        listed = cursor.listed + len(messages)
        columns = {"backfill_token": page.next_token, "listed": listed, "backfill_done": not page.next_token}
        columns["total"] = listed if not page.next_token else page.total if page.total is not None else cursor.total
        self.write(stream, messages, cursor=cursor, columns=columns, search_later=True)

    def all_states(self, stream: Stream) -> list[RemoteState]:
        """The whole stream's states; the lease is extended while they come."""
        states: list[RemoteState] = []
        for chunk in self.mailbox.states(stream):
            states += chunk
            self.hold_on()
        return states

    # --- fetching ---------------------------------------------------------------------------------------------

    def fetch(self, stream: Stream, remote_ids: Sequence[str], *, doubt: bool = True) -> list[Incoming]:
        """Fetch and parse. Without `doubt` what does not come is believed to be gone."""
        brought = bring(self.mailbox, stream, remote_ids, between=self.hold_if_slow)
        return self.kept(stream, remote_ids, brought, doubt=doubt)

    def awaited(self, coming: Future[Result]) -> Result:
        """What the second thread brings. However slow the provider is, the lease is kept meanwhile."""
        self.wait_for([coming])
        return coming.result()

    def wait_for(self, futures: Sequence[Future[Any]]) -> None:
        while wait(futures, timeout=HOLD_AGAIN_SECONDS).not_done:
            self.hold_on()

    def kept(
        self, stream: Stream, remote_ids: Sequence[str], brought: Brought, *, doubt: bool = True
    ) -> list[Incoming]:
        """The messages. Where the provider failed in between, what came is kept and the error goes on up: the same
        page comes again later and does not pay for it twice. Where only a message or two are to blame, they are set
        aside and the page goes on."""
        if brought.error is None:
            if doubt:
                self._doubt(stream, isolating.missing_of(remote_ids, brought.messages))
            return brought.messages
        if brought.messages:
            self.write(stream, brought.messages)
        again = bool(brought.messages) or self.run.attempts > 1
        if not again or not isolating.is_isolable(brought.error):
            raise brought.error
        rest = isolating.missing_of(remote_ids, brought.messages)
        found = isolating.isolate(self.mailbox, stream, rest, between=self.hold_if_slow)
        if found.error is not None and not (brought.messages or found.messages):
            raise found.error  # it gives nothing at all: that is no message's fault
        self.set_aside(stream, found.bad)
        if found.error is not None:
            self.write(stream, found.messages)
            raise found.error
        return found.messages

    def _doubt(self, stream: Stream, denied: Sequence[str]) -> None:
        """The provider named them and then had none of them: gone meanwhile, most likely. They are asked for again."""
        if denied:
            self.set_aside(stream, dict.fromkeys(denied, isolating.DENIED))

    def write(self, stream: Stream, messages: Sequence[Incoming], **page: Any) -> None:
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
        search_later: bool = False,
    ) -> None:
        """One transaction: fence, rows, cursor, progress. Its commit does not wait for the disk: a crash of the
        database would take rows and cursor back together, and the provider still has them."""
        with transaction.atomic():
            with database.cursor() as statement:
                statement.execute("SET LOCAL synchronous_commit TO OFF")
            self.hold()
            isolating.note_refused(self.connection, stream.key, messages)
            written = store.write_page(
                connection=self.connection,
                stream=stream.key,
                messages=messages,
                updated=updated,
                removed=removed,
                removed_cause=removed_cause,
                search_later=search_later,
            )
            if cursor is not None:
                self.move(cursor, columns or {})
            self._count(written)

    def hold(self) -> None:
        """Before a write: the fence is ours, and the run gets on."""
        self.run.hold(lease_seconds=LEASE_SECONDS, attempts=0)
        self.held_at = time.monotonic()

    def hold_on(self) -> None:
        """While nothing is written. It is no progress: a worker that dies here again and again still counts as such."""
        self.run.hold(lease_seconds=LEASE_SECONDS)
        self.held_at = time.monotonic()

    def hold_if_slow(self) -> None:
        if time.monotonic() - self.held_at > HOLD_AGAIN_SECONDS:
            self.hold_on()

    def move(self, cursor: SyncCursor, columns: dict[str, object]) -> None:
        for name, value in columns.items():
            setattr(cursor, name, value)
        cursor.save(update_fields=[*columns, "updated_at"])

    def moved_to(self, fresh: str, row: SyncCursor | None) -> dict[str, object]:
        """The columns of a new cursor, with what it says to its user: nothing, or why no changes are told from there,
        and since when. None of them where there is no new cursor."""
        words = self.mailbox.untold(fresh) if fresh else ""
        if not fresh or (row is not None and row.last_error == words):
            return {"cursor": fresh} if fresh else {}
        return {"cursor": fresh, "last_error": words, "last_error_at": Now() if words else None}

    def compare_untold(self, cursor: SyncCursor) -> None:
        """Have a stored stream compared whose changes are not told: once a run, whatever number of slices it has. That
        is no lost cursor, so none is counted."""
        if self.run.fence == 1 and cursor.backfill_done and self.mailbox.untold(cursor.cursor):
            self.move(cursor, {"reconcile": True, "resyncs": 0})

    def _count(self, written: Written) -> None:
        """Progress of the run: the whole first sync, over all streams. There is no total before every stream was asked
        for its own: the sum of some would show a sync as done that has barely begun."""
        unasked = Count("pk", filter=Q(backfill_done=False, total=None, last_error=""))
        total = Sum(Greatest("total", "listed"))
        figures = self.cursor_rows().aggregate(done=Sum("listed"), unasked=unasked, of_all=total)
        self.run.added += written.added
        self.run.changed += written.changed
        self.run.removed += written.removed
        self.run.done, self.run.total = figures["done"] or 0, None if figures["unasked"] else figures["of_all"]
        self.run.save(update_fields=["added", "changed", "removed", "done", "total"])

    def out_of_time(self) -> bool:
        return time.monotonic() >= self.deadline

    def set_aside(self, stream: Stream, bad: Mapping[str, str], settled: Sequence[str] = ()) -> None:
        with transaction.atomic():
            self.hold_on()
            isolating.settled(self.connection, settled)
            isolating.set_aside(self.connection, stream.key, bad)
