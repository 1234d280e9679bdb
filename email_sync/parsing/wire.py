"""What parent and child say to each other: length-prefixed frames. An answer is JSON, then the two bodies as they are:
as JSON each of their characters would be looked at twice more on both sides.

No pickle or marshal: the child reads hostile mail, so the parent trusts nothing it sends beyond its shape.
"""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime
from typing import Any

from email_sync.records import Address, AttachmentPart, CalendarSummary, DeliveryReport, FailedRecipient, ParsedMessage

REQUEST = struct.Struct("<BI")
"""Flags, then the length of the raw message that follows."""
ANSWER = struct.Struct("<I")
"""The length of the answer that follows."""
_BODIES = struct.Struct("<II")
"""An answer ends with the text, the HTML, and how many bytes each of them has."""
TRUNCATED, HEADERS_ONLY = 1, 2
MAX_ANSWER = 64 * 1024 * 1024


def encode(message: ParsedMessage) -> bytes:
    """A parsed message, field by field in the order of the record; the bodies last."""
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
        [part.values() for part in message.attachments],
        message.headers,
        message.defect,
        _claims(message.report),
    )
    facts = _encoder.encode(fields).encode("utf-8", "replace")
    text, html = message.text.encode("utf-8", "replace"), message.html.encode("utf-8", "replace")
    return b"".join((facts, text, html, _BODIES.pack(len(text), len(html))))


_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def decode(data: bytes) -> ParsedMessage:
    """The message back. ValueError or TypeError where the frame is not one of ours."""
    facts, text, html = _taken_apart(data)
    (
        message_id, in_reply_to, references, subject, sender, to, cc, bcc, reply_to, sent_at, attachments, headers,
        defect, report,
    ) = json.loads(facts)  # fmt: skip
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
        attachments=tuple(_part(*item) for item in attachments),
        headers=tuple((name, value) for name, value in headers),
        defect=defect,
        report=_report(report),
    )


def _taken_apart(data: bytes) -> tuple[str, str, str]:
    """Facts, text and HTML."""
    ends = len(data) - _BODIES.size
    if ends < 0:
        raise ValueError("The parser's answer is too short.")
    text, html = _BODIES.unpack_from(data, ends)
    facts = ends - text - html
    if facts < 0:
        raise ValueError("The parser's answer is shorter than it says.")
    return data[:facts].decode(), data[facts : facts + text].decode(), data[facts + text : ends].decode()


def _claims(report: DeliveryReport | None) -> object:
    if report is None:
        return None
    return report.original_ids, [(r.addresses, r.status, r.diagnostic) for r in report.recipients]


def _report(claims: Any) -> DeliveryReport | None:
    if claims is None:
        return None
    original_ids, recipients = claims
    failed = (FailedRecipient(tuple(addresses), status, words) for addresses, status, words in recipients)
    return DeliveryReport(tuple(original_ids), tuple(failed))


def _pair(address: Address) -> tuple[str, str]:
    return address.name, address.email


def _part(
    part_id: str, file_name: str, content_type: str, size: int, inline: bool, content_id: str, calendar: Any
) -> AttachmentPart:
    said = CalendarSummary(**calendar) if calendar else None
    return AttachmentPart(part_id, file_name, content_type, size, inline, content_id, said)


def _addresses(pairs: list[Any]) -> tuple[Address, ...]:
    return tuple(Address(*pair) for pair in pairs)
