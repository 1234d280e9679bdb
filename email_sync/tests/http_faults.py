"""The faults of reference reliability R7 over HTTP: a server between the product and the simulator that spoils what
passes it. Used by the fault matrix, which sends it the requests of one operation only."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from simulator.errors import typical

WAIT_ASKED = 37
"""Seconds, by a number or by a date."""
LISTS = ("messages", "history", "labels", "value")
UNTYPED = re.compile(rb'"(id|parentFolderId|historyId|labelIds|changeKey)":\s*("[^"]*"|\[[^\[\]]*\])')


@dataclass
class Exchange:
    """One request that arrived, and the line it arrived on."""

    server: FaultyHttp
    line: socket.socket
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def say(self, status: int, body: bytes, headers: dict[str, str] | None = None, *, kind: str = "json") -> None:
        """A whole answer."""
        self.line.sendall(head(status, len(body), headers, kind) + body)

    def refuse(self, status: int, reason: str = "", **headers: str) -> None:
        """In the vendor's usual words."""
        answer = typical(self.server.vendor, "", status, reason)
        self.say(status, answer.body, {name.replace("_", "-"): value for name, value in headers.items()})

    def truth(self) -> tuple[int, bytes, str]:
        """What the simulator answers, with the effect that has: status, body, content type."""
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=30)
        try:
            upstream.request(self.method, self.target, self.body or None, dict(self.headers))
            answer = upstream.getresponse()
            return answer.status, answer.read(), answer.getheader("Content-Type") or ""
        finally:
            upstream.close()

    def alter(self, change: Callable[[Any], Any]) -> None:
        """The truth, its JSON changed; what is no JSON object passes as it is."""
        status, body, kind = self.truth()
        try:
            value = json.loads(body)
        except ValueError:
            value = None
        if isinstance(value, dict):
            body = json.dumps(change(value)).encode()
        self.line.sendall(head(status, len(body), {"Content-Type": kind}, "") + body)


def head(status: int, length: int, headers: dict[str, str] | None = None, kind: str = "json") -> bytes:
    usual = {"Content-Length": str(length), "Connection": "close", "Date": format_datetime(datetime.now(UTC), True)}
    if kind:
        usual["Content-Type"] = "application/json" if kind == "json" else kind
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in {**usual, **(headers or {})}.items())]
    return "\r\n".join([*lines, "", ""]).encode()


# --- the faults ------------------------------------------------------------------------------------------------------


def _lost_cursor(exchange: Exchange) -> None:
    exchange.refuse(404 if exchange.server.vendor == "google" else 410)


def _date(exchange: Exchange) -> None:
    exchange.refuse(429, Retry_After=format_datetime(datetime.now(UTC) + timedelta(seconds=WAIT_ASKED), usegmt=True))


def _hang(exchange: Exchange) -> None:
    exchange.truth()
    exchange.server.over.wait(20)


def _drip(exchange: Exchange) -> None:
    _, body, _ = exchange.truth()
    exchange.line.sendall(head(200, len(body) + 1000))
    for byte in body:
        if exchange.server.over.wait(1):
            return
        exchange.line.sendall(bytes([byte]))


