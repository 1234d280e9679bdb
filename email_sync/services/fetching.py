"""From remote ids to parsed messages. Called by the engine, also in a thread of its own: knows no database.

Parsing runs in a bounded child process, so no message can stop or bloat a worker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from core.errors import ProviderError
from email_sync.parsing import bounded
from email_sync.providers.base import MailProvider
from email_sync.records import ParsedMessage, RemoteMessage, Stream
from email_sync.services.store import Incoming

PORTION = 50
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


def prepare() -> None:
    """Start the parser from this thread: the kernel would end it with a shorter-lived one that did."""
    bounded.shared().start()


def bring(
    mailbox: MailProvider, stream: Stream, remote_ids: Sequence[str], *, between: Callable[[], None] = lambda: None
) -> Brought:
    """Fetch and parse, a portion at a time: while one is parsed, the next one comes. `between` is called after each
    message."""
    messages: list[Incoming] = []
    waiting: list[RemoteMessage] = []
    under_way: deque[Future[list[Incoming]]] = deque()
    weight = 0
    error: ProviderError | None = None
    with ThreadPoolExecutor(1, "parse") as parser:
        try:
            for remote in mailbox.fetch(stream, remote_ids) if remote_ids else ():
                waiting.append(remote)
                weight += len(remote.raw or b"")
                between()
                if len(waiting) == PORTION or weight > PORTION_BYTES:
                    prepare()
                    if len(under_way) == PORTIONS_UNDER_WAY:
                        messages += under_way.popleft().result()
                    under_way.append(parser.submit(parse_all, waiting))
                    waiting, weight = [], 0
        except ProviderError as failed:
            error = failed
        for portion in under_way:
            messages += portion.result()
    return Brought([*messages, *parse_all(waiting)], error)


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
