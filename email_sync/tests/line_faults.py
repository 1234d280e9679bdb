"""The faults of reference reliability R7 for servers that are spoken to line by line: a wire between the product and a
real IMAP or SMTP server, on which a command that matches meets the fault instead. Used by the fault matrix."""

from __future__ import annotations

import re
import select
import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

IMAP_REFUSALS = {
    "401": b"NO [AUTHENTICATIONFAILED] Invalid credentials",
    "403 scope": b"NO [NOPERM] Not allowed",
    "cursor gone": b"NO [NONEXISTENT] No such mailbox",
    "409": b"NO [INUSE] Somebody else is writing",
    "429 with seconds": b"NO [LIMIT] Too many commands",
    "429 with a date": b"NO [THROTTLED] Wait",
    "429 without": b"NO Too many requests",
    "429 for a day": b"NO [OVERQUOTA] The mailbox is full",
    "500": b"NO [SERVERBUG] Internal error",
    "503": b"NO [UNAVAILABLE] Down for maintenance",
}
SMTP_REFUSALS = {
    "401": b"535 5.7.8 Not accepted",
    "403 scope": b"550 5.7.1 Not allowed",
    "cursor gone": b"550 5.1.1 No such user",
    "409": b"451 4.3.0 Busy",
    "429 with seconds": b"421 4.7.0 Too many messages",
    "429 with a date": b"450 4.7.1 Wait",
    "429 without": b"452 4.5.3 Too many",
    "429 for a day": b"452 4.2.2 The mailbox is full",
    "500": b"554 5.3.0 Internal error",
    "503": b"421 4.3.2 Down for maintenance",
}


@dataclass
class Command:
    """One that met the fault."""

    wire: FaultyWire
    client: socket.socket
    server: socket.socket
    line: bytes

    @property
    def tag(self) -> bytes:
        return self.line.split(b" ")[0]

    def refuse(self, words: bytes) -> None:
        self.client.sendall(words + b"\r\n" if self.wire.protocol == "smtp" else self.tag + b" " + words + b"\r\n")

    def truth(self) -> tuple[bytes, bytes]:
        """The server's answer, with the effect that has: what comes before the last line, and that line."""
        self.server.sendall(self.line)
        end = (
            rb"(?m)^\d{3} .*\r\n\Z" if self.wire.protocol == "smtp" else rb"(?m)^" + re.escape(self.tag) + rb" .*\r\n\Z"
        )
        came = b""
        while not (last := re.search(end, came)):
            piece = self.server.recv(1 << 16)
            if not piece:
                return came, b""
            came += piece
        return came[: last.start()], last[0]


def _say(command: Command, before: bytes) -> bool:
    """Something between the command and its answer."""
    command.client.sendall(before)
    _, last = command.truth()
    command.client.sendall(last)
    return True


def _silent(command: Command) -> bool:
    command.truth()
    command.wire.over.wait(20)
    return False


def _deaf(command: Command) -> bool:
    """Gone, and whoever knocks is not answered."""
    command.wire.deaf = True
    return False


def _drip(command: Command) -> bool:
    untagged, last = command.truth()
    for byte in (untagged or b"* OK Wait\r\n") + last:
        if command.wire.over.wait(1):
            return False
        command.client.sendall(bytes([byte]))
    return False


