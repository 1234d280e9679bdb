"""What the web server itself refuses, in the API's error shape: an address or headers over its limits, and requests
that are none. Django never sees them.

Set as gunicorn's writer of errors by `config.web`. Promised: the status is the server's, no byte of the request comes
back, and the answer arrives although nobody read the rest of the request.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from contextlib import suppress
from http import HTTPStatus
from typing import Protocol

from core.api.middleware import API_POLICY

logger = logging.getLogger("patchbay.api")

REFUSALS = {
    414: ("uri_too_long", "The address is too long. Long lists belong into a body."),
    417: ("expectation_failed", "This expectation cannot be met."),
    431: ("headers_too_large", "The request's headers are too large, or too many."),
    500: ("internal_error", "Something failed on our side. The request id finds it in the log."),
    501: ("not_implemented", "This transfer coding is not supported."),
}
LINGER_SECONDS = 2.0
LINGER_BYTES = 4 * 1024 * 1024


class Line(Protocol):
    """Of a socket, what is needed."""

    def settimeout(self, value: float | None, /) -> None: ...

    def sendall(self, data: bytes, /) -> None: ...

    def recv(self, size: int, /) -> bytes: ...


def write(line: Line, status: int, reason: str, words: str) -> None:
    """As `gunicorn.util.write_error`; `words` may quote the request and stay in the server's log."""
    request_id = uuid.uuid4().hex
    logger.info("Refused a request with %d (%s) as %s", status, reason, request_id)
    line.settimeout(LINGER_SECONDS)
    with suppress(OSError):
        line.sendall(answer(status, request_id))
        _let_it_be_read(line)


def answer(status: int, request_id: str) -> bytes:
    """The whole answer."""
    known = status in {member.value for member in HTTPStatus}
    code, message = REFUSALS.get(status, ("bad_request", "This is not a valid HTTP request."))
    body = json.dumps({"error": {"code": code, "message": message, "requestId": request_id}}).encode()
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase if known else 'Error'}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"Content-Security-Policy: {API_POLICY}",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        f"X-Request-Id: {request_id}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _let_it_be_read(line: Line) -> None:
    """A connection that is closed on bytes nobody read is reset, and the answer lost with it: take them, up to a bound,
    until the client has what it needs and hangs up."""
    until, left = time.monotonic() + LINGER_SECONDS, LINGER_BYTES
    while left > 0 and time.monotonic() < until:
        piece = line.recv(64 * 1024)
        if not piece:
            return
        left -= len(piece)
