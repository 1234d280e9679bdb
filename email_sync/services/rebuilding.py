"""A message as RFC 822 bytes from what is stored of it, for exports where the provider's own bytes cannot be had.

Marked by `X-Patchbay` headers: it is not what was sent, only what is known of it. Its attachments are named, not held.
Headers are UTF-8 (RFC 6532), written as one line each whatever a stranger put into them.
"""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import format_datetime

from email_sync.models import Message
from email_sync.parsing.text import one_line

ASKED = "rebuilt from what is stored; the provider no longer gives this message"
NOT_ASKED = "rebuilt from what is stored; the account could not be asked"
WITHHELD = "rebuilt from metadata; no text of this mailbox is kept"
MAX_VALUE = 4000


def rebuilt(message: Message, *, asked: bool) -> bytes:
    """The message with CRLF lines. `asked` says whether the provider was, in vain."""
    why = WITHHELD if message.body_withheld else ASKED if asked else NOT_ASKED
    lines = [*_head(message), f"X-Patchbay: {why}", *_missing(message), "MIME-Version: 1.0"]
    text, html = message.body.text, message.body.html
    if html:
        boundary = f"rebuilt-{message.pk.hex}"
        lines += [f'Content-Type: multipart/alternative; boundary="{boundary}"', ""]
        for subtype, content in (("plain", text), ("html", html)):
            lines += [f"--{boundary}", *_part(subtype, content)]
        lines.append(f"--{boundary}--")
    else:
        lines += _part("plain", text)
    return ("\r\n".join(lines) + "\r\n").encode("utf-8", "replace")


def _head(message: Message) -> Iterator[str]:
    people = {"from": [[message.from_name, message.from_email]], **message.recipients}
    for name in ("from", "to", "cc", "bcc"):
        if pairs := people.get(name):
            yield _header(name.capitalize(), ", ".join(_person(*pair) for pair in pairs))
    yield _header("Subject", message.subject)
    yield _header("Date", format_datetime(message.sent_at or message.received_at))
    if message.message_id:
        yield _header("Message-ID", f"<{message.message_id}>")
    for name, ids in (("In-Reply-To", message.body.in_reply_to), ("References", message.body.references)):
        if ids:
            yield _header(name, " ".join(f"<{reference}>" for reference in ids))


def _missing(message: Message) -> Iterator[str]:
    for part in message.attachments.all():
        yield _header("X-Patchbay-Missing", f"{part.file_name or part.content_type} ({part.size} bytes)")


def _part(subtype: str, content: str) -> list[str]:
    head = [f"Content-Type: text/{subtype}; charset=utf-8", "Content-Transfer-Encoding: 8bit", ""]
    return [*head, *content.replace("\r\n", "\n").split("\n")]


def _header(name: str, value: str) -> str:
    return f"{name}: {one_line(value, MAX_VALUE)}"


def _person(name: str, email: str) -> str:
    quoted = name.replace("\\", " ").replace('"', "'")
    return f'"{quoted}" <{email}>' if name else email
