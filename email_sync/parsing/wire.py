"""What parent and child say to each other: length-prefixed frames, JSON answers.

No pickle or marshal: the child reads hostile mail, so the parent trusts nothing it sends beyond its shape.
"""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime
from typing import Any

from email_sync.records import Address, AttachmentPart, ParsedMessage

REQUEST = struct.Struct("<BI")
"""Flags, then the length of the raw message that follows."""
ANSWER = struct.Struct("<I")
"""The length of the JSON that follows."""
TRUNCATED, HEADERS_ONLY = 1, 2
MAX_ANSWER = 64 * 1024 * 1024


def encode(message: ParsedMessage) -> bytes:
    """A parsed message as JSON, field by field in the order of the record."""
    fields = (
        message.message_id,
        message.in_reply_to,
        message.references,
        message.subject,
        _pair(message.sender),
        [_pair(address) for address in message.to],
        [_pair(address) for address in message.cc],
        [_pair(address) for address in message.bcc],
        [_pair(address) for address in message.reply_to],
        message.sent_at.timestamp() if message.sent_at else None,
        message.text,
        message.html,
        [(a.part_id, a.file_name, a.content_type, a.size, a.inline, a.content_id) for a in message.attachments],
        message.headers,
        message.defect,
    )
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def decode(data: bytes) -> ParsedMessage:
    """The message back. ValueError or TypeError where the frame is not one of ours."""
    (
        message_id, in_reply_to, references, subject, sender, to, cc, bcc, reply_to, sent_at, text, html, attachments,
        headers, defect,
    ) = json.loads(data)  # fmt: skip
    return ParsedMessage(
        message_id=message_id,
        in_reply_to=tuple(in_reply_to),
        references=tuple(references),
        subject=subject,
        sender=Address(*sender),
        to=_addresses(to),
        cc=_addresses(cc),
        bcc=_addresses(bcc),
        reply_to=_addresses(reply_to),
        sent_at=None if sent_at is None else datetime.fromtimestamp(sent_at, UTC),
        text=text,
        html=html,
        attachments=tuple(AttachmentPart(*item) for item in attachments),
        headers=tuple((name, value) for name, value in headers),
        defect=defect,
    )


def _pair(address: Address) -> tuple[str, str]:
    return address.name, address.email


def _addresses(pairs: list[Any]) -> tuple[Address, ...]:
    return tuple(Address(*pair) for pair in pairs)
