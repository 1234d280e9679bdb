"""What one user is told while they look: new mail, what is otherwise now, counts, how syncs get on.

Called by the view of `email/stream`, which writes the notes out. An event is only the occasion: what is told is read
from the rows at that moment, in the caller's own mailboxes, so a note never shows what is not theirs or no longer so.
Promised: whoever goes on from the position of the last note misses nothing; after a break some may come twice. No
database connection is held between two reads.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import Error, close_old_connections
from django.db import connection as database

from email_sync.services import reading
from email_sync.services.followers import FOLLOWERS, Follower
from email_sync.services.reading import Row
from integrations.models import Event, EventType
from integrations.services import events
from integrations.services.events import Position

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

logger = logging.getLogger("patchbay.stream")

Result = TypeVar("Result")

TICK_SECONDS = 1.0
"""So often the reader is looked at, whether it is still there."""
HEARTBEAT_SECONDS = 10.0
"""So often something is written, and the caller's token looked at again."""
COUNTS_SECONDS = 1.0
"""Counts are told at most this often."""
LIFE_SECONDS = 30 * 60.0
"""Then the stream ends and is opened again, so that streams spread over the processes anew."""
EVENTS_PER_READ = 200
IDS_PER_READ = 500
EMAILS_PER_NOTE = 100

READY, RESET, COUNTS, PROGRESS = "ready", "reset", "counts", "sync.progress"
RECEIVED, ADDED, UPDATED, REMOVED = "email.received", "email.added", "email.updated", "email.removed"


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to tell: emails as the lists show them, or facts. Without a type nothing is told: with a `position` it
    is a heartbeat, without one only the occasion to look whether the reader is still there."""

    type: str = ""
    emails: Sequence[Row] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    position: Position | None = None
    """Set where everything before it was told."""


class Following:
    """One caller's stream."""

    def __init__(self, *, user: User, workspace: Workspace, last_seen: str, may_go_on: Callable[[], bool]) -> None:
        """`last_seen` is the position a broken stream ended with, as text, or "". `may_go_on` asks the database."""
        self._user, self._workspace = user, workspace
        self._last_seen = last_seen
        self._may_go_on = may_go_on
        self._counts: dict[str, dict[str, int]] = {}
        self._counts_asked = True
        self._counts_at = 0.0

    def notes(self) -> Iterator[Note]:
        """Until the caller may no longer read, the process stops, or LIFE_SECONDS are over. ServiceBusy, before the
        first note, where too many streams are open."""
        with FOLLOWERS.joined(user_id=self._user.pk, workspace_id=self._workspace.pk) as follower:
            try:
                yield from self._told(follower)
            except Error:
                logger.warning("A stream ends: the database is away.")

    def _told(self, follower: Follower) -> Iterator[Note]:
        kind, position = self._begin()
        yield Note(kind, position=position)
        ends_at, heartbeat_at = time.monotonic() + LIFE_SECONDS, time.monotonic() + HEARTBEAT_SECONDS
        while not follower.ended and time.monotonic() < ends_at:
            if follower.woken.wait(TICK_SECONDS):
                follower.woken.clear()
                position = yield from self._news(position, follower)
                yield from (Note(PROGRESS, facts=figures) for figures in follower.take_progress())
            yield from self._counted()
            if time.monotonic() >= heartbeat_at:
                heartbeat_at = time.monotonic() + HEARTBEAT_SECONDS
                if not _read(self._may_go_on):
                    return
                position = yield from self._caught_up(position, follower)
            yield Note()

    def _begin(self) -> tuple[str, Position]:
        """What is said first, and where to go on. RESET where what was missed cannot be told any more: the reader loads
        its lists anew."""
        asked = events.parse(self._last_seen)
        if asked is None or _read(lambda: asked.expired):
            return (RESET if self._last_seen else READY), _read(events.now)
        return READY, asked

    def _caught_up(self, position: Position, follower: Follower) -> Generator[Note, None, Position]:
        """Read once more and, where there is nothing, move on to now: a position must not grow old on a quiet user."""
        now = _read(events.now)
        after = yield from self._news(position, follower)
        after = now if after == position else after
        yield Note(position=after)
        return after

    def _news(self, position: Position, follower: Follower) -> Generator[Note, None, Position]:
        """What happened since; gives back the position after it."""
        own = {"user_id": self._user.pk, "workspace_id": self._workspace.pk}
        happened = _read(lambda: events.read_after(position, limit=EVENTS_PER_READ, **own))
        if not happened:
            return position
        if len(happened) == EVENTS_PER_READ:
            follower.woken.set()
        after = events.position_of(happened[-1])
        yield from self._of_mail(happened)
        yield from (_of_other(event) for event in happened if event.type not in OF_MAIL)
        yield Note(position=after)
        return after

    def _of_mail(self, happened: Sequence[Event]) -> Iterator[Note]:
        """What these events name, as it is now."""
        kinds: dict[str, str] = {}
        for event in happened:
            for email_id, kind in _named(event):
                kinds[email_id] = min(kind, kinds.get(email_id, kind), key=TOLD_AS.index)
        ids = list(kinds)
        self._counts_asked |= bool(ids)
        for start in range(0, len(ids), IDS_PER_READ):
            part = ids[start : start + IDS_PER_READ]
            yield from _notes(self._emails(part), kinds, part)

    def _emails(self, ids: Sequence[str]) -> list[Row]:
        return _read(lambda: reading.emails(user=self._user, workspace=self._workspace, ids=ids))

    def _counted(self) -> Iterator[Note]:
        """The counts, where they are others than those told last."""
        if not self._counts_asked or time.monotonic() - self._counts_at < COUNTS_SECONDS:
            return
        self._counts_asked, self._counts_at = False, time.monotonic()
        counts = _read(lambda: reading.folder_counts(user=self._user, workspace=self._workspace))
        if counts != self._counts:
            self._counts = counts
            yield Note(COUNTS, facts=dict(counts))


