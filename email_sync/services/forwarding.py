"""A mail passed on: the original's words under one's own, and its files, fetched from the provider now.

Called by `sending`. The size is known from what is stored, so a forward that cannot be sent is refused before a byte is
fetched.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass

from core.errors import Conflict, RemoteMissing
from email_sync.composing import OutgoingAttachment, refuse_larger
from email_sync.models import Attachment, Message
from email_sync.providers.base import MailProvider
from email_sync.services.accounts import with_mailbox

MARK = "---------- Forwarded message ---------"


@dataclass(frozen=True, slots=True)
class Body:
    """What a forward says. `html` is "" where neither side has any."""

    text: str
    html: str


def attachments(original: Message, *, limit: int) -> list[OutgoingAttachment]:
    """The original's files. TooLarge before anything is fetched; Conflict where the provider no longer has them."""
    parts = list(original.attachments.all())
    refuse_larger(sum(part.size for part in parts) * 4 // 3, limit)
    if not parts:
        return []
    if original.removed_at is not None:
        raise Conflict("The provider no longer has the email to forward.", code="removed")
    try:
        return with_mailbox(original.connection, lambda mailbox: [_fetched(mailbox, part) for part in parts])
    except RemoteMissing:
        raise Conflict("The provider no longer has an attachment of the email to forward.", code="removed") from None


def _fetched(mailbox: MailProvider, part: Attachment) -> OutgoingAttachment:
    content = mailbox.attachment(part.message.remote_id, part.part_id)
    return OutgoingAttachment(part.file_name, part.content_type, content, part.content_id if part.inline else "")


def body(original: Message, text: str, page: str) -> Body:
    """One's own words, then the original with who wrote it, when and to whom. Conflict where its text is not kept."""
    if original.body_withheld:
        raise Conflict("Only metadata of this mailbox is kept here.", code="metadata_only")
    lines = list(_lines(original))
    below = "\n".join([MARK, *(f"{name}: {value}" for name, value in lines), "", original.body.text])
    whole = f"{text.rstrip()}\n\n{below}" if text.strip() else below
    if not page and not original.body.html:
        return Body(whole, "")
    own = page or f"<div>{_as_html(text)}</div>"
    heading = "<br>".join([MARK, *(f"{name}: {html.escape(value)}" for name, value in lines)])
    content = original.body.html or f"<pre>{html.escape(original.body.text)}</pre>"
    return Body(whole, f"{own}<br><div>{heading}</div><br><div>{content}</div>")


def _as_html(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")


def _lines(original: Message) -> Iterator[tuple[str, str]]:
    yield "From", _person(original.from_name, original.from_email)
    yield "Date", f"{original.sent_at or original.received_at:%a, %d %b %Y %H:%M UTC}"
    yield "Subject", original.subject
    for kind in ("to", "cc"):
        people = original.recipients.get(kind)
        if people:
            yield kind.title(), ", ".join(_person(*person) for person in people)


def _person(name: str, email: str) -> str:
    return f"{name} <{email}>" if name else email
