"""Where a browser may be sent after a consent flow: into this site, or to a page of an allowed origin.

A path is judged as a browser reads it, not as Python does: backslashes count as slashes, tabs and line breaks vanish,
and two slashes at the start name another host (the open-redirect list of the tests).
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from django.conf import settings

from core.errors import InvalidInput

MAX_LENGTH = 2000
PATH = re.compile(r"/(?:[^/\\\s\x00-\x20\x7f][^\\\s\x00-\x20\x7f]*)?", re.ASCII)
ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-]+(?::\d{1,5})?|https?://\[[0-9A-Fa-f:.]+\](?::\d{1,5})?")


def checked(value: str) -> str:
    """`value` where it is "", a path of this site or a page of CORS_ALLOWED_ORIGINS; InvalidInput otherwise."""
    if value and (len(value) > MAX_LENGTH or not (_is_path(value) or _is_allowed_page(value))):
        words = "This must be a path such as /settings, or a page of an origin in CORS_ALLOWED_ORIGINS."
        raise InvalidInput("returnTo leads to a place that is not allowed.", fields={"returnTo": [words]})
    return value


def _is_path(value: str) -> bool:
    return value.isascii() and bool(PATH.fullmatch(value))


def _is_allowed_page(value: str) -> bool:
    found = ORIGIN.match(value)
    if found is None or not value.isascii() or not re.fullmatch(r"[^\\\s\x00-\x20\x7f]*", value):
        return False
    rest = value[found.end() :]
    allowed = {_normal(origin) for origin in settings.CORS_ALLOWED_ORIGINS}
    return (not rest or rest[0] in "/?#") and _normal(found[0]) in allowed


def _normal(origin: str) -> tuple[str, str, int | None]:
    parts = urlsplit(origin)
    default = {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, parts.hostname or "", parts.port or default
