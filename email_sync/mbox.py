"""mbox files: many messages in one file, each behind a line that begins with "From ".

Written as mboxrd (every line that could be taken for such a line gets one more ">", so that reading gives the bytes
back); read also where another program wrote it (mboxo, Google Takeout, Thunderbird). Pure; `services.exporting` and
`services.importing` use it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

MAX_MESSAGE = 64 * 1024 * 1024
"""Bytes of one message that are read; a larger one is passed over and told."""
READ = 1024 * 1024
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_QUOTED = re.compile(rb"^(?=>*From )", re.MULTILINE)
_UNQUOTED = re.compile(rb"^>(?=>*From )", re.MULTILINE)
_LINE_END = re.compile(rb"\r?\n")
_SEPARATOR = re.compile(rb"\n\r?\n(From [^\n]{0,400}\d\d:\d\d[^\n]{0,100}\n)")
"""A blank line, then "From ", and on that line a time of day: text that begins a paragraph with "From" has none."""
_OVERLAP = 600
_FIRST = re.compile(rb"From [^\n]*\n")
_WHEN = re.compile(rb"(\w{3}) +(\d{1,2}) +(\d{1,2}):(\d\d)(?::(\d\d))?(?: +[A-Z]{1,5}| +[+-]\d{4})? +(\d{4})")


_HEAD = 64 * 1024
_HEADER = re.compile(
    rb"(?im)^(?:from|sender|reply-to|to|cc|date|subject|message-id|received|return-path|mime-version|content-type)"
    rb"[ \t]*:"
)
"""One of these is in whatever passed a mail program (RFC 5322 asks for From and Date)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of a file, by its place in it."""

    start: int
    end: int
    """Where the next one begins."""
    raw: bytes | None
    """The message with CRLF lines; None where it is larger than MAX_MESSAGE."""
    received_at: datetime | None
    """What its "From " line says, read as UTC; None where it does not say."""


def entry(raw: bytes, sender: str, received_at: datetime) -> bytes:
    """A message as it stands in a file."""
    moment = received_at.astimezone(UTC)
    day, month = DAYS[moment.weekday()], MONTHS[moment.month - 1]
    who = re.sub(r"[^\x21-\x7e]", "", sender) or "MAILER-DAEMON"
    line = f"From {who} {day} {month} {moment.day:2} {moment:%H:%M:%S} {moment.year}\n".encode()
    lines = _LINE_END.sub(b"\n", raw)
    return line + _QUOTED.sub(b">", lines) + (b"\n" if lines.endswith(b"\n") else b"\n\n")


def canonical(raw: bytes) -> bytes:
    """The message with CRLF lines and one line end at its end: the same whichever way it came."""
    return _LINE_END.sub(b"\r\n", raw).rstrip(b"\r\n") + b"\r\n"


def is_mail(raw: bytes) -> bool:
    """Whether it begins as a mail does: a header before the first blank line. JSON, a picture or a text does not."""
    head = _LINE_END.sub(b"\n", raw[:_HEAD]).lstrip(b"\n").partition(b"\n\n")[0]
    return _HEADER.search(head) is not None


def digest(raw: bytes) -> str:
    """What identifies an imported message: SHA-256 of its canonical bytes, hexadecimal."""
    return hashlib.sha256(canonical(raw)).hexdigest()


def entries(read: Callable[[int, int], bytes], offset: int = 0, *, piece: int = READ) -> Iterator[Entry]:
    """The messages from `offset` on, which is 0 or an `end` of before. `read(offset, size)` gives so many bytes of the
    file, fewer at its end only. A file that does not begin as an mbox does is one message."""
    if offset == 0 and not _FIRST.match(read(0, 1024)):
        yield _single(read)
        return
    buffer, start, dropped, searched = bytearray(), offset, 0, 0
    while True:
        found = _SEPARATOR.search(buffer, searched)
        if found is not None:
            end = start + dropped + found.start(1)
            yield _entry(start, end, bytes(buffer[: found.start(1)]), too_large=dropped > 0)
            del buffer[: found.start(1)]
            start, dropped, searched = end, 0, 0
            continue
        chunk = read(start + dropped + len(buffer), piece)
        if not chunk:
            break
        searched = max(0, len(buffer) - _OVERLAP)
        buffer += chunk
        if dropped or len(buffer) > MAX_MESSAGE + piece:
            surplus = max(0, len(buffer) - piece - _OVERLAP)
            del buffer[:surplus]
            dropped, searched = dropped + surplus, max(0, searched - surplus)
    if buffer:
        yield _entry(start, start + dropped + len(buffer), bytes(buffer), too_large=dropped > 0)


def _single(read: Callable[[int, int], bytes]) -> Entry:
    parts: list[bytes] = []
    size = 0
    while chunk := read(size, READ):
        size += len(chunk)
        if size <= MAX_MESSAGE:
            parts.append(chunk)
    return Entry(0, size, canonical(b"".join(parts)) if size <= MAX_MESSAGE else None, None)


def _entry(start: int, end: int, text: bytes, *, too_large: bool) -> Entry:
    line, _, rest = text.partition(b"\n")
    raw = None if too_large or len(rest) > MAX_MESSAGE else canonical(_UNQUOTED.sub(b"", rest))
    return Entry(start, end, raw, _received_at(line))


def _received_at(line: bytes) -> datetime | None:
    found = _WHEN.search(line)
    if found is None:
        return None
    month, day, hour, minute, second, year = found.groups()
    try:
        number = MONTHS.index(month.decode().title()) + 1
        return datetime(int(year), number, int(day), int(hour), int(minute), int(second or 0), tzinfo=UTC)
    except ValueError:
        return None
