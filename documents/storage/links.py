"""Signed addresses of the local store: what somebody may do with one object until when, in the address itself.

Nothing is stored of them. Promised: an address for downloads uploads nothing, one for uploads downloads nothing, and a
changed or old one does neither.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core import signing

from core.errors import PermissionRefused

UPLOAD_SALT, DOWNLOAD_SALT = "documents.upload", "documents.download"


@dataclass(frozen=True, slots=True)
class UploadGrant:
    """One object may be sent there."""

    key: str
    content_type: str
    size: int | None
    """Exactly so many bytes; None: as many as `max_bytes`."""
    max_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class DownloadGrant:
    """One object may be had, under this name."""

    key: str
    file_name: str
    content_type: str
    inline: bool


def sign_upload(grant: UploadGrant, expires_at: datetime) -> str:
    """The last part of an address."""
    values = [grant.key, grant.content_type, grant.size, grant.max_bytes, grant.sha256]
    return _sign(values, UPLOAD_SALT, expires_at)


def sign_download(grant: DownloadGrant, expires_at: datetime) -> str:
    """The last part of an address."""
    return _sign([grant.key, grant.file_name, grant.content_type, grant.inline], DOWNLOAD_SALT, expires_at)


def read_upload(text: str) -> UploadGrant:
    """PermissionRefused (403) where it is not ours, or no longer good."""
    return UploadGrant(*_read(text, UPLOAD_SALT))


def read_download(text: str) -> DownloadGrant:
    """PermissionRefused (403) where it is not ours, or no longer good."""
    return DownloadGrant(*_read(text, DOWNLOAD_SALT))


def _sign(values: list[Any], salt: str, expires_at: datetime) -> str:
    return signing.dumps([int(expires_at.timestamp()), *values], salt=salt, compress=True).replace(":", "~")


def _read(text: str, salt: str) -> list[Any]:
    try:
        until, *values = signing.loads(text.replace("~", ":"), salt=salt)
    except signing.BadSignature:
        raise PermissionRefused("This address is not one of ours, or was changed.", code="link_invalid") from None
    if time.time() >= until:
        raise PermissionRefused("This address is no longer good: ask for a new one.", code="link_expired")
    return list(values)