OF_MAIL = (EventType.EMAIL_RECEIVED, EventType.EMAIL_UPDATED)
TOLD_AS = (RECEIVED, ADDED, UPDATED)
"""An email that came and was changed at once is told as one that came."""


def _named(event: Event) -> Iterator[tuple[str, str]]:
    """The emails an event names and what they would be told as. Whether one is gone is seen when it is read."""
    if event.type == EventType.EMAIL_RECEIVED:
        yield event.payload["emailId"], RECEIVED
    elif event.type == EventType.EMAIL_UPDATED:
        yield from ((email_id, ADDED) for email_id in event.payload.get("added", ()))
        yield from ((email_id, UPDATED) for name in ("changed", "removed") for email_id in event.payload.get(name, ()))


def _notes(rows: Sequence[Row], kinds: dict[str, str], asked: Sequence[str]) -> Iterator[Note]:
    present = {str(row["id"]): row for row in rows}
    for kind in (RECEIVED, ADDED):
        yield from (Note(kind, emails=[row]) for email_id, row in present.items() if kinds[email_id] == kind)
    updated = [row for email_id, row in present.items() if kinds[email_id] == UPDATED]
    for start in range(0, len(updated), EMAILS_PER_NOTE):
        yield Note(UPDATED, emails=updated[start : start + EMAILS_PER_NOTE])
    if removed := [email_id for email_id in asked if email_id not in present]:
        yield Note(REMOVED, facts={"ids": removed})


def _of_other(event: Event) -> Note:
    return Note(event.type, facts={"connectionId": str(event.connection_id or "") or None, **event.payload})


def _read(query: Callable[[], Result]) -> Result:
    """Ask the database and give its connection back to the pool."""
    try:
        return query()
    finally:
        if not database.in_atomic_block:  # somebody else's transaction, a test's, ends when they say
            close_old_connections()
