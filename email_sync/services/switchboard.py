"""The event loop of a listening process: a held connection per mailbox, each change a mark on its row.

Called by `manage.py idle`. Rows, tokens and log-ins are worked in threads; the loop itself only waits. Promised: what
is said within a second is one mark; a mailbox that is connected, changed or disconnected is followed within
`LOOK_SECONDS`; a server that fails is left alone longer and longer, a refused log-in for an hour, because whether the
credential is dead is the sync's to judge; a database that is away costs marks only a delay.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

from django.db import Error, close_old_connections, connections

from core.errors import (
    Conflict,
    HubError,
    NeedsReauth,
    ProviderAuthError,
    ProviderRateLimited,
    UnsupportedOperation,
)
from core.ids import uuid7
from core.work import backoff_seconds
from email_sync.models import PushStatus
from email_sync.providers.doorbells.base import Listener
from email_sync.services import listening
from email_sync.services.listening import Held
from integrations.models import Connection, SyncRun
from workspaces.services import periodic

logger = logging.getLogger("patchbay.push")

Result = TypeVar("Result")

HEARTBEAT = "idle"
LOOK_SECONDS = 10.0
GATHER_SECONDS = 1.0
"""After a mark, what is said about the same mailbox waits for the next."""
AWAY_SECONDS = 2.0
STABLE_SECONDS = 60.0
"""A connection that lived this long was no failure."""
RETRY_BASE, RETRY_CAP = 5.0, 600.0
REFUSED_SECONDS = 3600.0
UNABLE_SECONDS = 6 * 3600.0
LOG_INS = 16
"""At a time."""
WAITING = "This server is listened to for as many mailboxes as one process holds at a time; it is asked by interval."


@dataclass(frozen=True)
class Limits:
    """What one process holds."""

    mailboxes: int
    per_host: int
    reissue_seconds: float


@dataclass
class Attended:
    """A mailbox and the task that listens to it."""

    version: datetime
    task: asyncio.Task[None]


class Switchboard:
    """The mailboxes of one process. `ring` wakes workers for runs."""

    def __init__(self, limits: Limits, ring: Callable[[Iterable[SyncRun]], None]) -> None:
        self.limits = limits
        self.holder = uuid7()
        self.listening = 0
        """Connections that are open now."""
        self._ring = ring
        self._attended: dict[uuid.UUID, Attended] = {}
        self._told: set[uuid.UUID] = set()
        self._joined: set[uuid.UUID] = set()
        self._stirred = asyncio.Event()
        self._hosts: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(limits.per_host))
        self._rows = ThreadPoolExecutor(1, "rows")
        self._log_ins = ThreadPoolExecutor(LOG_INS, "log-in")

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; then every connection is closed and every lease given back."""
        marking = asyncio.create_task(self._mark_for_ever())
        try:
            while not stop.is_set():
                await self._look()
                if marking.done():
                    marking.result()
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
        finally:
            marking.cancel()
            await self._leave([attended.task for attended in self._attended.values()])
            await self._give_back()

    async def _give_back(self) -> None:
        try:
            await self._in(self._rows, partial(listening.release, self.holder))
        except Error:
            logger.warning("The database is away: the leases run out by themselves.")
        await self._in(self._rows, connections.close_all)
        self._rows.shutdown()
        self._log_ins.shutdown(wait=False, cancel_futures=True)

    # --- which mailboxes --------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Follow what is to be held. A database that is away changes nothing."""
        try:
            held = await self._in(self._rows, self._take)
        except Error:
            logger.warning("The database is away: the mailboxes stay as they are.")
            return
        wanted = {row.connection_id: row for row in held}
        gone = [pk for pk, attended in self._attended.items() if not self._is_current(attended, wanted.get(pk))]
        await self._leave([self._attended.pop(pk).task for pk in gone])
        for pk, row in wanted.items():
            if pk not in self._attended:
                self._attended[pk] = Attended(row.version, asyncio.create_task(self._attend(row)))

    def _take(self) -> list[Held]:
        periodic.beat(name=HEARTBEAT)
        return listening.take(self.holder, limit=self.limits.mailboxes)

    @staticmethod
    def _is_current(attended: Attended, row: Held | None) -> bool:
        return row is not None and row.version == attended.version and not attended.task.done()

    @staticmethod
    async def _leave(tasks: Iterable[asyncio.Task[None]]) -> None:
        every = list(tasks)
        for task in every:
            task.cancel()
        for ended in await asyncio.gather(*every, return_exceptions=True):
            if isinstance(ended, Exception):
                logger.error("listening to a mailbox broke", exc_info=ended)

    # --- one mailbox ------------------------------------------------------------------------------------------

    async def _attend(self, row: Held) -> None:
        """Listen, and listen again after every end, for as long as the mailbox is held."""
        failures = 0
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._wait_for_turn(row)
                await self._listen(row)
            except Connection.DoesNotExist:
                return
            except (HubError, OSError, Error) as error:
                lived = asyncio.get_running_loop().time() - began > STABLE_SECONDS
                failures = 1 if lived else failures + 1
                await self._note(row, *_standing(error))
                await asyncio.sleep(_wait_after(error, failures))

    async def _wait_for_turn(self, row: Held) -> None:
        if self._hosts[row.host].locked():
            await self._note(row, PushStatus.OFF, WAITING)

    async def _listen(self, row: Held) -> None:
        """Until the connection ends, which is an error."""
        async with self._hosts[row.host]:
            listener = await self._log_in(row)
            self.listening += 1
            try:
                await self._note(row, PushStatus.ACTIVE)
                self._joined.add(row.connection_id)
                self._stirred.set()
                while True:
                    await listener.changed()
                    self._told.add(row.connection_id)
                    self._stirred.set()
                    await asyncio.sleep(GATHER_SECONDS)
            finally:
                self.listening -= 1
                listener.close()

    async def _log_in(self, row: Held) -> Listener:
        """One that comes when nobody waits for it any more is hung up."""
        seconds = self.limits.reissue_seconds
        work = partial(listening.log_in, row.connection_id, reissue_seconds=seconds)
        logging_in = asyncio.ensure_future(self._in(self._log_ins, work))
        try:
            return await asyncio.shield(logging_in)
        except asyncio.CancelledError:
            logging_in.add_done_callback(_hang_up)
            raise

    async def _note(self, row: Held, status: PushStatus, message: str = "") -> None:
        """For people; not worth an error."""
        with suppress(Error):
            await self._in(self._rows, partial(listening.note, self.holder, row.connection_id, status, message))

    # --- marks ------------------------------------------------------------------------------------------------

    async def _mark_for_ever(self) -> None:
        """What was said, together; kept while the database is away."""
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            told, self._told = self._told, set()
            joined, self._joined = self._joined, set()
            try:
                await self._in(self._rows, partial(self._mark, told, joined))
            except Error:
                logger.warning("The database is away: what was heard is kept.")
                self._told |= told
                self._joined |= joined
                await asyncio.sleep(AWAY_SECONDS)
                self._stirred.set()

    def _mark(self, told: set[uuid.UUID], joined: set[uuid.UUID]) -> None:
        self._ring(listening.heard(told=told, joined=joined))

    async def _in(self, threads: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
        """`work` in one of these threads. A log-in's may wait long for the next, so it keeps no database connection;
        the one for rows keeps its own while it is good."""
        clean = close_old_connections if threads is self._rows else connections.close_all

        def cleanly() -> Result:
            clean()
            try:
                return work()
            finally:
                clean()

        return await asyncio.get_running_loop().run_in_executor(threads, cleanly)


def _hang_up(logged_in: asyncio.Future[Listener]) -> None:
    if not logged_in.cancelled() and logged_in.exception() is None:
        logged_in.result().close()


def _standing(error: Exception) -> tuple[PushStatus, str]:
    """What people are told of an end."""
    if isinstance(error, UnsupportedOperation):
        return PushStatus.OFF, error.message
    return PushStatus.FAILED, error.message if isinstance(error, HubError) else "The connection broke."


def _wait_after(error: Exception, failures: int) -> float:
    """Seconds until the next log-in."""
    if isinstance(error, UnsupportedOperation):
        return UNABLE_SECONDS
    if isinstance(error, (ProviderAuthError, NeedsReauth, Conflict)):
        return REFUSED_SECONDS
    wait = backoff_seconds(failures, base=RETRY_BASE, cap=RETRY_CAP)
    return max(wait, error.retry_after) if isinstance(error, ProviderRateLimited) else wait
