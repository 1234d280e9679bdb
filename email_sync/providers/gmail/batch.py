"""Gmail's batch form: several calls in one multipart/mixed request, each with an answer and a status of its own.

https://developers.google.com/workspace/gmail/api/guides/batch: at most 100 calls, more than 50 are likely to be
throttled; the outer Authorization holds for each; an answer's Content-ID is the call's with `response-` before it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from core.errors import ProviderUnavailable
from core.http import Response

PATH = "/batch/gmail/v1"
MAX_CALLS = 50
BOUNDARY = "batch_patchbay"
CONTENT_TYPE = f"multipart/mixed; boundary={BOUNDARY}"

_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/[\d.]+ (\d{3})")
_CONTENT_ID = re.compile(rb"^content-id:\s*<?response-(\d{1,4})>?", re.IGNORECASE | re.MULTILINE)


def packed(targets: Sequence[str]) -> bytes:
    """GET requests for `targets` (path and query) as one body."""
    parts = [
        f"--{BOUNDARY}\r\nContent-Type: application/http\r\nContent-ID: <{place}>\r\n\r\nGET {target} HTTP/1.1\r\n\r\n"
        for place, target in enumerate(targets)
    ]
    return "\r\n".join([*parts, f"--{BOUNDARY}--\r\n"]).encode("ascii")


def unpacked(answer: Response, count: int) -> list[Response | None]:
    """The answers in the order of the calls; None for one that is missing or cannot be read.

    ProviderUnavailable where the whole is no batch answer.
    """
    answers: list[Response | None] = [None] * count
    for position, part in enumerate(_parts(answer)):
        head, _, inner = _at_blank_line(part)
        named = _CONTENT_ID.search(head)
        place = int(named[1]) if named else position
        if place < count and answers[place] is None:
            answers[place] = _response(answer, inner)
    return answers


def _parts(answer: Response) -> list[bytes]:
    boundary = re.search(
        r"multipart/mixed.*boundary=\"?([^\";]+)", answer.headers.get("content-type", ""), re.IGNORECASE
    )
    if boundary is None:
        raise ProviderUnavailable("Gmail answered a batch with something that is not a batch.")
    # The boundary is Google's secret until now: no mail can hold it.
    pieces = answer.content.split(b"--" + boundary[1].strip().encode())
    return [piece.lstrip(b"\r\n") for piece in pieces[1:] if not piece.startswith(b"--")]


def _response(outer: Response, inner: bytes) -> Response | None:
    """The HTTP answer inside a part."""
    head, _, body = _at_blank_line(inner)
    status = _STATUS_LINE.match(head)
    if status is None:
        return None
    headers = outer.headers.copy()
    headers.clear()
    for line in head.decode("latin-1").splitlines()[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip()] = value.strip()
    return replace(outer, status=int(status[1]), headers=headers, content=body)


def _at_blank_line(data: bytes) -> tuple[bytes, bytes, bytes]:
    found = _BLANK_LINE.search(data)
    return (data, b"", b"") if found is None else (data[: found.start()], found[0], data[found.end() :])
