"""Reading Graph's JSON without trusting its types: a field is what it should be, empty, or ProviderUnavailable.

Called by the modules beside it. Promised: no KeyError, TypeError or ValueError, whatever the answer holds. What may be
absent reads as empty; an id that must be there and is not means the answer is garbage and is asked for again, so that
no message is lost to a broken page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from core.errors import ProviderUnavailable

Json = Mapping[str, object]

_ID = re.compile(r"[!-~]{1,1000}")
"""Case-sensitive text of up to several hundred characters (reference 0.3)."""
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z")


def text(holder: Json, key: str) -> str:
    """The text under `key`, "" where there is none."""
    value = holder.get(key)
    return value if isinstance(value, str) else ""


def texts(holder: Json, key: str) -> list[str]:
    """The texts of the list under `key`; other things in it are left out."""
    value = holder.get(key)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def number(holder: Json, key: str) -> int | None:
    """The whole number under `key`, None where there is none."""
    value = holder.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def child(holder: Json, key: str) -> Json:
    """The object under `key`, an empty one where there is none."""
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def objects(holder: Json, key: str) -> list[Json]:
    """The objects of the list under `key`; other things in it are left out."""
    value = holder.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def items(page: Json) -> list[Json]:
    """The objects of a page (`value`). ProviderUnavailable where something else is there: a page that cannot be read
    must not pass for an empty one."""
    value = page.get("value")
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ProviderUnavailable("Microsoft answered with something else than a list of objects.")
    return value


def identifier(holder: Json, key: str = "id") -> str:
    """The id under `key`: printable ASCII. ProviderUnavailable where it is missing or is no id."""
    value = text(holder, key)
    if not _ID.fullmatch(value):
        raise ProviderUnavailable(f"Microsoft answered without a usable {key}.")
    return value


def moment(holder: Json, key: str) -> datetime | None:
    """The time under `key` to the second, in UTC; None where there is none. Graph always writes UTC."""
    found = _MOMENT.fullmatch(text(holder, key))
    if found is None:
        return None
    try:
        return datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    except ValueError:
        return None
