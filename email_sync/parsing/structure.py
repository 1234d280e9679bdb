"""Raw bytes to a MIME tree within bounds: no more than 50 levels and 1,000 parts, whatever the sender wrote.

Offsets into the message, not copies, until a part's text is wanted; each level is scanned once. Part numbers are the
IMAP sections (RFC 9051 6.4.5.1), so that an attachment can be fetched by `BODY.PEEK[1.2]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from email_sync.parsing.headers import Headers, Raw, first, split_block, value_and_parameters
from email_sync.parsing.parts import REPORT_BYTES, REPORT_TYPES, PartNode
from email_sync.parsing.text import base64_size, decode_transfer

MAX_DEPTH = 50
MAX_PARTS = 1_000
MAX_TEXT_BYTES = 8 * 1024 * 1024
"""Encoded bytes of a text part that are looked at: enough for the longest text kept, in any encoding."""

WITH_BYTES = frozenset({"text/plain", "text/html", "text/calendar", "application/ics"})
"""Parts that are read; all others are only described."""
_REST_OF_DELIMITER = re.compile(rb"(--)?[ \t]*\r?(?:\n|\Z)")
_BASE64 = "base64"
_PLAIN_ENCODINGS = {"", "7bit", "8bit", "binary"}


@dataclass(frozen=True, slots=True)
class Span:
    """A part and where its still encoded body lies in the raw message."""

    part_id: str
    content_type: str
    headers: Headers
    encoding: str
    start: int
    end: int
    children: tuple[Span, ...] = ()


class Walk:
    """One walk over one message. `notes` says which bounds were hit."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.parts = 0
        self.notes: list[str] = []

    def root(self) -> Span:
        return self._span(0, len(self.raw), "", 0, "text/plain")

    def _span(self, start: int, end: int, part_id: str, depth: int, default_type: str) -> Span:
        self.parts += 1
        headers, body = split_block(self.raw, start, end)
        content_type, parameters = value_and_parameters(first(headers, "content-type"))
        encoding = value_and_parameters(first(headers, "content-transfer-encoding"))[0]
        if content_type.count("/") != 1:
            content_type = default_type if not content_type else "text/plain"  # RFC 2045 5.2
        children: tuple[Span, ...] = ()
        if content_type.startswith("multipart/"):
            children = self._children(body, end, part_id, depth, content_type, parameters.get("boundary", ""))
            if not children and depth < MAX_DEPTH:
                content_type = "text/plain"  # no boundary, or one that never comes: show what there is
        return Span(part_id or "1", content_type, headers, encoding, body, end, children)

    def _children(
        self, start: int, end: int, part_id: str, depth: int, content_type: str, boundary: str
    ) -> tuple[Span, ...]:
        if not boundary:
            return ()
        if depth >= MAX_DEPTH:
            self._note(f"It is nested more than {MAX_DEPTH} levels deep; the rest is kept as one attachment.")
            return ()
        default_type = "message/rfc822" if content_type == "multipart/digest" else "text/plain"
        children = []
        for number, (begin, stop) in enumerate(self._bodies(boundary, start, end), start=1):
            if self.parts >= MAX_PARTS:
                self._note(f"It has more than {MAX_PARTS} parts; the rest is left out.")
                break
            child_id = f"{part_id}.{number}" if part_id else str(number)
            children.append(self._span(begin, stop, child_id, depth + 1, default_type))
        return tuple(children)

    def _bodies(self, boundary: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Where each body part of a multipart lies. A missing closing delimiter closes the last part at the end."""
        marker = b"--" + boundary.encode("utf-8", "surrogatepass").rstrip()
        part_start = -1
        position = start
        while (at := self._next_marker(marker, position, start, end)) >= 0:
            rest = _REST_OF_DELIMITER.match(self.raw, at + len(marker), end)
            if rest is None:  # a longer boundary that begins like this one
                position = at + len(marker)
                continue
            if part_start >= 0:
                yield part_start, max(part_start, self._before_newline(at))
            if rest[1]:
                return
            part_start = position = rest.end()
        if part_start >= 0:
            yield part_start, end

    def _next_marker(self, marker: bytes, position: int, start: int, end: int) -> int:
        """The next line that begins with `marker`, -1 where none does. The line before may end where this one
        begins."""
        begins = position == start or self.raw[position - 1 : position] == b"\n"
        if begins and self.raw[position : min(position + len(marker), end)] == marker:
            return position
        found = self.raw.find(b"\n" + marker, position, end)
        return found + 1 if found >= 0 else -1

    def _before_newline(self, at: int) -> int:
        """The line break before a delimiter belongs to the delimiter."""
        at -= 1
        return at - 1 if self.raw[at - 1 : at] == b"\r" else at

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def node(raw: bytes, span: Span) -> PartNode:
    """A span as the tree both sources share. Only text has its bytes with it."""
    body = beginning = None
    if span.content_type in WITH_BYTES and not span.children:
        body = decode_transfer(raw[span.start : min(span.end, span.start + MAX_TEXT_BYTES)], span.encoding)
    elif span.content_type in REPORT_TYPES:
        beginning = decode_transfer(raw[span.start : min(span.end, span.start + REPORT_BYTES)], span.encoding)
    return PartNode(
        part_id=span.part_id,
        content_type=span.content_type,
        headers=span.headers,
        body=beginning if body is None else body,
        size=_size(raw, span, body),
        children=tuple(node(raw, child) for child in span.children),
    )


def _size(raw: bytes, span: Span, body: bytes | None) -> int:
    if span.children or span.encoding in _PLAIN_ENCODINGS:
        return span.end - span.start
    if body is not None and span.end - span.start <= MAX_TEXT_BYTES:
        return len(body)
    if span.encoding == _BASE64:
        return base64_size(raw, span.start, span.end)
    return len(decode_transfer(raw[span.start : span.end], span.encoding))


def find(span: Span, part_id: str) -> Span | None:
    """The leaf with this part number."""
    if not span.children:
        return span if span.part_id == part_id else None
    return next((found for child in span.children if (found := find(child, part_id))), None)
