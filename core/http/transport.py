"""Connections of `core.http`: an httpcore pool per process whose sockets come from `core.egress`.

Called by `core.http.client` alone. Promised: every wait on a socket ends at the attempt's deadline; the attempt knows
whether a connection was made for it and whether a byte of it left; a child process starts with no connection of its
parent's, and a changed EGRESS_ALLOW_CIDRS never meets a connection made under another.
"""

from __future__ import annotations

import functools
import logging
import os
import select
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from core import egress

MAX_CONNECTIONS = 20
MAX_IDLE_CONNECTIONS = 10
IDLE_SECONDS = 30.0
CONNECT_SECONDS = 10.0

# httpcore writes headers of answers to its debug log, cookies among them.
logging.getLogger("httpcore").setLevel(logging.WARNING)


@dataclass
class Attempt:
    """One try at one request."""

    deadline: float
    connected: bool = False
    """A connection was opened for it (as opposed to one taken from the pool)."""
    written: bool = False
    """Some of it may have reached the server."""

    def remaining(self) -> float:
        """Seconds until the deadline; ReadTimeout once it has passed."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("The deadline has passed.")
        return left


_current: ContextVar[Attempt] = ContextVar("attempt")


@contextmanager
def exchange(
    request: httpx.Request, attempt: Attempt, *, opened_only: bool, fresh: bool
) -> Iterator[httpcore.Response]:
    """The answer with its body still to be read. `fresh` never takes a connection from the pool.

    A request that must not be repeated goes out on a fresh connection, because a pooled one may have been closed by the
    server meanwhile, and then nobody knows whether the request was seen.
    """
    token = _current.set(attempt)
    pool = _pool(tuple(map(str, egress.allowed_networks())), opened_only, fresh)
    try:
        response = pool.handle_request(_lower(request, attempt))
        try:
            yield response
        finally:
            response.close()
    finally:
        _current.reset(token)


def _lower(request: httpx.Request, attempt: Attempt) -> httpcore.Request:
    url = httpcore.URL(
        scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path
    )
    left = attempt.remaining()
    limits = {"connect": min(left, CONNECT_SECONDS), "read": left, "write": left, "pool": left}
    return httpcore.Request(
        request.method, url, headers=request.headers.raw, content=request.content, extensions={"timeout": limits}
    )


@functools.lru_cache(maxsize=16)
def _pool(allowed: tuple[str, ...], opened_only: bool, fresh: bool) -> httpcore.ConnectionPool:
    return httpcore.ConnectionPool(
        ssl_context=egress.tls_context("http/1.1"),
        max_connections=MAX_CONNECTIONS,
        max_keepalive_connections=0 if fresh else MAX_IDLE_CONNECTIONS,
        keepalive_expiry=IDLE_SECONDS,
        http1=True,
        http2=False,
        network_backend=_Backend(opened_only),
    )


os.register_at_fork(after_in_child=_pool.cache_clear)


class _Backend(httpcore.NetworkBackend):
    """Where httpcore gets its sockets."""

    def __init__(self, opened_only: bool) -> None:
        self._opened_only = opened_only

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A stream over a checked address; errors are already `core.errors`."""
        attempt = _current.get()
        limit = min(attempt.remaining(), CONNECT_SECONDS)
        attempt.connected = True
        return _Stream(egress.connect(host, port, limit, opened_only=self._opened_only))


class _Stream(httpcore.NetworkStream):
    """A socket whose every wait ends at the deadline of the attempt that uses it now."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Some bytes, none at the end."""
        with _mapped(httpcore.ReadTimeout, httpcore.ReadError):
            self._sock.settimeout(_current.get().remaining())
            return self._sock.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """All of `buffer`."""
        attempt = _current.get()
        with _mapped(httpcore.WriteTimeout, httpcore.WriteError):
            view = memoryview(buffer)
            while view:
                self._sock.settimeout(attempt.remaining())
                attempt.written = True
                view = view[self._sock.send(view) :]

    def close(self) -> None:
        """Gives the socket back."""
        self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The same connection under TLS, checked against the name that was asked for."""
        limit = min(_current.get().remaining(), CONNECT_SECONDS)
        return _Stream(egress.start_tls(self._sock, server_hostname or "", limit, alpn="http/1.1"))

    def get_extra_info(self, info: str) -> Any:
        """`is_readable` tells the pool that the server has closed an idle connection."""
        if info == "is_readable":
            return _is_readable(self._sock)
        return None


@contextmanager
def _mapped(timed_out: type[Exception], failed: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise timed_out(str(error)) from error
    except OSError as error:
        raise failed(str(error)) from error


def _is_readable(sock: socket.socket) -> bool:
    if sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))
