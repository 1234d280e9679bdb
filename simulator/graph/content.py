"""What Graph shows of a message's MIME: recipients, body, preview, attachments, headers. Read once per message."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import getaddresses, parsedate_to_datetime
from functools import lru_cache
from typing import Any

from simulator.mime import SPACE, TAGS, Part, header_lines, parse, snippet

UNSAFE = re.compile(r"<script\b.*?</script\s*>|<(?:script|object|embed|iframe)\b[^>]*>", re.IGNORECASE | re.DOTALL)
PREVIEW = 255


@dataclass(frozen=True)
class Attachment:
    """`kind` is file or item (a message inside a message, whose bytes `$value` gives as MIME)."""

    number: str
    kind: str
    name: str
    content_type: str
    data: bytes
    inline: bool
    content_id: str


@dataclass(frozen=True)
class Content:
    headers: tuple[tuple[str, str], ...]
    """As they stood, with their own case, decoded."""
    text: str | None
    html: str | None
    attachments: tuple[Attachment, ...]
    meeting: str
    """The METHOD of an invitation in it, empty when there is none."""

    def first(self, name: str) -> str:
        return next((value for found, value in self.headers if found.lower() == name), "")

    def recipients(self, name: str) -> list[dict[str, Any]]:
        values = [value for found, value in self.headers if found.lower() == name]
        return [recipient(shown, address) for shown, address in getaddresses(values) if address]

    def body(self, wanted: str) -> dict[str, str]:
        """HTML is kept unless text is wanted; a plain mail is text, unless HTML was asked for."""
        if wanted == "text":
            return {"contentType": "text", "content": self.text if self.text is not None else plain(self.html or "")}
        if self.html is not None:
            return {"contentType": "html", "content": self.html}
        if wanted == "html":
            escaped = html.escape(self.text or "", quote=False).replace("\n", "<br>\n")
            page = '<html><head>\r\n<meta http-equiv="Content-Type" content="text/html; charset=utf-8"></head><body>'
            return {"contentType": "html", "content": f"{page}{escaped}</body></html>"}
        return {"contentType": "text", "content": self.text or ""}

    def has_attachments(self) -> bool:
        """Inline ones do not count."""
        return any(not attachment.inline for attachment in self.attachments)


def recipient(name: str, address: str) -> dict[str, Any]:
    return {"emailAddress": {"name": name or address, "address": address}}


def plain(page: str) -> str:
    return html.unescape(TAGS.sub(" ", page)).strip()


def safe(page: str) -> str:
    """What Graph takes out of HTML unless `outlook.allow-unsafe-html` is preferred."""
    return UNSAFE.sub("", page)


@lru_cache(maxsize=2048)
def read_content(raw: bytes) -> Content:
    tree = parse(raw)
    headers = tuple((item["name"], item["value"]) for item in tree.headers) or tuple(header_lines(raw))
    texts: dict[str, str] = {}
    attachments: list[Attachment] = []
    meeting = ""
    for part in _leaves(tree):
        kind = part.mime_type
        if kind == "text/calendar" and not part.filename:
            meeting = meeting or _parameter(part, "method").upper() or "PUBLISH"
        elif kind in ("text/plain", "text/html") and kind not in texts and not _is_file(part):
            texts[kind] = (part.data or b"").decode("utf-8", "replace")
        else:
            attachments.append(_attachment(part, attachments))
    return Content(headers, texts.get("text/plain"), texts.get("text/html"), tuple(attachments), meeting)


def _leaves(part: Part) -> Iterator[Part]:
    """In order; a message inside the message is one leaf."""
    if part.parts and not part.mime_type.startswith("message/"):
        for child in part.parts:
            yield from _leaves(child)
    elif not part.mime_type.startswith("multipart/"):
        yield part


def _header(part: Part, name: str) -> str:
    return next((item["value"] for item in part.headers if item["name"].lower() == name), "")


def _parameter(part: Part, name: str) -> str:
    found = re.search(rf'\b{name}\s*=\s*"?([\w.-]+)', _header(part, "content-type"), re.IGNORECASE)
    return found[1] if found else ""


def _is_file(part: Part) -> bool:
    return bool(part.filename) or _header(part, "content-disposition").lower().startswith("attachment")


def _attachment(part: Part, earlier: list[Attachment]) -> Attachment:
    data = part.data or b""
    content_id = _header(part, "content-id").strip("<> ")
    inline = _header(part, "content-disposition").lower().startswith("inline") and bool(content_id)
    digest = hashlib.sha256(data + part.filename.encode("utf-8", "replace"))
    digest.update(str(sum(item.data == data for item in earlier)).encode())
    number = base64.urlsafe_b64encode(digest.digest()[:12]).decode()
    if part.mime_type == "message/rfc822":
        facts = dict(reversed(header_lines(data)))
        return Attachment(number, "item", part.filename or facts.get("subject", "") or "Message", "", data, False, "")
    name = part.filename or f"ATT{len(earlier) + 1:05}"
    return Attachment(number, "file", name, part.mime_type, data, inline, content_id)


def preview(raw: bytes) -> str:
    return SPACE.sub(" ", html.unescape(snippet(raw)))[:PREVIEW]


def sent_at(content: Content, otherwise: int) -> int:
    """The Date header in seconds; the time received where it says nothing usable."""
    try:
        return max(0, int(parsedate_to_datetime(content.first("date")).timestamp()))
    except (ValueError, TypeError, OverflowError, IndexError, OSError):
        return otherwise