def _cut(exchange: Exchange, *, reset: bool) -> None:
    _, body, _ = exchange.truth()
    exchange.line.sendall(head(200, len(body)) + body[: len(body) // 2])
    if reset:
        exchange.line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _half_json(exchange: Exchange) -> None:
    _, body, _ = exchange.truth()
    exchange.say(200, body[: len(body) // 2])


def _wrong_types(exchange: Exchange) -> None:
    status, body, kind = exchange.truth()
    body = UNTYPED.sub(rb'"\1": null', body)
    exchange.line.sendall(head(status, len(body), {"Content-Type": kind}, "") + body)


def _bomb(exchange: Exchange) -> None:
    exchange.truth()
    exchange.say(200, BOMB, {"Content-Encoding": "gzip"})


BOMB = gzip.compress(b'{"value": "' + bytes(80 * 1024 * 1024), 6)


def _endless(exchange: Exchange) -> None:
    """The first page again and again, each time with the same way on."""
    exchange.target = re.sub(r"pageToken=again&?", "", exchange.target)

    def goes_on(value: Any) -> Any:
        link = f"http://{exchange.server.upstream}{exchange.target}"
        value.pop("@odata.deltaLink", None)
        return {**value, "nextPageToken": "again", "@odata.nextLink": link}

    exchange.alter(goes_on)


def _doubled(exchange: Exchange) -> None:
    """Lists of objects backwards, and each item twice."""

    def twice(value: Any) -> Any:
        return value | {name: [*value[name][::-1], *value[name]] for name in LISTS if isinstance(value.get(name), list)}

    exchange.alter(twice)


def _long_header(exchange: Exchange) -> None:
    status, body, _ = exchange.truth()
    exchange.say(status, body, {"X-Long": "x" * 10_000_000})


def _silent(exchange: Exchange) -> None:
    exchange.server.over.wait(20)


ERROR_BODY = {"error": {"code": 500, "message": "Something went wrong", "errors": []}}
ELSEWHERE = {"connect timeout": "deaf", "TLS failure": "tls"}
"""Faults of the connection itself: the request goes to another port, or is made over TLS to one that speaks none."""

FAULTS: dict[str, Callable[[Exchange], None]] = {
    "401": lambda e: e.refuse(401),
    "403 scope": lambda e: e.refuse(403, "insufficientPermissions" if e.server.vendor == "google" else ""),
    "cursor gone": _lost_cursor,
    "409": lambda e: e.refuse(409),
    "429 with seconds": lambda e: e.refuse(429, Retry_After=str(WAIT_ASKED)),
    "429 with a date": _date,
    "429 without": lambda e: e.refuse(429),
    "429 for a day": lambda e: e.refuse(429, Retry_After="86400"),
    "500": lambda e: e.refuse(500),
    "502 HTML": lambda e: e.say(502, b"<html><h1>Bad gateway</h1></html>", kind="text/html"),
    "503": lambda e: e.refuse(503),
    "connect timeout": _silent,
    "read timeout": _hang,
    "one byte a second": _drip,
    "reset in the body": partial(_cut, reset=True),
    "truncated": _half_json,
    "200 with an error": lambda e: e.say(200, json.dumps(ERROR_BODY).encode()),
    "wrong types": _wrong_types,
    "gzip bomb": _bomb,
    "endless pages": _endless,
    "pages doubled": _doubled,
    "TLS failure": partial(_cut, reset=False),
    "long header": _long_header,
}
WAITS = {"429 with seconds": WAIT_ASKED, "429 with a date": WAIT_ASKED, "429 for a day": 86_400}
"""What is asked for in so many words must be kept to a second."""


# --- the server ------------------------------------------------------------------------------------------------------


@dataclass
class FaultyHttp:
    """Every request that comes here meets `fault`; `asked` counts them."""

    vendor: str
    upstream: str
    fault: str = ""
    asked: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    """Lets those go that are kept waiting."""

    def __enter__(self) -> FaultyHttp:
        self._server = _Threading(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self._deaf = socket.socket()
        self._deaf.bind(("127.0.0.1", 0))
        self._deaf.listen(0)
        self._fill = [socket.socket() for _ in range(2)]
        for caller in self._fill:  # the queue of a server that accepts nobody
            caller.setblocking(False)
            caller.connect_ex(self._deaf.getsockname())
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        for line in (*self._fill, self._deaf):
            line.close()

    def instead_of(self, url: str) -> str:
        """Where a request goes that is to meet the fault."""
        if self.fault in ELSEWHERE:
            self.asked += 1
        scheme = "https" if self.fault == "TLS failure" else "http"
        port = self._deaf.getsockname()[1] if self.fault == "connect timeout" else self._server.server_address[1]
        return urlsplit(url)._replace(scheme=scheme, netloc=f"127.0.0.1:{port}").geturl()


class _Threading(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64


def _handler(server: FaultyHttp) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        """One request per line."""

        def handle(self) -> None:
            try:
                words = self.rfile.readline(1 << 16).decode("ascii").split()
                given = [line.decode().rstrip("\r\n").partition(":") for line in iter(self.rfile.readline, b"\r\n")]
                headers = [(name, value.strip()) for name, _, value in given]
                length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
                body = self.rfile.read(length)
                server.asked += 1
                kept = [(name, value) for name, value in headers if name.lower() not in ("host", "connection")]
                FAULTS[server.fault](Exchange(server, self.connection, words[0], words[1], kept, body))
            except (OSError, ValueError):
                return  # the client has gone, or speaks TLS

    return Handler
