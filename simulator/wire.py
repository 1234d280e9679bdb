"""HTTP/1.1 as bytes: requests read from a stream, answers turned into bytes. Used by `server` and by the batch
endpoints, which carry whole requests inside a request. Knows nothing of vendors, routes or faults."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote

MAX_HEAD_BYTES = 256 * 1024
MAX_BODY_BYTES = 200 * 1024 * 1024
BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
BLANK_LINE = re.compile(rb"\r?\n\r?\n")
REASONS = {status.value: status.phrase for status in HTTPStatus}


class MalformedRequest(Exception):
    """What arrived is not HTTP we can answer; the connection is closed."""


@dataclass
class Request:
    """One request. The lower half is filled in on its way and ends in the ledger."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""
    keep_alive: bool = True

    params: dict[str, str] = field(default_factory=dict)
    vendor: str = ""
    operation: str = ""
    account: str = ""
    units: int = 0
    batch: bool = False
    validated: bool = False
    """Whether the addresses of a new Graph subscription passed the handshake."""
    in_flight: int = 0
    """Requests under way for the same mailbox, this one included; counted for Graph."""
    effect: dict[str, Any] | None = None

    @cached_property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @cached_property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(self.target.partition("?")[2], keep_blank_values=True)

    @cached_property
    def form_lists(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode("utf-8", "replace"), keep_blank_values=True)

    @cached_property
    def form(self) -> dict[str, str]:
        """A form body, the first value of each field."""
        return {name: values[0] for name, values in self.form_lists.items()}

    @cached_property
    def segments(self) -> list[str]:
        return [unquote(segment) for segment in self.path.split("/")[1:]]

    def argument(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return self.query.get(name, [default])[0]

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; raises ValueError when it is not one."""
        value = json.loads(self.body or b"{}")
        if isinstance(value, dict):
            return value
        raise ValueError("the body is not a JSON object")

    def bearer(self) -> str:
        """The bearer token, also from `access_token=` as Google allows; empty when there is none."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return token.strip()
        return self.argument("access_token")

    def client_credentials(self) -> tuple[str, str]:
        """An OAuth client's id and secret, from HTTP Basic or the form (RFC 6749, 2.3.1)."""
        scheme, _, packed = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return self.form.get("client_id", ""), self.form.get("client_secret", "")
        try:
            name, _, secret = base64.b64decode(packed).decode().partition(":")
        except ValueError:
            return "", ""
        return unquote(name), unquote(secret)


@dataclass
class Response:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json; charset=UTF-8"
    delay: float = 0.0
    """Seconds between the work and the answer."""

    def encode(self, *, keep_alive: bool = True, head: bool = False) -> bytes:
        """The whole answer as bytes, Content-Length included."""
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Unknown')}"]
        if self.body or self.status not in (204, 304):
            lines.append(f"Content-Length: {len(self.body)}")
        if self.body:
            lines.append(f"Content-Type: {self.content_type}")
        lines.extend(f"{name}: {value}" for name, value in self.headers.items())
        lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (b"" if head else self.body)


def json_response(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(status, json.dumps(value, ensure_ascii=False).encode(), dict(headers or {}))


def html_response(page: str, status: int = 200) -> Response:
    return Response(status, page.encode(), {"Cache-Control": "no-store"}, "text/html; charset=utf-8")


def redirect(location: str) -> Response:
    return Response(302, b"", {"Location": location, "Cache-Control": "no-store"})


def parse_head(head: bytes) -> Request:
    """Request line and headers; a header that comes twice is joined with a comma (RFC 9110, 5.3)."""
    first, *lines = head.decode("latin-1").replace("\r\n", "\n").split("\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise MalformedRequest(first[:80])
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            continue
        name = name.strip().lower()
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    wish = headers.get("connection", "").lower()
    keep_alive = wish != "close" if words[2] == "HTTP/1.1" else wish == "keep-alive"
    return Request(words[0].upper(), words[1], headers, keep_alive=keep_alive)


def split_head(data: bytes) -> tuple[bytes, bytes]:
    """Headers and content of a part; lines may end in LF alone, as some clients write them."""
    pieces = BLANK_LINE.split(data, maxsplit=1)
    return pieces[0], pieces[1] if len(pieces) > 1 else b""


def multipart_of(request: Request) -> list[tuple[bytes, bytes]]:
    """(head, content) of each part of a multipart body; raises ValueError when it is none."""
    boundary = BOUNDARY.search(request.headers.get("content-type", ""))
    if boundary is None:
        raise ValueError("no boundary")
    limit = rb"(?:\A|\r?\n)--" + re.escape(boundary[1].encode()) + rb"(?:--)?[ \t]*(?=\r?\n|\Z)"
    pieces = re.split(limit, request.body)[1:-1]
    return [split_head(re.sub(rb"\A\r?\n", b"", piece)) for piece in pieces]


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """The next request of a connection, None when the other side has closed it."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError as error:
        raise MalformedRequest("head too long") from error
    request = parse_head(head[:-4].lstrip(b"\r\n"))
    if request.headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.body = await _read_body(reader, request.headers)
    return request


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return await _read_chunks(reader)
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MAX_BODY_BYTES:
        raise MalformedRequest("bad Content-Length")
    return await reader.readexactly(int(length)) if length != "0" else b""


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    chunks = bytearray()
    while True:
        line = await reader.readuntil(b"\r\n")
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError as error:
            raise MalformedRequest("bad chunk size") from error
        if size + len(chunks) > MAX_BODY_BYTES:
            raise MalformedRequest("body too long")
        chunks += (await reader.readexactly(size + 2))[:-2]
        if not size:
            return bytes(chunks)
