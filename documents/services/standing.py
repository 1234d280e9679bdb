"""Whether documents can be stored here: what is set, and what the store says when it is tried."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from core.errors import HubError, NotConfigured
from documents import scanning
from documents.storage import store


@dataclass(frozen=True, slots=True)
class Standing:
    """Of the whole installation."""

    configured: bool
    storage: str
    max_bytes: int
    allowed_content_types: list[str]
    """Empty: all."""
    public_endpoint: str
    ok: bool
    message: str


def of_store() -> Standing:
    """Tries it: writes, reads and deletes a test object."""
    configured, endpoint = True, ""
    try:
        endpoint = store().public_endpoint
        ok, message = store().check()
        if ok and scanning.is_configured():
            ok, scanner = scanning.check()
            message = f"{message} {scanner}" if ok else scanner
    except NotConfigured as error:
        configured, ok, message = False, False, error.message
    except HubError as error:
        ok, message = False, error.message
    return Standing(
        configured,
        settings.DOCUMENT_STORAGE,
        settings.DOCUMENT_MAX_BYTES,
        list(settings.DOCUMENT_ALLOWED_TYPES),
        endpoint,
        ok,
        message,
    )
