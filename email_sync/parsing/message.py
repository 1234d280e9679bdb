"""The parser: raw bytes, or a part tree from a provider's API, to a `records.ParsedMessage`.

Called in the bounded child (`bounded.BoundedParser`) for raw mail and by the Gmail provider for trees. Promises: never
raises, whatever the bytes; work and result are bounded; what could not be read is said in `defect`.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from core.errors import RemoteMissing
from email_sync.parsing import calendars, markup, reports
from email_sync.parsing import headers as head
from email_sync.parsing.attachments import attachment_part, disposition
from email_sync.parsing.mailboxes import addresses
from email_sync.parsing.parts import PartNode
from email_sync.parsing.structure import Walk, find, node
from email_sync.parsing.text import clean, decode, decode_pieces, unflow
from email_sync.records import Address, AttachmentPart, DeliveryReport, ParsedMessage

__all__ = ["PartNode", "attachment", "attachment_pieces", "from_parts", "headers_only", "parse", "unreadable"]

MAX_TEXT = 1024 * 1024
MAX_HTML = 2 * 1024 * 1024
MAX_TREE_DEPTH = 60
"""Of a tree given to `from_parts`; the walk over raw bytes stops earlier."""
MAX_ATTACHMENTS = 1_000
MAX_CALENDARS = 5
PIECE = 256 * 1024
"""Encoded bytes of an attachment that are decoded at a time."""

TRUNCATED = "Only the beginning was fetched: the message is over the size limit."
NOBODY = Address("", "")


def parse(raw: bytes, *, truncated: bool = False) -> ParsedMessage:
    """Any bytes as a message. `truncated` says that more of it stayed at the provider."""
    notes = [TRUNCATED] if truncated else []
    try:
        walk = Walk(raw)
        root = walk.root()
        return _parsed(root.headers, node(raw, root), [*notes, *walk.notes])
    except Exception as error:  # noqa: BLE001 - the boundary: one message must never stop the others (reliability R9)
        return headers_only(raw, " ".join([*notes, f"The body could not be read ({type(error).__name__})."]))


def from_parts(headers: Sequence[tuple[str, str]], parts: PartNode) -> ParsedMessage:
    """A message whose tree the provider's API gave. `headers` are the message's, decoded or not."""
    capped = tuple((name, value[: head.MAX_VALUE]) for name, value in headers[: head.MAX_HEADERS])
    try:
        return _parsed(capped, parts, [])
    except Exception as error:  # noqa: BLE001 - the boundary, as in `parse`
        return _from_headers(capped, f"The body could not be read ({type(error).__name__}).")


def headers_only(raw: bytes, defect: str) -> ParsedMessage:
    """What the headers say, for a message whose body is beyond reading."""
    try:
        return _from_headers(head.split_block(raw, 0, len(raw))[0], defect)
    except Exception:  # noqa: BLE001 - the boundary, as in `parse`
        return unreadable(defect)


def unreadable(defect: str) -> ParsedMessage:
    """The record of a message of which nothing could be read."""
    return _from_headers((), defect)


def attachment(raw: head.Raw, part_id: str) -> bytes:
    """The decoded bytes of one part. RemoteMissing where the message has no such part."""
    return b"".join(attachment_pieces(raw, part_id))


def attachment_pieces(raw: head.Raw, part_id: str) -> Iterator[bytes]:
    """The decoded bytes of one part, a piece at a time. RemoteMissing where the message has no such part."""
    span = find(Walk(raw).root(), part_id)
    if span is None:
        raise RemoteMissing("The message has no such part.")
    starts = range(span.start, span.end, PIECE)
    yield from decode_pieces((raw[start : min(start + PIECE, span.end)] for start in starts), span.encoding)


# --- headers ---------------------------------------------------------------------------------------------------------


def _from_headers(
    headers: head.Headers,
    defect: str,
    *,
    text: str = "",
    html_body: str = "",
    attachments: tuple[AttachmentPart, ...] = (),
    report: DeliveryReport | None = None,
) -> ParsedMessage:
    values = head.by_name(headers)

    def value(name: str) -> str:
        return next((item for item in values.get(name, ()) if item), "")

    def people(name: str) -> tuple[Address, ...]:
        return addresses(", ".join(values.get(name, ())))  # two To headers happen

    return ParsedMessage(
        message_id=head.message_id(value("message-id")),
        in_reply_to=head.references(value("in-reply-to")),
        references=head.references(value("references")),
        subject=head.subject(value("subject")),
        sender=next(iter(people("from") or people("sender")), NOBODY),
        to=people("to"),
        cc=people("cc"),
        bcc=people("bcc"),
        reply_to=people("reply-to"),
        sent_at=head.date(value("date")),
        text=text,
        html=html_body,
        attachments=attachments,
        headers=head.shown(headers),
        defect=defect,
        report=report,
    )


# --- bodies ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Bodies:
    """The leaves of a tree by what a reader does with them (the algorithm of RFC 8621 section 4.1.4)."""

    text: list[PartNode] = field(default_factory=list)
    html: list[PartNode] = field(default_factory=list)
    attachments: list[PartNode] = field(default_factory=list)

    def sort(
        self, parts: Sequence[PartNode], kind: str, *, alternative: bool, to_text: bool, to_html: bool, depth: int
    ) -> None:
        """`kind` is the subtype of the enclosing multipart. Inside one branch of an alternative, only that branch's
        form is fed (`to_text`, `to_html`)."""
        text_before, html_before = len(self.text), len(self.html)
        for index, part in enumerate(parts):
            content_type = part.content_type.lower() or "text/plain"
            if content_type.startswith("multipart/") and part.children and depth < MAX_TREE_DEPTH:
                inner = content_type.partition("/")[2]
                self.sort(
                    part.children, inner, alternative=alternative or inner == "alternative",
                    to_text=to_text, to_html=to_html, depth=depth + 1,
                )  # fmt: skip
            elif not _is_body(part, content_type, kind, index):
                self.attachments.append(part)
            elif kind == "alternative":
                (self.text if content_type == "text/plain" else self.html).append(part)
            else:
                if alternative:  # a text beside its related images: this branch has one form only
                    to_text, to_html = content_type == "text/plain", content_type == "text/html"
                if to_text:
                    self.text.append(part)
                if to_html:
                    self.html.append(part)
        if kind == "alternative":
            self._fill(text_before, html_before, to_text=to_text, to_html=to_html)

    def _fill(self, text_before: int, html_before: int, *, to_text: bool, to_html: bool) -> None:
        """An alternative that has only one form stands for both."""
        if to_text and len(self.text) == text_before:
            self.text.extend(self.html[html_before:])
        elif to_html and len(self.html) == html_before:
            self.html.extend(self.text[text_before:])


def _is_body(part: PartNode, content_type: str, kind: str, index: int) -> bool:
    """Whether a leaf is text to be read in place. What was not fetched or is named is an attachment."""
    if content_type not in ("text/plain", "text/html") or part.body is None:
        return False
    word, file_name = disposition(part)
    if word == "attachment":
        return False
    return index == 0 or (kind != "related" and not file_name)


def _parsed(headers: head.Headers, root: PartNode, notes: list[str]) -> ParsedMessage:
    bodies = _Bodies()
    bodies.sort([root], "mixed", alternative=False, to_text=True, to_html=True, depth=0)
    text, html_body = _text(bodies.text), _html(bodies.html)
    if len(text) > MAX_TEXT or len(html_body) > MAX_HTML:
        notes.append("The text is longer than can be kept and was cut.")
    return _from_headers(
        headers,
        " ".join(notes),
        text=clean(text, MAX_TEXT).strip("\n"),
        html_body=clean(html_body, MAX_HTML),
        attachments=tuple(_attachments(bodies.attachments[:MAX_ATTACHMENTS])),
        report=reports.find(headers, root, text),
    )


def _attachments(parts: Sequence[PartNode]) -> Iterator[AttachmentPart]:
    """With what the first few calendars say."""
    shown = [id(part) for part in parts if calendars.is_calendar(part)][:MAX_CALENDARS]
    for part in parts:
        yield attachment_part(part, calendars.summary(part) if id(part) in shown else None)


def _text(parts: Sequence[PartNode]) -> str:
    found = (markup.to_text(_source(part)) if _is_html(part) else _characters(part) for part in parts)
    return "\n\n".join(text for text in found if text.strip())


def _html(parts: Sequence[PartNode]) -> str:
    """The HTML parts in order; plain parts between them are shown as they are. No HTML part at all: "", the text
    serves."""
    if not any(_is_html(part) for part in parts):
        return ""
    return "\n".join(
        _source(part) if _is_html(part) else f"<pre>{html.escape(_characters(part))}</pre>" for part in parts
    )


def _is_html(part: PartNode) -> bool:
    return part.content_type.lower() == "text/html"


def _source(part: PartNode) -> str:
    return _decoded(part, MAX_HTML)


def _characters(part: PartNode) -> str:
    parameters = _parameters(part)
    text = _decoded(part, MAX_TEXT)
    if parameters.get("format", "").lower() == "flowed":
        return unflow(text, delete_space=parameters.get("delsp", "").lower() == "yes")
    return text


def _decoded(part: PartNode, limit: int) -> str:
    """The part's characters, one more than `limit` at most so that a cut is seen."""
    body = (part.body or b"")[: limit * 4]
    return decode(body, _parameters(part).get("charset", "")).replace("\r\n", "\n")[: limit + 1]


def _parameters(part: PartNode) -> Mapping[str, str]:
    return head.value_and_parameters(head.first(part.headers, "content-type"))[1]
