"""Mail as Exchange writes it: MIME that it re-generates (never the bytes that came in) and MIME composed from the JSON
of a draft. Never raises on hostile mail: what cannot be taken apart goes out as it came, under Exchange's headers."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from email.header import Header
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from email.utils import formataddr, formatdate
from functools import lru_cache
from typing import Any

from simulator.mime import bytes_of, head_of

STRUCTURE = {"content-type", "content-transfer-encoding", "content-disposition", "content-id", "mime-version"}
# Exchange puts these first, in this order; everything else follows as it stood.
FIRST = ("from", "to", "cc", "bcc", "subject", "date", "message-id", "references", "in-reply-to")
BOUNDARY = re.compile(r'boundary\s*=\s*("[^"]*"|[^\s;]+)', re.IGNORECASE)


@dataclass(frozen=True)
class File:
    """A file attachment on its way into a draft."""

    name: str
    content_type: str
    data: bytes
    content_id: str = ""
    inline: bool = False


@lru_cache(maxsize=256)
def regenerated(raw: bytes) -> bytes:
    """What `/$value` gives: the same Message-ID, Date, addresses and parts, in other bytes."""
    try:
        message = BytesParser(policy=compat32).parsebytes(raw)
        body = _structure(message, hashlib.sha256(raw).hexdigest()[:24], 0)
        lines = _headers(message)
    except (RecursionError, UnicodeError, LookupError, ValueError, TypeError, AttributeError):
        head = head_of(raw)
        return b"X-MS-Has-Attach:\r\n" + head + raw[len(head) :]
    return "".join(lines).encode("utf-8", "surrogateescape") + b"MIME-Version: 1.0\r\n" + body


def _headers(message: Message) -> list[str]:
    pairs = [(name, str(value)) for name, value in message.raw_items() if name.lower() not in STRUCTURE]
    rank = {name: place for place, name in enumerate(FIRST)}
    pairs.sort(key=lambda pair: rank.get(pair[0].lower(), len(FIRST)))
    attached = "yes" if any(part.get_filename() for part in message.walk()) else ""
    trace = "Received: from SIM0000001.eurprd00.prod.outlook.com (::1) by\r\n SIM0000002.eurprd00.prod.outlook.com\r\n"
    lines = [trace, *(f"{_cased(name)}: {_line_ends(value)}\r\n" for name, value in pairs)]
    return [*lines, f"X-MS-Has-Attach: {attached}\r\n", "X-MS-Exchange-Organization-SCL: -1\r\n"]


def _cased(name: str) -> str:
    return "Message-ID" if name.lower() == "message-id" else name


def _line_ends(value: str) -> str:
    return re.sub(r"\r?\n", "\r\n", value).strip("\r\n")


def _structure(part: Message, seed: str, number: int) -> bytes:
    """Content headers and content of a part: boundaries are Exchange's own, every leaf is base64."""
    kept = "".join(
        f"{name}: {_line_ends(str(value))}\r\n"
        for name, value in part.raw_items()
        if name.lower() in ("content-disposition", "content-id")
    )
    kind = _line_ends(str(part.get("content-type") or "text/plain; charset=us-ascii"))
    children = part.get_payload() if part.is_multipart() else None
    if isinstance(children, list) and part.get_content_maintype() == "multipart":
        boundary = f"_{number:03}_{seed}_"
        kind = BOUNDARY.sub(lambda _: f'boundary="{boundary}"', kind)
        pieces = [_structure(child, f"{seed}{place}", number + 1) for place, child in enumerate(children)]
        body = b"".join(f"--{boundary}\r\n".encode() + piece + b"\r\n" for piece in pieces)
        return f"Content-Type: {kind}\r\n{kept}\r\n".encode("utf-8", "replace") + body + f"--{boundary}--\r\n".encode()
    if isinstance(children, list):
        content = b"".join(bytes_of(child) for child in children if isinstance(child, Message))
        return f"Content-Type: {kind}\r\n{kept}\r\n".encode("utf-8", "replace") + content
    payload = part.get_payload(decode=True)
    data = base64.encodebytes(payload if isinstance(payload, bytes) else b"").replace(b"\n", b"\r\n")
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n{kept}\r\n"
    return head.encode("utf-8", "replace") + data


def compose(content: dict[str, Any], files: list[File], extra: dict[str, str], now: float) -> bytes:
    """A draft as MIME. `content` has Graph's property names (recipients, subject, body, internetMessageId, …), `extra`
    further headers (References, x- headers)."""
    lines = [("From", _addresses([content.get("from") or content.get("sender") or {}]))]
    lines += [(name, _addresses(content.get(key) or [])) for name, key in RECIPIENTS.items()]
    lines += [("Subject", _text(str(content.get("subject") or ""))), ("Date", formatdate(now))]
    lines += [("Message-ID", str(content["internetMessageId"])), *extra.items()]
    if content.get("importance") in ("low", "high"):
        lines.append(("Importance", str(content["importance"])))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines if value or name == "Subject")
    return head.encode() + b"MIME-Version: 1.0\r\n" + _body(content.get("body") or {}, files)


RECIPIENTS = {"To": "toRecipients", "Cc": "ccRecipients", "Bcc": "bccRecipients", "Reply-To": "replyTo"}


def _text(value: str) -> str:
    """A header value that cannot break out of its line."""
    value = re.sub(r"[\r\n]+", " ", value)
    return value if value.isascii() else Header(value, "utf-8", maxlinelen=75).encode(linesep="\r\n")


def _addresses(recipients: list[dict[str, Any]]) -> str:
    found = [recipient.get("emailAddress") or {} for recipient in recipients]
    return ", ".join(
        formataddr((re.sub(r"[\r\n]+", " ", str(item.get("name") or "")), str(item["address"])))
        for item in found
        if item.get("address")
    )


def _body(body: dict[str, Any], files: list[File]) -> bytes:
    """The text, inside multipart/related with inline files, inside multipart/mixed with the others."""
    kind = "html" if str(body.get("contentType") or "text").lower() == "html" else "plain"
    data = base64.encodebytes(str(body.get("content") or "").encode("utf-8", "replace")).replace(b"\n", b"\r\n")
    head = f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    part = head.encode() + data
    for subtype, inline in (("related", True), ("mixed", False)):
        chosen = [_file(file) for file in files if file.inline is inline]
        if chosen:
            part = _multipart(subtype, [part, *chosen])
    return part


def _multipart(subtype: str, parts: list[bytes]) -> bytes:
    boundary = f"_sim_{subtype}_{hashlib.sha256(b''.join(parts)).hexdigest()[:20]}"
    head = f'Content-Type: multipart/{subtype}; boundary="{boundary}"\r\n\r\n'.encode()
    limit = f"--{boundary}".encode()
    return head + b"".join(limit + b"\r\n" + part + b"\r\n" for part in parts) + limit + b"--\r\n"


def _file(file: File) -> bytes:
    name = Header(file.name, "utf-8").encode() if not file.name.isascii() else file.name.replace('"', "'")
    disposition = "inline" if file.inline else "attachment"
    head = (
        f'Content-Type: {file.content_type}; name="{name}"\r\nContent-Disposition: {disposition}; filename="{name}"\r\n'
    )
    if file.content_id:
        head += f"Content-ID: <{file.content_id}>\r\n"
    head += "Content-Transfer-Encoding: base64\r\n\r\n"
    return head.encode() + base64.encodebytes(file.data).replace(b"\n", b"\r\n")
