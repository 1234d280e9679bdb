"""Reading Gmail's JSON without trusting its types: a field is what it should be, empty, or ProviderUnavailable.

Called by the modules beside it. Promised: no KeyError, TypeError or ValueError, whatever the answer holds. What may be
absent reads as empty; an id that must be there and is not means the answer is garbage and is asked for again, so that
no message is lost to a broken page.
"""

from __future__ import annotations

import base64
import binascii
import re

from core.errors import ProviderUnavailable
from integrations.providers.google.answers import Json as Json
from integrations.providers.google.answers import child as child
from integrations.providers.google.answers import text as text

_ID = re.compile(r"[!-~]{1,255}")
MAX_NUMBER = 2**53
"""More than any size, count or time; fits a bigint."""
_DIGITS = re.compile(r"[0-9]{1,40}")


def texts(holder: Json, key: str) -> tuple[str, ...]:
    """The texts of the list under `key`; other things in it are left out."""
    value = holder.get(key)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def identifiers(holder: Json, key: str) -> tuple[str, ...]:
    """The ids in the list under `key`; what is no id is left out."""
    return tuple(item for item in texts(holder, key) if _ID.fullmatch(item))


def number(holder: Json, key: str) -> int:
    """The whole number under `key`, also where it comes as text (Google's int64); 0 where there is none."""
    value = holder.get(key)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    return min(value, MAX_NUMBER) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def children(holder: Json, key: str) -> list[Json]:
    """The objects of the list under `key`. ProviderUnavailable where something else is there."""
    value = holder.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ProviderUnavailable(f"Gmail answered with something else than a list of objects under {key}.")
    return value


def identifier(holder: Json, key: str = "id") -> str:
    """The id under `key`: printable ASCII. ProviderUnavailable where it is missing or is no id."""
    value = identifier_or_none(holder, key)
    if not value:
        raise ProviderUnavailable(f"Gmail answered without a usable {key}.")
    return value


def identifier_or_none(holder: Json, key: str) -> str:
    """The id under `key`, "" where there is none."""
    value = text(holder, key)
    return value if _ID.fullmatch(value) else ""


def history_id(holder: Json) -> str:
    """The history id as text: it is a uint64, and stand-ins give more digits still. ProviderUnavailable where there is
    none."""
    value = holder.get("historyId")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not _DIGITS.fullmatch(value):
        raise ProviderUnavailable("Gmail answered without a history id.")
    return value


def next_page(holder: Json, asked: str) -> str:
    """The token of the next page, "" on the last. ProviderUnavailable where it is the one just asked for: an endless
    listing."""
    token = text(holder, "nextPageToken")
    if token and token == asked:
        raise ProviderUnavailable("Gmail answered with the page token it was asked for.")
    return token


def decoded(data: str) -> bytes | None:
    """base64url, padded or not (reference 2.2), as bytes; None where it is not that."""
    packed = "".join(data.split()).rstrip("=")
    try:
        return base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
    except (binascii.Error, ValueError):
        return None
