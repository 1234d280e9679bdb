"""Who follows events in this process, and the one thread that wakes them.

Called by `following`, once per open stream. The thread asks the database every quarter of a second for all followers
together and only while there are any, so an open stream costs no connection and no query of its own until something of
its user's happened. It asks instead of LISTENing: a notification would come before the event can be read (ADR 0010),
every commit that tells something would wait for the others' notifications, and a pooler between us would swallow them.
Promised: no more followers than the process has threads for, so that streams cannot eat the product (ADR 0012).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import Error, close_old_connections, connections

from core.errors import ServiceBusy
from core.work import WorkStatus
from integrations.models import SyncRun
from integrations.services import events
from integrations.services.standing import OF_RUN, SyncStatus

logger = logging.getLogger("patchbay.stream")

LOOK_SECONDS = 0.25
PROGRESS_SECONDS = 1.0
AWAY_SECONDS = 2.0
"""Between two looks while the database is away."""
PER_USER = 5
"""Streams of one user in one process: a browser's tabs."""
RETRY_AFTER = 15.0
EVENTS_PER_LOOK = 200

Progress = dict[str, Any]


@dataclass(eq=False)
class Follower:
    """One open stream. `woken` is set whenever there may be something to read, and at first."""

    user_id: Any
    workspace_id: Any
    woken: threading.Event = field(default_factory=threading.Event)
    ended: bool = False
    """The process stops: the stream ends and is opened again elsewhere."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _shown: dict[str, Progress] = field(default_factory=dict)
    _untold: dict[str, Progress] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.woken.set()

    def show(self, progress: dict[str, Progress]) -> None:
        """From the watching thread: the user's runs, by id."""
        changed = {run: figures for run, figures in progress.items() if self._shown.get(run) != figures}
        self._shown = progress
        if changed:
            with self._lock:
                self._untold |= changed
            self.woken.set()

    def take_progress(self) -> list[Progress]:
        """From the stream: what changed since it last asked."""
        with self._lock:
            untold, self._untold = self._untold, {}
        return list(untold.values())


class Followers:
    """The followers of one process."""

    def __init__(self) -> None:
        self._open: set[Follower] = set()
        self._lock = threading.Lock()
        self._watching = False
        self._process_goes_on: Callable[[], bool] = lambda: True

    def end_with(self, process_goes_on: Callable[[], bool]) -> None:
        """From the server: streams end as soon as this is False, so that a restart does not wait for them."""
        self._process_goes_on = process_goes_on

    @contextmanager
    def joined(self, *, user_id: Any, workspace_id: Any) -> Iterator[Follower]:
        """A follower until the end of the block. ServiceBusy where there are too many."""
        follower = Follower(user_id, workspace_id)
        with self._lock:
            self._check_room(follower)
            self._open.add(follower)
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="followers", daemon=True).start()
        try:
            yield follower
        finally:
            with self._lock:
                self._open.discard(follower)

    def _check_room(self, follower: Follower) -> None:
        of_user = sum(other.user_id == follower.user_id for other in self._open)
        if of_user >= PER_USER:
            raise ServiceBusy(f"You have {PER_USER} streams open here; close one.", retry_after=RETRY_AFTER)
        if len(self._open) >= settings.EVENT_STREAMS:
            words = f"This server keeps {settings.EVENT_STREAMS} streams open (EVENT_STREAMS). Poll, or try again."
            raise ServiceBusy(words, retry_after=RETRY_AFTER)

    # --- the watching thread --------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Until the last follower is gone. Whoever joins finds that out under the lock and starts another."""
        try:
            watcher = Watcher()
            while followers := self._present():
                watcher.look(followers)
                threading.Event().wait(watcher.pause)
        except Exception:  # streams read by themselves every few seconds until the next one starts another thread
            logger.exception("the watching thread broke")
            with self._lock:
                self._watching = False
        finally:
            connections.close_all()

    def _present(self) -> set[Follower]:
        with self._lock:
            present = set(self._open)
            self._watching = bool(present)
        if not self._process_goes_on():
            for follower in present:
                follower.ended = True
                follower.woken.set()
        return present


class Watcher:
    """What the thread knows from look to look."""

    def __init__(self) -> None:
        self.pause = LOOK_SECONDS
        self._position: events.Position | None = None
        self._progress_at = 0.0
        self._under_way: set[str] = set()

    def look(self, followers: set[Follower]) -> None:
        """Wake those who have something to read. A database that is away is looked for again."""
        self.pause = LOOK_SECONDS
        try:
            self._wake(followers)
            if time.monotonic() - self._progress_at >= PROGRESS_SECONDS:
                self._progress_at = time.monotonic()
                self._show_progress(followers)
        except Error:
            logger.warning("The database is away: streams wait.")
            self.pause = AWAY_SECONDS
        finally:
            close_old_connections()  # back into the pool

    def _wake(self, followers: set[Follower]) -> None:
        if self._position is None:  # whoever joined before it was taken reads once more
            self._position = events.now()
            for follower in followers:
                follower.woken.set()
        users = {follower.user_id for follower in followers}
        happened = events.read_after(self._position, limit=EVENTS_PER_LOOK, user_id__in=users)
        if not happened:
            return
        self._position = events.position_of(happened[-1])
        concerned = {(event.user_id, event.workspace_id) for event in happened}
        for follower in followers:
            if (follower.user_id, follower.workspace_id) in concerned:
                follower.woken.set()

    def _show_progress(self, followers: set[Follower]) -> None:
        """Runs under way, and once more those that were under way at the last look."""
        users = {follower.user_id for follower in followers}
        runs = SyncRun.objects.select_related("connection")
        under_way = {str(run.pk): run for run in runs.active().filter(connection__user__in=users)}
        over = {str(run.pk): run for run in runs.filter(pk__in=self._under_way - under_way.keys())}
        self._under_way = set(under_way)
        shown = {
            key: (run.connection.user_id, run.connection.workspace_id, _progress(run))
            for key, run in (under_way | over).items()
        }
        for follower in followers:
            whose = (follower.user_id, follower.workspace_id)
            follower.show({key: figures for key, (*owner, figures) in shown.items() if tuple(owner) == whose})


def _progress(run: SyncRun) -> Progress:
    return {
        "connectionId": str(run.connection_id),
        "type": run.type,
        "status": str(OF_RUN.get(WorkStatus(run.status), SyncStatus.IDLE)),
        "done": run.done,
        "total": run.total,
        "etaSeconds": run.eta_seconds(),
    }


FOLLOWERS = Followers()
"""This process's."""
