"""Reading the Calendar API's JSON without trusting its types: a field is what it should be, empty, or
ProviderUnavailable. Called by the modules beside it."""

from __future__ import annotations

import re

from core.errors import ProviderUnavailable
from integrations.providers.google.answers import Json as Json
from integrations.providers.google.answers import child as child
from integrations.providers.google.answers import objects as objects
from integrations.providers.google.answers import text as text

_TOKEN = re.compile(r"[!-~]{1,4000}")


def is_set(holder: Json, key: str) -> bool:
    """Whether `key` is true."""
    return holder.get(key) is True


def items(page: Json) -> list[Json]:
    """What a page lists. ProviderUnavailable where it is no list of objects with ids: nothing may be lost to a broken
    page, nor be taken for deleted."""
    value = page.get("items", [])
    if not isinstance(value, list) or not all(isinstance(item, dict) and text(item, "id") for item in value):
        raise ProviderUnavailable("Google Calendar answered with something that is no list of what it has.")
    return value


def token(page: Json, key: str, asked: str = "") -> str:
    """A page or sync token, "" where there is none. ProviderUnavailable where it is the one just asked for: an endless
    listing."""
    found = text(page, key)
    if found and (found == asked or not _TOKEN.fullmatch(found)):
        raise ProviderUnavailable("Google Calendar answered with a page token that leads nowhere.")
    return found
