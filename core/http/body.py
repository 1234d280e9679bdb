"""Bodies as they arrive: unpacked piece by piece, never past a limit.

Called by `core.http.client`. Promised: no piece unpacks to more than was asked for, so a bomb costs its cap and no
more; an unfinished or false encoding is BadBody.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable


class BadBody(Exception):
    """The body cannot be taken: too large, or not what its encoding says. The text is fit to show."""


class TooLarge(BadBody):
    """More of it came than was to be taken: asking for less may help."""


def read_body(chunks: Iterable[bytes], encoding: str, max_bytes: int) -> bytes:
    """The whole body, unpacked by its Content-Encoding; both its sizes are held to `max_bytes` while it arrives."""
    unpack: _Plain | _Gzip | None = None
    packed = 0
    content = bytearray()
    for chunk in chunks:
        unpack = unpack or _decoder(encoding.strip().lower())
        packed += len(chunk)
        content += unpack.feed(chunk, max_bytes + 1 - len(content))
        if packed > max_bytes or len(content) > max_bytes:
            raise TooLarge(f"the answer is larger than {max_bytes} bytes")
    if unpack is not None:
        unpack.finish()
    return bytes(content)


class _Plain:
    """A body that is not packed."""

    def feed(self, chunk: bytes, limit: int) -> bytes:
        """The chunk; `limit` is the caller's to check, nothing grows here."""
        return chunk

    def finish(self) -> None:
        """Nothing can be missing: HTTP framing says where the body ends."""


class _Gzip:
    """RFC 1952, members in sequence, never unpacking more than it was asked for."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._begun = False

    def feed(self, chunk: bytes, limit: int) -> bytes:
        """What `chunk` unpacks to, cut at `limit` bytes."""
        out = bytearray()
        while chunk and len(out) < limit:
            if self._stream.eof:
                self._stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
            self._begun = True
            try:
                out += self._stream.decompress(chunk, limit - len(out))
            except zlib.error as error:
                raise BadBody("the answer is not the gzip it says it is") from error
            chunk = self._stream.unused_data or self._stream.unconsumed_tail
        return bytes(out)

    def finish(self) -> None:
        """A member that was begun has to be complete."""
        if self._begun and not self._stream.eof:
            raise BadBody("the answer ends in the middle")


def _decoder(encoding: str) -> _Plain | _Gzip:
    if encoding in ("", "identity"):
        return _Plain()
    if encoding in ("gzip", "x-gzip"):
        return _Gzip()
    raise BadBody("the answer is packed in a way that was not asked for")
