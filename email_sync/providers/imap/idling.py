"""IDLE (RFC 2177): a logged-in connection on the inbox over which the server says when something changes.

Opened in a thread by the sync's own `Connection` (addresses, TLS and log-in are the same), then handed to an event loop
as a bare socket: no stream and no task per connection, so that thousands fit into one process. IDLE is asked for again
before the server's half hour is over, which also finds out that a silent connection is dead.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum, auto
from typing import ClassVar

from core.errors import ProviderError, UnsupportedOperation
from email_sync.providers.base import MailAccount
from email_sync.providers.doorbells.base import Listener
from email_sync.providers.imap.connection import Connection
from email_sync.providers.imap.errors import ConnectionLost, words
from email_sync.providers.imap.settings import endpoint

ANSWER_SECONDS = 30.0
"""For the answer to IDLE or DONE."""
CHUNK = 4096
LINE_LIMIT = 16 * 1024
FLOOD_LIMIT = 1024 * 1024
"""Bytes between two IDLEs: more than thirty thousand changes at once, or a server that does not stop talking."""
_CHANGE = re.compile(rb"\* (?:\d+ (?:EXISTS|EXPUNGE|FETCH)\b|VANISHED\b)", re.IGNORECASE)
_NO_IDLE = "The server does not offer IDLE: it is asked by interval only."


class _Stage(Enum):
    ASKED = auto()
    """IDLE was sent."""
    IDLING = auto()
    ENDING = auto()
    """DONE was sent."""


class Idle(Listener):
    """One inbox. `open` in a thread, everything else in one event loop."""

    key: ClassVar[str] = "imap"
    via: ClassVar[str] = "idle"

    def __init__(self, account: MailAccount, *, reissue_seconds: float) -> None:
        super().__init__(account, reissue_seconds=reissue_seconds)
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stage = _Stage.ASKED
        self._deadline = 0.0
        self._tag = 0
        self._rest = b""
        self._heard = 0
        self._changed = False
        self._lost: ProviderError | None = None
        self._stirred = asyncio.Event()

    @classmethod
    def host(cls, settings: Mapping[str, object]) -> str:
        side = settings.get("imap")
        return str(side.get("host") or "").lower() if isinstance(side, Mapping) else ""

    def open(self) -> None:
        connection = Connection(endpoint(self.account, "imap"))
        try:
            if "IDLE" not in connection.capabilities:
                raise UnsupportedOperation(_NO_IDLE)
            connection.demand("EXAMINE", "INBOX")
            self._socket = connection.hand_over()
        finally:
            connection.close()
        self._socket.setblocking(False)

    async def changed(self) -> None:
        if self._loop is None:
            self._attach(asyncio.get_running_loop())
        while not self._changed:
            if self._lost is not None:
                raise self._lost
            await self._stir()
        self._changed = False

    def close(self) -> None:
        found, self._socket = self._socket, None
        if found is None:
            return
        if self._loop is not None:
            self._loop.remove_reader(found.fileno())
            with suppress(OSError):
                found.send(b"DONE\r\nbye LOGOUT\r\n")
        found.close()

    # --- waiting ----------------------------------------------------------------------------------------------

    def _attach(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._socket is None:
            raise ConnectionLost("The connection was never opened.")
        self._loop = loop
        loop.add_reader(self._socket.fileno(), self._read)
        self._ask()

    async def _stir(self) -> None:
        """Until something was read or the time has come to act."""
        assert self._loop is not None  # noqa: S101 - attached
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._deadline):
                await self._stirred.wait()
        self._stirred.clear()
        if self._loop.time() < self._deadline:
            return
        if self._stage is _Stage.IDLING:
            self._say(b"DONE\r\n", _Stage.ENDING, ANSWER_SECONDS)
        else:
            self._end("The server did not answer in time.")

    def _ask(self) -> None:
        self._tag += 1
        self._heard = 0
        self._say(b"i%d IDLE\r\n" % self._tag, _Stage.ASKED, ANSWER_SECONDS)

    def _say(self, line: bytes, stage: _Stage, seconds: float) -> None:
        """A dozen bytes: a socket that does not take them at once is as good as dead."""
        assert self._socket is not None and self._loop is not None  # noqa: S101, PT018 - attached
        self._stage, self._deadline = stage, self._loop.time() + seconds
        try:
            if self._socket.send(line) != len(line):
                self._end("The connection broke.")
        except OSError:
            self._end("The connection broke.")

    def _end(self, why: str) -> None:
        if self._lost is None:
            self._lost = ConnectionLost(why)
        if self._loop is not None and self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
        self._stirred.set()

    # --- reading ----------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """All there is: what TLS has unpacked already makes no socket readable."""
        assert self._socket is not None  # noqa: S101 - attached
        try:
            while self._lost is None:
                chunk = self._socket.recv(CHUNK)
                if not chunk:
                    self._end("The server closed the connection.")
                self._take(chunk)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            self._end("The connection broke.")

    def _take(self, chunk: bytes) -> None:
        self._heard += len(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._line(line.rstrip(b"\r"))
        if len(self._rest) > LINE_LIMIT or self._heard > FLOOD_LIMIT:
            self._end("The server says more than can be listened to.")

    def _line(self, line: bytes) -> None:
        if _CHANGE.match(line):
            self._changed = True
            self._stirred.set()
        elif line.startswith(b"+") and self._stage is _Stage.ASKED:
            self._stage = _Stage.IDLING
            self._deadline = self._loop.time() + self.reissue_seconds if self._loop else 0.0
            self._stirred.set()
        elif line[:5].upper() == b"* BYE":
            self._end(words(line[5:].strip()) or "The server closed the connection.")
        elif line.startswith(b"i%d " % self._tag):
            self._tagged(line.split(b" ", 1)[1])

    def _tagged(self, answer: bytes) -> None:
        """IDLE is over: because we said so, else because the server takes none or no more."""
        if answer[:2].upper() == b"OK" and self._stage is _Stage.ENDING:
            self._ask()
        else:
            self._end(words(answer.split(b" ", 1)[-1]) or _NO_IDLE)
