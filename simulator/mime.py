"""An RFC 822 message as Gmail shows it: the part tree with decoded headers, the snippet, and the few header facts the
mailbox needs. Never raises on hostile mail: what cannot be parsed becomes one text part."""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from email.generator import BytesGenerator
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from functools import lru_cache
from io import BytesIO
from typing import Any

# Bodies beyond this come by attachment id even when they are text.
INLINE_LIMIT = 1024 * 1024
ENCODED_WORD = re.compile(r"=\?([^?*\s]+)(?:\*[^?]*)?\?([bBqQ])\?([^?]*)\?=")
BETWEEN_ENCODED_WORDS = re.compile(r"(\?=)\s+(=\?)")
TAGS = re.compile(r"<(style|script)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)
SPACE = re.compile(r"\s+")
FOLDING = re.compile(r"\r?\n(?=[ \t])")
REPLY_PREFIX = re.compile(r"^\s*(?:(?:re|fwd?|aw|wg)\s*(?:\[\d+\])?\s*:\s*)+", re.IGNORECASE)
MESSAGE_ID = re.compile(r"<[^<>\s]+>")


@dataclass
class Part:
    part_id: str
    mime_type: str
    filename: str
    headers: list[dict[str, str]]
    data: bytes | None = None
    parts: list[Part] = field(default_factory=list)

    def by_attachment(self) -> bool:
        """Whether Gmail gives an attachment id instead of the bytes."""
        return self.data is not None and (bool(self.filename) or len(self.data) > INLINE_LIMIT or not self._is_text())

    def _is_text(self) -> bool:
        return self.mime_type.startswith("text/")


@dataclass(frozen=True)
class HeaderFacts:
    """What threading and search need, read from the head alone."""

    message_id: str
    references: list[str]
    subject: str
    sender: str
    recipients: str
    date: str


def encode_base64url(data: bytes) -> str:
    """base64url without padding; decoders must cope (RFC 4648, 3.2)."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode_base64url(text: str) -> bytes:
    """Padding optional, both alphabets taken; raises ValueError on anything else."""
    packed = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)


def decode_text(data: bytes, charset: str) -> str:
    try:
        return data.decode(charset or "utf-8", "replace")
    except (LookupError, ValueError):
        return data.decode("latin-1")


def decode_header(raw: str) -> str:
    """Unfolded, raw 8-bit read as UTF-8, encoded words decoded, as Gmail's `full` and `metadata` formats show it."""
    text = raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    text = FOLDING.sub("", text)
    if "=?" not in text:
        return text
    return ENCODED_WORD.sub(_decode_word, BETWEEN_ENCODED_WORDS.sub(r"\1\2", text))


def _decode_word(match: re.Match[str]) -> str:
    charset, encoding, payload = match.groups()
    try:
        if encoding in "bB":
            data = base64.b64decode(payload + "=" * (-len(payload) % 4))
        else:
            data = binascii.a2b_qp(payload.encode("ascii", "replace"), header=True)
    except ValueError:
        return match.group(0)
    return decode_text(data, charset)


def head_of(raw: bytes) -> bytes:
    """The header block, also of a message with bare LF."""
    ends = [end for end in (raw.find(b"\r\n\r\n"), raw.find(b"\n\n")) if end >= 0]
    return raw[: min(ends)] if ends else raw


def header_lines(raw: bytes) -> list[tuple[str, str]]:
    """(lower-case name, decoded value) of the top headers."""
    head = FOLDING.sub("", head_of(raw).decode("utf-8", "replace"))
    pairs = (line.partition(":") for line in head.splitlines())
    return [(name.strip().lower(), decode_header(value.strip())) for name, colon, value in pairs if colon]


def read_facts(raw: bytes) -> HeaderFacts:
    values: dict[str, str] = {}
    for name, value in header_lines(raw):
        values.setdefault(name, value)
    references = MESSAGE_ID.findall(values.get("references", "")) + MESSAGE_ID.findall(values.get("in-reply-to", ""))
    recipients = ", ".join(values[name] for name in ("to", "cc", "bcc") if values.get(name))
    return HeaderFacts(
        values.get("message-id", ""),
        references,
        values.get("subject", ""),
        values.get("from", ""),
        recipients,
        values.get("date", ""),
    )


def base_subject(subject: str) -> str:
    return SPACE.sub(" ", REPLY_PREFIX.sub("", subject)).strip().lower()


def without_header(raw: bytes, name: str) -> bytes:
    """The message without every header of that name, folded lines included."""
    head = head_of(raw)
    pattern = re.compile(rb"(?im)^" + re.escape(name.encode()) + rb"[ \t]*:.*(?:\r?\n[ \t].*)*(?:\r?\n|\Z)")
    return pattern.sub(b"", head + b"\r\n").removesuffix(b"\r\n") + raw[len(head) :]


def with_header(raw: bytes, name: str, value: str) -> bytes:
    """The message with this one header of that name, on top."""
    return f"{name}: {value}\r\n".encode() + without_header(raw, name)


@lru_cache(maxsize=4096)
def parse(raw: bytes) -> Part:
    """The part tree; shared between calls, so not to be changed."""
    try:
        return _build(BytesParser(policy=compat32).parsebytes(raw), "")
    except RecursionError:
        # Thousands of nested parts: the stand-in shows such a message as one text.
        headers = [{"name": name.title(), "value": value} for name, value in header_lines(raw)]
        return Part("", "text/plain", "", headers, raw[len(head_of(raw)) :])


def _build(message: Message, part_id: str) -> Part:
    headers = [{"name": name, "value": decode_header(value).strip()} for name, value in message.raw_items()]
    part = Part(part_id, message.get_content_type(), _filename(message), headers)
    if message.is_multipart():
        prefix = f"{part_id}." if part_id else ""
        children = [child for child in message.get_payload() if isinstance(child, Message)]
        part.parts = [_build(child, f"{prefix}{number}") for number, child in enumerate(children)]
        if message.get_content_maintype() == "message":
            part.data = b"".join(bytes_of(child) for child in children)
    else:
        part.data = _body(message)
    return part


def bytes_of(message: Message) -> bytes:
    """A nested message as bytes; empty when it cannot be written again, which only hostile mail manages."""
    try:
        buffer = BytesIO()
        BytesGenerator(buffer, mangle_from_=False, maxheaderlen=0, policy=compat32).flatten(message)
        return buffer.getvalue()
    except (UnicodeError, LookupError, ValueError, TypeError, AttributeError):
        return b""


def _filename(message: Message) -> str:
    try:
        return decode_header(message.get_filename() or "")
    except (LookupError, ValueError, TypeError, AttributeError):
        return ""


def _body(message: Message) -> bytes:
    """Transfer encoding undone; text re-encoded as UTF-8 whatever its charset was, as Gmail delivers it."""
    payload = message.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    if message.get_content_maintype() != "text" or _filename(message):
        return data
    return decode_text(data, message.get_content_charset("utf-8")).encode("utf-8", "replace")


@lru_cache(maxsize=4096)
def snippet(raw: bytes) -> str:
    """The first words of the text, HTML-escaped as Gmail gives them."""
    part = _first_text(parse(raw), "text/plain") or _first_text(parse(raw), "text/html")
    if part is None or part.data is None:
        return ""
    text = part.data[:4000].decode("utf-8", "replace")
    if part.mime_type == "text/html":
        text = html.unescape(TAGS.sub(" ", text))
    return html.escape(SPACE.sub(" ", text).strip()[:200], quote=True)


def _first_text(part: Part, mime_type: str) -> Part | None:
    if part.mime_type == mime_type and not part.filename:
        return part
    found = (_first_text(child, mime_type) for child in part.parts)
    return next((child for child in found if child), None)


def find_part(part: Part, part_id: str) -> Part | None:
    if part.part_id == part_id:
        return part
    found = (find_part(child, part_id) for child in part.parts)
    return next((child for child in found if child), None)


def render(part: Part, attachment_id: Callable[[Part], str]) -> dict[str, Any]:
    """The part as JSON, Gmail's `payload`."""
    body: dict[str, Any] = {"size": len(part.data or b"")}
    if part.by_attachment():
        body["attachmentId"] = attachment_id(part)
    elif part.data:
        body["data"] = encode_base64url(part.data)
    shown: dict[str, Any] = {
        "partId": part.part_id,
        "mimeType": part.mime_type,
        "filename": part.filename,
        "headers": part.headers,
        "body": body,
    }
    if part.parts:
        shown["parts"] = [render(child, attachment_id) for child in part.parts]
    return shown
