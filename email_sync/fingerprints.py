"""Whether two mailboxes hold the same message: a digest of what makes it one. Pure; the writer and the timeline use it.

A Message-ID alone proves nothing, anybody can write one. Sender, date and subject must agree too, and where texts are
known their beginnings (`opening`): so a forged header joins nothing, and an exact copy is one.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime

from email_sync.records import ParsedMessage
from entities.matching import normalise

OPENING = 40
"""So many letters and digits of a text are compared: enough to tell two mails apart, few enough for the footers and
line breaks that servers add."""


def fingerprint(*, message_id: str, sender: str, sent_at: datetime | None, subject: str) -> uuid.UUID | None:
    """The same for every copy of a message; None without a Message-ID. `sender` is the address as the header has it,
    `sent_at` the Date header."""
    if not message_id.strip():
        return None
    date = sent_at.astimezone(UTC).isoformat(timespec="seconds") if sent_at else ""
    parts = (message_id.strip(), normalise(sender) or sender, date, " ".join(subject.split()))
    return uuid.UUID(bytes=hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).digest()[:16])


def of_parsed(parsed: ParsedMessage) -> uuid.UUID | None:
    """Of a message as the parser reads it."""
    return fingerprint(
        message_id=parsed.message_id, sender=parsed.sender.email, sent_at=parsed.sent_at, subject=parsed.subject
    )


def opening(text: str) -> str:
    """The first letters and digits of a text, case folded: what two copies of a mail begin with. "" where the text is
    empty or not kept."""
    return "".join(character for character in text.casefold() if character.isalnum())[:OPENING]
