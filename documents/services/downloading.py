"""Addresses a document can be had at, for a short time: as an attachment, or for a look at pictures and PDF.

Only what was confirmed. What it is sent as follows from what the content looks like, never from a claim alone: whatever
a browser could run goes out as plain bytes, and is an attachment anyway.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from core.errors import Conflict, UnsupportedOperation
from documents.models import STORED, Document
from documents.services.asking import asking
from documents.storage import store
from documents.storage.base import Download

DOWNLOAD_LIFE = timedelta(minutes=5)
BYTES = "application/octet-stream"
PREVIEWED = frozenset({"application/pdf", "image/png", "image/jpeg", "image/gif", "image/webp"})
"""What may be shown in a browser: nothing of it runs in our origin's name. SVG and HTML are not among them."""
_RUNNABLE = ("html", "xml", "svg", "javascript", "ecmascript", "xsl", "x-shockwave", "multipart", "mhtml")


def download(*, document: Document) -> Download:
    """As an attachment. Conflict where it is not ready."""
    return _address(document, inline=False)


def preview(*, document: Document) -> Download:
    """To be shown in a frame. Conflict where it is not ready; pictures and PDF only, else UnsupportedOperation."""
    _check_stored(document)
    if document.content_type not in PREVIEWED or document.sniffed_type != document.content_type:
        raise UnsupportedOperation("Only pictures and PDF can be looked at here: download it.", code="no_preview")
    return _address(document, inline=True)


def served_type(content_type: str) -> str:
    """What a download says of itself."""
    return BYTES if any(word in content_type for word in _RUNNABLE) else content_type


def _address(document: Document, *, inline: bool) -> Download:
    _check_stored(document)
    with asking():
        return store().download(
            document.key,
            file_name=document.file_name,
            content_type=served_type(document.content_type),
            inline=inline,
            expires_at=datetime.now(UTC) + DOWNLOAD_LIFE,
        )


def _check_stored(document: Document) -> None:
    if document.status not in STORED:
        raise Conflict(f"This document is {document.status}: there is nothing to download.", code="not_ready")
