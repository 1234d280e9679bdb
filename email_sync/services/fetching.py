"""From remote ids to parsed messages. Called by the engine, also in a thread of its own: knows no database.

Parsing runs in a bounded child process, so no message can stop or bloat a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Semaphore
from types import TracebackType
from typing import Self

from core.errors import ProviderError
from email_sync.parsing import bounded
from email_sync.providers.base import MailProvider
from email_sync.records import ParsedMessage, RemoteMessage, Stream
from email_sync.services.store import Incoming

PORTION = 100
PORTION_BYTES = 8 * 1024 * 1024
"""So many messages, or so much of them, are parsed at a time: memory does not follow a page's weight."""
PORTIONS_UNDER_WAY = 2
"""One is parsed and one waits; then the fetch does."""


REFUSED = "The server has not given its text yet; it is asked again."
"""Begins the defect of a message that came without its body (`RemoteMessage.refused`)."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What a fetch came to; with the provider's error where it failed in between."""

    messages: list[Incoming]
    error: ProviderError | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch came to while some of it may still be parsed."""

    portions: list[Future[list[Incoming]]]
    error: ProviderError | None = None

    def brought(self) -> Brought:
        """Waits for the parser."""
        return Brought([message for portion in self.portions for message in portion.result()], self.error)


class Parsing:
    """A thread that has portions parsed, for fetches that follow each other: the last of one is parsed while the first
    of the next comes. Use as a context manager; left, everything given to it is parsed."""

    def __enter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, "parse")
        self._room = Semaphore(PORTIONS_UNDER_WAY)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    def give(self, portion: Sequence[RemoteMessage]) -> Future[list[Incoming]]:
        """Waits for room."""
        self._room.acquire()
        return self._thread.submit(self._parse, portion)

    def _parse(self, portion: Sequence[RemoteMessage]) -> list[Incoming]:
        try:
            return parse_all(portion)
        finally:
            self._room.release()


def prepare() -> None:
    """Start the parser from this thread: the kernel would end it with a shorter-lived one that did."""
    bounded.shared().start()


def bring(
    mailbox: MailProvider, stream: Stream, remote_ids: Sequence[str], *, between: Callable[[], None] = lambda: None
) -> Brought:
    """Fetch and parse. `between` is called after each message."""
    with Parsing() as parsing:
        return fetch(mailbox, stream, remote_ids, parsing, between=between).brought()


def fetch(
    mailbox: MailProvider,
    stream: Stream,
    remote_ids: Sequence[str],
    parsing: Parsing,
    *,
    between: Callable[[], None] = lambda: None,
) -> Fetched:
    """Fetch, and have it parsed a portion at a time: while one is parsed, the next one comes."""
    portions: list[Future[list[Incoming]]] = []
    waiting: list[RemoteMessage] = []
    weight = 0
    error: ProviderError | None = None
    try:
        for remote in mailbox.fetch(stream, remote_ids) if remote_ids else ():
            waiting.append(remote)
            weight += len(remote.raw or b"")
            between()
            if len(waiting) == PORTION or weight > PORTION_BYTES:
                prepare()
                portions.append(parsing.give(waiting))
                waiting, weight = [], 0
    except ProviderError as failed:
        error = failed
    if waiting:
        prepare()
        portions.append(parsing.give(waiting))
    return Fetched(portions, error)


def parse_all(remotes: Sequence[RemoteMessage]) -> list[Incoming]:
    """The messages as the parser reads them, in order; those a provider has already parsed pass through. The raw bytes
    are let go."""
    raw = [remote for remote in remotes if remote.parsed is None]
    answers = bounded.shared().parse_many(
        [remote.raw or b"" for remote in raw], [remote.truncated and not remote.refused for remote in raw]
    )
    parsed = iter(answers)
    return [_incoming(r, next(parsed) if r.parsed is None else r.parsed) for r in remotes]


def _incoming(remote: RemoteMessage, parsed: ParsedMessage) -> Incoming:
    if remote.refused:
        parsed = replace(parsed, defect=f"{REFUSED} {parsed.defect}".rstrip())
    return Incoming(replace(remote, raw=None), parsed)
