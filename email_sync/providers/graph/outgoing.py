"""A mail cut into what Graph takes in one request and the files that go up by themselves.

Called by `sending`. https://github.com/microsoftgraph/microsoft-graph-docs/issues/13979: MIME above about 2,240 KB is
not taken, and the refusal looks like a success (200 for 202). Our own mail is cut, as `email_sync.composing` writes it:
the files are the parts of the outermost multipart behind the first. What is left is MIME still, so Message-ID,
In-Reply-To and References stay, which Graph's JSON form cannot carry (reference 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from email_sync.parsing.attachments import disposition, safe_file_name
from email_sync.parsing.headers import by_name
from email_sync.parsing.parts import PartNode
from email_sync.parsing.structure import Span, Walk
from email_sync.parsing.text import decode_transfer
from email_sync.records import OutgoingMail

MAX_MIME = 2_200_000
"""Bytes of MIME that go in one request."""


@dataclass(frozen=True, slots=True)
class Enclosure:
    """A file that goes up by itself."""

    file_name: str
    content_type: str
    content: bytes = field(repr=False)
    inline: bool
    content_id: str


def with_bcc(mail: OutgoingMail) -> bytes:
    """The mail with its Bcc header: Graph takes the recipients from the headers, and Exchange keeps Bcc off the copies
    that leave. No address has white space: none may end a header line."""
    if not mail.bcc:
        return mail.mime
    return ("Bcc: " + ",\r\n ".join("".join(address.split()) for address in mail.bcc) + "\r\n").encode() + mail.mime


def cut(mime: bytes, limit: int = MAX_MIME) -> tuple[bytes, list[Enclosure]]:
    """The mail without so many of its files, the largest first, that the rest is at most `limit`; and those files, in
    their order. The rest is larger where its text alone is."""
    root = Walk(mime).root()
    if root.content_type != "multipart/mixed":
        return mime, []
    over = len(mime) - limit
    taken: list[int] = []
    files = [place for place in range(1, len(root.children)) if not root.children[place].children]
    for place in sorted(files, key=lambda place: _length(root, place), reverse=True):
        if over > 0:
            taken.append(place)
            over -= _length(root, place)
    taken.sort()
    return _without(mime, root, taken), [_enclosure(mime, root.children[place]) for place in taken]


def _length(root: Span, place: int) -> int:
    """Of a part with the delimiter before it: it begins where the part before it ends."""
    return root.children[place].end - root.children[place - 1].end


def _without(mime: bytes, root: Span, places: list[int]) -> bytes:
    kept, position = [], 0
    for place in places:
        kept.append(mime[position : root.children[place - 1].end])
        position = root.children[place].end
    return b"".join([*kept, mime[position:]])


def _enclosure(mime: bytes, span: Span) -> Enclosure:
    part = PartNode(span.part_id, span.content_type, span.headers)
    word, name = disposition(part)
    content_id = by_name(span.headers).get("content-id", [""])[0].strip("<> ")
    content = decode_transfer(mime[span.start : span.end], span.encoding)
    inline = word == "inline" and bool(content_id)
    return Enclosure(safe_file_name(name) or "attachment", span.content_type, content, inline, content_id)
