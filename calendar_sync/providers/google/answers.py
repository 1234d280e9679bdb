"""Reading the Calendar API's JSON without trusting its types: a field is what it should be, empty, or
ProviderUnavailable. Called by the modules beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from core.errors import ProviderUnavailable

Json = Mapping[str, object]
_TOKEN = re.compile(r"[!-~]{1,4000}")


def text(holder: Json, key: str) -> str:
    """The text under `key`, "" where there is none."""
    value = holder.get(key)
    return value if isinstance(value, str) else ""


def is_set(holder: Json, key: str) -> bool:
    """Whether `key` is true."""
    return holder.get(key) is True


def child(holder: Json, key: str) -> Json:
    """The object under `key`, an empty one where there is none."""
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def objects(holder: Json, key: str) -> list[Json]:
    """The objects of the list under `key`; what is none is left out."""
    value = holder.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


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