def _cut(command: Command, *, reset: bool) -> bool:
    whole = b"".join(command.truth())
    command.client.sendall(whole[: len(whole) // 2])
    if reset:
        command.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def _nothing(command: Command) -> bool:
    """Success, and not a word of what was asked for."""
    command.refuse(b"250 OK" if command.wire.protocol == "smtp" else b"OK Done")
    return True


def _endless(command: Command) -> bool:
    while not command.wire.over.is_set():
        command.client.sendall(b"* OK More follows\r\n" * 100)
    return False


def _doubled(command: Command) -> bool:
    untagged, last = command.truth()
    command.client.sendall(untagged * 2 + last)
    return True


def _refuse(name: str, command: Command) -> bool:
    """An SMTP server that is behind still waits for the end of the mail: it is left."""
    command.refuse((SMTP_REFUSALS if command.wire.protocol == "smtp" else IMAP_REFUSALS)[name])
    return command.wire.protocol != "smtp"


UNTYPED = (
    b"* 1 FETCH (UID NIL FLAGS 7 RFC822.SIZE (1) INTERNALDATE NIL)\r\n* SEARCH x\r\n* STATUS NIL NIL\r\n* LIST 7\r\n"
)
FAULTS: dict[str, Callable[[Command], bool]] = {
    **{name: partial(_refuse, name) for name in IMAP_REFUSALS},
    "502 HTML": lambda c: _say(c, b"<html><h1>Bad gateway</h1></html>\r\n"),
    "connect timeout": _deaf,
    "read timeout": _silent,
    "one byte a second": _drip,
    "reset in the body": partial(_cut, reset=True),
    "truncated": partial(_cut, reset=False),
    "200 with an error": _nothing,
    "wrong types": lambda c: _say(c, UNTYPED),
    "gzip bomb": lambda c: _say(c, b"* 1 FETCH (UID 1 BODY[] {99999999999}\r\n"),
    "endless pages": _endless,
    "pages doubled": _doubled,
    "TLS failure": lambda c: _say(c, b"\x16\x03\x03\x00\x02\x02\x28\r\n"),
    "long header": lambda c: _say(c, b"* OK " + b"x" * 17_000_000 + b"\r\n"),
}
"""Each does what it does and says whether the line lives on."""


@dataclass
class FaultyWire:
    """A port of its own before the server's. Commands that match `pattern` meet `fault`; `asked` counts them."""

    protocol: str
    upstream: int
    fault: str = ""
    pattern: str = ""
    asked: int = 0
    deaf: bool = False
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> FaultyWire:
        self._server = _Threading(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.mend()
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port

    def mend(self) -> None:
        """The fault is over."""
        self.fault, self.deaf = "", False
        self.over.set()

    def meets(self, line: bytes) -> bool:
        return bool(self.fault and re.search(self.pattern, line.decode("latin-1").rstrip("\r\n"), re.IGNORECASE))


class _Threading(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Conversation(socketserver.StreamRequestHandler):
    """One connection. Answers pass as they come; commands are looked at line by line."""

    wire: FaultyWire

    def handle(self) -> None:
        if self.wire.deaf:
            self.wire.asked += 1
            self.wire.over.wait(20)
            return
        with socket.create_connection(("127.0.0.1", self.wire.upstream), timeout=30) as server:
            passes, idle = threading.Event(), threading.Event()
            passes.set()
            threading.Thread(target=self._answers, args=(server, passes, idle), daemon=True).start()
            with suppress(OSError):
                self._commands(server, passes, idle)

    def _commands(self, server: socket.socket, passes: threading.Event, idle: threading.Event) -> None:
        while line := self.rfile.readline():
            if not self.wire.meets(line):
                server.sendall(line)
                continue
            self.wire.asked += 1
            passes.clear()
            idle.wait(5)
            if not FAULTS[self.wire.fault](Command(self.wire, self.connection, server, line)):
                return
            passes.set()

    def _answers(self, server: socket.socket, passes: threading.Event, idle: threading.Event) -> None:
        """Carries what the server says, but while a command meets its fault."""
        with suppress(OSError, ValueError):
            while True:
                if not passes.is_set():
                    idle.set()
                    passes.wait()
                    idle.clear()
                if not select.select([server], [], [], 0.05)[0] or not passes.is_set():
                    continue
                piece = server.recv(1 << 16)
                if not piece:
                    break
                self.connection.sendall(piece)
            self.connection.shutdown(socket.SHUT_RDWR)


def _handler(wire: FaultyWire) -> type[_Conversation]:
    return type("Handler", (_Conversation,), {"wire": wire})
