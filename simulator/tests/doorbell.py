"""A hub's address for notifications, on loopback: echoes validation tokens, keeps what is posted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Doorbell:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
        self.status = 202
        self.echo = True
        self.received: list[tuple[dict[str, str], Any]] = []
        """Headers with lower-case names, and body."""
        self.raw: list[bytes] = []
        """The same bodies as they came: what a signature is over."""

    def wait(self, count: int, seconds: float = 30.0) -> list[Any]:
        """The bodies, once there are that many."""
        until = time.monotonic() + seconds
        while len(self.received) < count and time.monotonic() < until:
            time.sleep(0.01)
        assert len(self.received) >= count, self.received
        return [body for _, body in self.received]

    def changes(self, count: int) -> list[tuple[str, str]]:
        """changeType and id of the first `count` Graph notifications, however they were bundled."""
        until = time.monotonic() + 30
        found: list[tuple[str, str]] = []
        while len(found) < count and time.monotonic() < until:
            time.sleep(0.01)
            values = [value for _, body in list(self.received) for value in body["value"]]
            found = [(value["changeType"], value["resourceData"]["id"]) for value in values]
        assert len(found) >= count, found
        return found


@contextmanager
def doorbell() -> Iterator[Doorbell]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = parse_qs(urlsplit(self.path).query).get("validationToken")
            answer = asked[0].encode() if asked and bell.echo else b""
            if not asked:
                bell.raw.append(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                bell.received.append((headers, json.loads(body) if body else None))
            self.send_response(200 if asked else bell.status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    bell = Doorbell(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield bell
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
