"""Notes as server-sent events (WHATWG HTML, section 9.2), written as fast as the reader reads.

Called by the view. Promised: a reader that is gone is noticed within a second and one that does not read within ten,
and neither blocks the thread that writes to it.
"""

from __future__ import annotations

import json
import select
from collections.abc import Iterator
from typing import Protocol

from django.http import StreamingHttpResponse

from email_sync import serializers
from email_sync.services.following import Note

CONTENT_TYPE = "text/event-stream"
RETRY_MILLISECONDS = 2000
"""What a browser waits before it opens a stream that ended again."""
SLOW_SECONDS = 10.0
GONE = select.POLLHUP | select.POLLERR | select.POLLRDHUP | select.POLLNVAL


class Socket(Protocol):
    """Of the reader, as the server hands it on; None in tests."""

    def fileno(self) -> int: ...


def response(notes: Iterator[Note], socket: Socket | None) -> StreamingHttpResponse:
    """The answer. The first note is taken at once: an error that keeps the stream from opening is still a plain one."""
    first = next(notes)
    answer = StreamingHttpResponse(_written(first, notes, socket), content_type=CONTENT_TYPE)
    answer.headers["Cache-Control"] = "no-store, no-transform"  # a proxy that compresses would hold notes back
    answer.headers["X-Accel-Buffering"] = "no"  # nginx: pass on what comes as it comes
    return answer


def _written(first: Note, notes: Iterator[Note], socket: Socket | None) -> Iterator[bytes]:
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode() + encoded(first)
    for note in notes:
        text = encoded(note)
        if not _reads(socket, SLOW_SECONDS if text else 0):
            return
        if text:
            yield text


def encoded(note: Note) -> bytes:
    """One event, a heartbeat comment, or nothing. JSON holds no line break, so `data` is one line."""
    lines = [] if note.position is None else [f"id: {note.position}"]
    if note.type:
        data = json.dumps(serializers.stream_data(note), ensure_ascii=False, separators=(",", ":"))
        lines += [f"event: {note.type}", f"data: {data}"]
    elif lines:
        lines.insert(0, ": still here")
    return "".join(f"{line}\n" for line in [*lines, ""]).encode() if lines else b""


def _reads(socket: Socket | None, patience: float) -> bool:
    """Whether the reader is there and, with `patience` in seconds, takes more. Never blocks longer than that."""
    if socket is None:
        return True
    poll = select.poll()
    poll.register(socket.fileno(), select.POLLRDHUP | (select.POLLOUT if patience else 0))
    seen = poll.poll(patience * 1000)
    return not any(events & GONE for _, events in seen) and (bool(seen) or not patience)
