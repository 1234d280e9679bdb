"""Pages of a first sync listed and fetched while earlier ones are written, by a second thread; parsed by a third.

The engine's backfill takes them one by one, in order; what it writes, and when, is its own business. Promised: the
thread knows no rows and moves no cursor; a failure is told when its page's turn has come, and until it was told no
further page is fetched; after `rest` the mailbox is the caller's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from django.db import connection as database

from email_sync.records import IdPage, Stream
from email_sync.services.fetching import Brought, Fetched, Parsing, fetch

if TYPE_CHECKING:
    from email_sync.services.pages import Pages

UNDER_WAY = 2
"""Pages fetched, or waiting for it, beside the one in hand. With one, the thread would idle while a long page is
written, and the writer while the page after a short one comes: every folder ends with a short one."""

Result = TypeVar("Result")


class _NotAsked(Exception):
    """A fetch failed before."""


class _Task(Generic[Result]):
    """Something for the second thread to do. Taken back where the mailbox is needed in between, and given again."""

    def __init__(self, give: Callable[[Callable[[], Result]], Future[Result]], work: Callable[[], Result]) -> None:
        self._give, self._work = give, work
        self.future = give(work)

    @property
    def is_taken_back(self) -> bool:
        given = self.future
        return given.cancelled() or (given.done() and isinstance(given.exception(), _NotAsked))

    def renew(self) -> None:
        if self.is_taken_back:
            self.future = self._give(self._work)


@dataclass(frozen=True, slots=True)
class _Listing:
    """A page of ids that was asked for, and what is listed after its stream."""

    stream: Stream
    then: Sequence[Stream]
    task: _Task[IdPage]


@dataclass(frozen=True, slots=True)
class _Coming:
    """A page whose messages were asked for."""

    stream: Stream
    page: IdPage
    task: _Task[Fetched]


class Ahead:
    """The second thread and what it has under way. Use as a context manager."""

    def __init__(self, sync: Pages) -> None:
        self._sync = sync
        self._coming: deque[_Coming] = deque()
        self._listing: _Listing | None = None
        self._in_hand: tuple[str, IdPage] = "", IdPage(())
        """Taken last and, for all that is known here, not written yet."""
        self._failed = False
        """A fetch failed, and nobody has taken its page yet."""

    def __enter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, "fetch-ahead")
        self._parsing = Parsing().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is fetched any more when the mailbox closes."""
        self._forget()
        self._thread.shutdown()
        self._parsing.__exit__(kind, error, trace)

    def take(self, stream: Stream, then: Sequence[Stream]) -> tuple[IdPage, Brought]:
        """The next page of a stream, fetched as far as it could be. After the stream's last page those in `then` are
        begun."""
        try:
            under_way = self._coming[0] if self._coming else self._listing
            if under_way is None or under_way.stream.key != stream.key:
                self._forget()
                self._list([stream, *then])
            if not self.has_begun(stream) or not self._sync.out_of_time():
                self.fill()
            if not self._coming and self._listing is not None:
                self._listing.task.future.result()  # the listing was refused
            coming = self._coming[0]
            self._in_hand = coming.stream.key, coming.page
            fetched = self._sync.awaited(coming.task.future)
            self._sync.wait_for(fetched.portions)
            brought = fetched.brought()
            self._coming.popleft()
        except BaseException:
            self._forget()
            raise
        if brought.error is not None:
            self.rest()
            self._failed = False
        return coming.page, brought

    def has_begun(self, stream: Stream) -> bool:
        """Whether the next page is one of this stream's, and the thread has it or will get to it."""
        first = self._coming[0] if self._coming else None
        return first is not None and first.stream.key == stream.key and not first.task.is_taken_back

    def fill(self) -> None:
        """Have the pages that come next fetched. Each is listed before the one before it is fetched, so that its ids
        are there in time. A slice that is over begins one at most."""
        room = 1 if self._sync.out_of_time() else UNDER_WAY
        for task in islice(self._tasks(), 1 + room):
            task.renew()
        while len(self._coming) < room and self._listing is not None:
            stream, then, listed = self._listing.stream, self._listing.then, self._listing.task.future
            if all(coming.task.future.done() for coming in [*self._coming][:-1]):  # the thread is at it, or will be now
                self._sync.wait_for([listed])
            if not listed.done() or listed.exception() is not None:
                return
            page = self._fresh(stream, listed.result())
            self._list([stream, *then] if page.next_token else then, page.next_token)
            self._coming.append(_Coming(stream, page, _Task(self._give, partial(self._fetch, stream, page))))

    def pause(self) -> None:
        """Begin nothing further. What was not begun is taken back until the next `fill`."""
        for task in self._tasks():
            task.future.cancel()

    def rest(self) -> None:
        """`pause`, and wait until the thread has no use for the mailbox. The lease is kept meanwhile."""
        self.pause()
        self._sync.wait_for([task.future for task in self._tasks()])

    def _forget(self) -> None:
        self.pause()
        wait([task.future for task in self._tasks()])
        self._coming.clear()
        self._listing, self._failed = None, False

    def _tasks(self) -> Iterator[_Task[Any]]:
        if self._listing is not None:
            yield self._listing.task
        yield from (coming.task for coming in self._coming)

    def _give(self, work: Callable[[], Result]) -> Future[Result]:
        return self._thread.submit(self._apart, work)

    def _apart(self, work: Callable[[], Result]) -> Result:
        """In the second thread, whose connection to the database (the mailbox's budget is there) ends with it."""
        if self._failed:
            raise _NotAsked
        try:
            return work()
        finally:
            database.close()

    def _list(self, streams: Sequence[Stream], token: str = "") -> None:
        """Ask for the ids of the first stream from `token` on, or of the first that is still to be listed."""
        cursors = self._sync.cursors
        left = [stream for stream in streams if token or not cursors[stream.key].backfill_done]
        if not left:
            self._listing = None
            return
        stream, *then = left
        ask = self._sync.listing(stream, token or cursors[stream.key].backfill_token)
        self._listing = _Listing(stream, then, _Task(self._give, ask))

    def _fresh(self, stream: Stream, page: IdPage) -> IdPage:
        """Without what is stored already or about to be: pages may overlap."""
        unwritten = [self._in_hand, *((coming.stream.key, coming.page) for coming in self._coming)]
        about_to_be = {i for key, other in unwritten if key == stream.key for i in other.remote_ids}
        fresh = self._sync.not_known(page.remote_ids, stream.key)
        return replace(page, remote_ids=tuple(i for i in fresh if i not in about_to_be))

    def _fetch(self, stream: Stream, page: IdPage) -> Fetched:
        """In the second thread. After a failure nothing further is asked for until somebody has decided about it."""
        self._failed = True
        fetched = fetch(self._sync.mailbox, stream, page.remote_ids, self._parsing)
        self._failed = fetched.error is not None
        return fetched
