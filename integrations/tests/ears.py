"""Servers on loopback that count who came: what nobody may reach (a canary), and what may be and sends callers on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

BOTH = ("127.0.0.1", "::1")
FINE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


def onward(status: int, location: str) -> bytes:
    """An answer that sends its caller to another address."""
    head = f"HTTP/1.1 {status} Onward\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    return head.encode()


class Ear:
    """Listens on one port of each host, answers every request alike, counts connections."""

    def __init__(self, hosts: Sequence[str], port: int, reply: bytes) -> None:
        self.reply = reply
        self._came: list[object] = []
        self._changed = threading.Condition()
        self._listeners = [socket.create_server((hosts[0], port), family=_family(hosts[0]))]
        self.port: int = self._listeners[0].getsockname()[1]
        for host in hosts[1:]:
            self._listeners.append(socket.create_server((host, self.port), family=_family(host)))
        for listener in self._listeners:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def heard(self) -> int:
        """How many connections there were. Callers come in order, so a probe that was heard is the last of them."""
        with self._changed:
            for listener in self._listeners:
                self._probe(listener)
            return len(self._came)

    def _probe(self, listener: socket.socket) -> None:
        address = listener.getsockname()
        with socket.create_connection(address[:2], timeout=5) as probe:
            own = probe.getsockname()
            assert self._changed.wait_for(lambda: own in self._came, timeout=5)
        self._came.remove(own)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, address = listener.accept()
            except OSError:
                return
            with self._changed:
                self._came.append(address)
                self._changed.notify_all()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                if connection.recv(65536):
                    connection.sendall(self.reply)
            except OSError:
                return

    def close(self) -> None:
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


@contextmanager
def listening(hosts: Sequence[str] = BOTH, *, port: int = 0, reply: bytes = FINE) -> Iterator[Ear]:
    """An ear for the length of a block. OSError where the machine has no such address."""
    ear = Ear(hosts, port, reply)
    try:
        yield ear
    finally:
        ear.close()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
