"""Doorbells: Graph's change notifications, Pub/Sub's pushes for Gmail and the channels of Google's calendars, POSTed to
a hub on loopback.

`server` calls `flush` after each request; what changed since a watcher was last told goes out in a task of its own,
late, twice or not at all if the settings `push_…` say so. What was posted is in `world.pushes`, for the control API.
"""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import json
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote_plus, urlsplit

from simulator.errors import Refusal
from simulator.gmail.push import due_pushes
from simulator.google_calendar import channels
from simulator.graph import subscriptions
from simulator.state import World
from simulator.wire import Request

GRAPH_SECONDS = 3.0
PUBSUB_SECONDS = 10.0
CHANNEL_SECONDS = 10.0
VALIDATION_SECONDS = 10.0
RETRY_SECONDS = 0.2
VALIDATION_TEXT = "Validation: Testing client application reachability for subscription Request-Id: "


def as_nothing(body: Any) -> tuple[bytes, dict[str, str]]:
    return b"", {}


def as_json(body: Any) -> tuple[bytes, dict[str, str]]:
    return json.dumps(body).encode(), {}


@dataclass(frozen=True)
class Message:
    """Something to post: `kind` notification, lifecycle, pubsub, channel or validation, or a vendor's own word."""

    vendor: str
    account: str
    kind: str
    url: str
    body: Any
    headers: dict[str, str]
    seconds: float
    pack: Callable[[Any], tuple[bytes, dict[str, str]]] = as_json
    """Bytes and further headers of one attempt: a signature carries the attempt's own time."""


@dataclass(frozen=True)
class Delivery:
    """One attempt. `status` is 0 when nobody answered in time, -1 when it was dropped on purpose."""

    seq: int
    time: float
    vendor: str
    account: str
    kind: str
    url: str
    status: int
    attempt: int
    body: Any

    def describe(self) -> dict[str, Any]:
        return asdict(self)


def on_loopback(url: str) -> bool:
    """The stand-in talks to nobody else."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        return parts.scheme == "http" and port != 0 and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False


def post(url: str, body: bytes, headers: dict[str, str], seconds: float) -> tuple[int, str, bytes]:
    """Status, content type and body of the answer; (0, "", b"") when there is none in time."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=seconds)
    try:
        connection.request(
            "POST", f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/", body, headers
        )
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type", ""), response.read()
    except (OSError, http.client.HTTPException):
        return 0, "", b""
    finally:
        connection.close()


class Push:
    def __init__(self, world: World) -> None:
        self.world = world
        self._tasks: set[asyncio.Task[None]] = set()

    def reset(self) -> None:
        """What is under way or late is forgotten."""
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()

    def flush(self) -> None:
        """Tells every watcher what changed since it was last told. Called from the event loop."""
        for account, url, body in subscriptions.due_notifications(self.world):
            self.send(Message("microsoft", account, "notification", url, body, {}, GRAPH_SECONDS))
        for account, body, headers in due_pushes(self.world):
            url = self.world.settings.pubsub_push_endpoint
            if on_loopback(url):
                self.send(Message("google", account, "pubsub", url, body, headers, PUBSUB_SECONDS))
        for account, url, headers in channels.due_messages(self.world):
            if on_loopback(url):
                self.send(Message("google", account, "channel", url, headers, headers, CHANNEL_SECONDS, as_nothing))

    def send(self, message: Message, *, copies: int = 0, delay: float = 0.0) -> None:
        """`copies` and `delay` (seconds) for this message alone; without, as the settings `push_…` say."""
        settings = self.world.settings
        if settings.push_drop:
            self._note(message, -1, 0)
            return
        for _ in range(copies or settings.push_copies):
            self._start(self._deliver(message, delay or settings.push_delay_seconds, settings.push_attempts))

    def lifecycle(self, event: str, email: str, subscription_id: str = "") -> int:
        """Posts a lifecycle event to those of an account's subscriptions that have an address for it; how many."""
        found = subscriptions.lifecycle(self.world, event, email, subscription_id)
        for url, body in found:
            self.send(Message("microsoft", email, "lifecycle", url, body, {}, GRAPH_SECONDS))
        return len(found)

    async def handshake(self, request: Request) -> None:
        """Before a subscription is made: does every address in it echo the token it is sent, in time and as text?"""
        try:
            addresses = subscriptions.addresses_to_validate(self.world, request)
        except Refusal:
            return
        request.validated = True
        for url in addresses:
            request.validated = request.validated and await self._validate(request, url)

    async def _validate(self, request: Request, url: str) -> bool:
        if not on_loopback(url):
            return False
        text = VALIDATION_TEXT + self.world.authority.secret_text("", 24)
        separator = "&" if urlsplit(url).query else "?"
        asked = f"{url}{separator}validationToken={quote_plus(text)}"
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        status, kind, body = await asyncio.to_thread(post, asked, b"", headers, VALIDATION_SECONDS)
        account = self.world.authority.account_of(request.bearer())
        message = Message("microsoft", account, "validation", url, {"validationToken": text}, {}, VALIDATION_SECONDS)
        self._note(message, status, 1)
        return status == 200 and kind.lower().startswith("text/plain") and body == text.encode()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, message: Message, delay: float, attempts: int) -> None:
        """At least once as far as the attempts go; any 2xx ends it."""
        if delay:
            await asyncio.sleep(delay)
        for attempt in range(1, attempts + 1):
            body, signed = message.pack(message.body)
            headers = {"Content-Type": "application/json"} | message.headers | signed
            status, _, _ = await asyncio.to_thread(post, message.url, body, headers, message.seconds)
            self._note(message, status, attempt)
            if 200 <= status < 300:
                return
            await asyncio.sleep(RETRY_SECONDS * 2**attempt)

    def _note(self, message: Message, status: int, attempt: int) -> None:
        self.world.pushes.append(
            Delivery(
                self.world.ledger.next_seq(), self.world.now(), message.vendor, message.account, message.kind,
                message.url, status, attempt, message.body,
            )
        )  # fmt: skip
