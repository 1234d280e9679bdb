"""Attachments on demand: metadata is stored, bytes come from the provider when somebody asks."""

from __future__ import annotations

from django.http import HttpResponse
from django.utils.http import content_disposition_header

from core.errors import Conflict, RemoteMissing
from email_sync.models import Attachment, Message
from email_sync.services.accounts import with_mailbox
from workspaces import scoping

INLINE_SAFE = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Types that keep their own content type; all others are sent as octets. Either way as a download."""


def fetch(*, message: Message, attachment_id: str) -> tuple[Attachment, bytes]:
    """The part and its bytes. NotFound for another message's part; Conflict where the provider no longer has it."""
    part = scoping.fetch(message.attachments.all(), pk=attachment_id)
    if message.removed_at is not None:
        raise Conflict("The provider no longer has this email.", code="removed")
    try:
        content = with_mailbox(message.connection, lambda box: box.attachment(message.remote_id, part.part_id))
    except RemoteMissing:
        raise Conflict("The provider no longer has this attachment.", code="removed") from None
    return part, content


def as_download(part: Attachment, content: bytes) -> HttpResponse:
    """A response that no browser runs: attachment, nosniff, a sandbox for those who ignore both."""
    kind = part.content_type if part.content_type in INLINE_SAFE else "application/octet-stream"
    response = HttpResponse(content, content_type=kind)
    response["Content-Disposition"] = content_disposition_header(True, _safe_name(part.file_name))
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response["Cache-Control"] = "private, no-store"
    return response


def _safe_name(name: str) -> str:
    """No path, no control or bidi characters: the name comes from a stranger."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return (
        "".join(
            c for c in last if c.isprintable() and c not in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        )
        or "attachment"
    )
