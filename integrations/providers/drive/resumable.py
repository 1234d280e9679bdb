"""Drive's resumable uploads (developers.google.com/workspace/drive/api/guides/manage-uploads#resumable): a content goes
to a session's address chunk by chunk. Called by the provider. The address is a secret that stands for the token.

Promised: one chunk is in memory; what broke is not sent blindly again, Drive is asked first how far it got; an error
says truly whether a file may have come to be.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from core.errors import ProviderOutcomeUnknown, ProviderUnavailable
from core.http import Response, request

CHUNK_BYTES = 4 * 1024 * 1024
"""A multiple of 256 KiB, as every chunk but the last has to be."""
MOST_FAILURES = 5
"""Chunks and questions in a row that brought the upload no further, after which it is given up."""

Read = Callable[[int, int], bytes]
"""(start, length) → that part of a content. It is asked again for what did not arrive."""


def send(address: str, read: Read, size: int, *, timeout: float) -> Response:
    """The first answer that is not about how far it got: the file, 404 where the session was forgotten, or a refusal.

    ProviderUnavailable: given up, there is no file. ProviderOutcomeUnknown: given up after the last chunk left.
    """
    stored, failures, asking, whole = 0, 0, False, False
    while failures <= MOST_FAILURES:
        chunk = b"" if asking else read(stored, min(CHUNK_BYTES, size - stored))
        whole = whole or (not asking and stored + len(chunk) == size)
        response = _put(address, chunk, _range(stored, len(chunk), size, asking=asking), timeout)
        if response is None or response.status >= 500:
            failures, asking = failures + 1, True
            continue
        if response.status != 308:
            return response
        got = _stored(response)
        failures = 0 if got > stored else failures + (not asking)
        stored, asking = got, False
    if whole:
        raise ProviderOutcomeUnknown("Google Drive did not say whether it stored the file.")
    raise ProviderUnavailable("Google Drive did not take the upload. Nothing was stored.")


def _put(address: str, chunk: bytes, where: dict[str, str], timeout: float) -> Response | None:
    """One request; None where no answer came."""
    try:
        return request("PUT", address, headers=where, content=chunk, timeout=timeout, secret_url=True)
    except ProviderUnavailable:
        return None


def _range(start: int, length: int, size: int, *, asking: bool) -> dict[str, str]:
    """An empty file has no range; a question has one without a place."""
    if asking:
        return {"Content-Range": f"bytes */{size}"}
    return {"Content-Range": f"bytes {start}-{start + length - 1}/{size}"} if size else {}


def _stored(response: Response) -> int:
    """How many bytes a 308 says are there: without a Range none are."""
    match = re.fullmatch(r"bytes=0-(\d{1,15})", response.headers.get("range", "").strip())
    return int(match[1]) + 1 if match else 0
