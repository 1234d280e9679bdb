"""POST /batch/gmail/v1: up to 100 calls in one multipart/mixed body. Each part is an HTTP request of its own, is
answered, charged and noted in the ledger as one, and inherits the outer Authorization."""

from __future__ import annotations

import re
from collections.abc import Callable

from simulator.errors import google_error
from simulator.state import World
from simulator.wire import MalformedRequest, Request, Response, multipart_of, parse_head, split_head

# The documented path, and the one in the discovery document, which Google's own Python client calls.
BATCH_PATHS = ("/batch/gmail/v1", "/batch")
MAX_CALLS = 100

Perform = Callable[[Request], Response]


class Batch:
    def __init__(self, world: World, perform: Perform) -> None:
        self.world, self.perform = world, perform

    def __call__(self, request: Request) -> Response:
        request.account = self.world.authority.account_of(request.bearer())
        parts = _parts(request)
        if len(parts) > MAX_CALLS:
            raise google_error(400, f"The batch request can not contain more than {MAX_CALLS} calls.", "badRequest")
        calls = [_read_call(part, request) for part in parts]
        boundary = f"batch_{self.world.authority.secret_text('', 24)}"
        body = b"".join(_answer(boundary, name, self.perform(call)) for name, call in calls)
        return Response(200, body + f"--{boundary}--\r\n".encode(), {}, f"multipart/mixed; boundary={boundary}")


def _bad_batch() -> Exception:
    return google_error(400, "Failed to parse batch request", "badRequest")


def _parts(request: Request) -> list[tuple[bytes, bytes]]:
    try:
        return multipart_of(request)
    except ValueError as error:
        raise _bad_batch() from error


def _read_call(part: tuple[bytes, bytes], outer: Request) -> tuple[str, Request]:
    """Content-ID and request of a part."""
    head, body = split_head(part[1].lstrip(b"\r\n"))
    found = re.search(rb"(?im)^content-id:\s*(.+?)\s*$", part[0])
    try:
        call = parse_head(_with_version(head))
    except MalformedRequest as error:
        raise _bad_batch() from error
    call.headers.setdefault("authorization", outer.headers.get("authorization", ""))
    call.body, call.batch = body.strip(b"\r\n"), True
    return (found[1].decode("latin-1") if found else ""), call


def _with_version(head: bytes) -> bytes:
    """A part's request line may come without `HTTP/1.1`."""
    first, separator, rest = head.partition(b"\n")
    if not first.rstrip().endswith((b"HTTP/1.1", b"HTTP/1.0")):
        first = first.rstrip() + b" HTTP/1.1"
    return first + separator + rest


def _answer(boundary: str, name: str, response: Response) -> bytes:
    lines = [f"--{boundary}", "Content-Type: application/http"]
    if name:
        lines.append(f"Content-ID: <response-{name.removeprefix('<').removesuffix('>')}>")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + response.encode() + b"\r\n"
