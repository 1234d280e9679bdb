"""Small loopback servers that misbehave on demand, for the tests of `core.egress` and `core.http`."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

Script = Callable[[socket.socket, bytes], bool | None]
"""Given the connection and one request (head and body), writes what it likes; True keeps the connection for more."""


def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """A well-formed answer; header names are given with underscores."""
    lines = {"content-length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Words\r\n{head}\r\n".encode() + body


class LoopbackServer:
    """Listens on 127.0.0.1, runs `script` for each request, remembers what it was sent and how often it was reached."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None, greeting: bytes = b"") -> None:
        self.script = script
        self.greeting = greeting
        self.tls = tls
        self.requests: list[bytes] = []
        self.connections = 0
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with self.tls.wrap_socket(connection, server_side=True) if self.tls else connection as stream:
                stream.sendall(self.greeting)
                while request := read_request(stream):
                    self.requests.append(request)
                    if not self.script(stream, request):
                        return
        except OSError:
            return

    def wait(self, seconds: float) -> bool:
        """Pause inside a script, cut short when the server stops; True when it has stopped."""
        return self._stopped.wait(seconds)

    def stop(self) -> None:
        """Closes everything and waits for the threads."""
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):  # the script may have closed it already
                connection.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def read_request(stream: socket.socket) -> bytes:
    """One whole request by its Content-Length, or nothing at the end of the connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = stream.recv(65536)
        if not piece:
            return b""
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while lengths and len(body) < lengths[0]:
        body += stream.recv(65536)
    return head + b"\r\n\r\n" + body


def replying(*answers: bytes) -> Script:
    """A script that gives each answer in turn (the last for ever) and keeps the connection."""
    queue = list(answers)

    def script(stream: socket.socket, _: bytes) -> bool:
        stream.sendall(queue.pop(0) if len(queue) > 1 else queue[0])
        return True

    return script


def failing(before_closing: bytes = b"") -> Script:
    """A script that sends this much and closes."""
    return lambda stream, _: stream.sendall(before_closing)


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """The block ends within this time."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds
