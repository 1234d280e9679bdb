"""Reading Google's JSON without trusting its types: a field is what it should be, or empty.

Called by `errors` beside it and by the readers of each API, which pass these on. Promised: no KeyError, TypeError or
ValueError, whatever the answer holds.
"""

from __future__ import annotations

from collections.abc import Mapping

Json = Mapping[str, object]


def text(holder: Json, key: str) -> str:
    """The text under `key`, "" where there is none."""
    value = holder.get(key)
    return value if isinstance(value, str) else ""


def child(holder: Json, key: str) -> Json:
    """The object under `key`, an empty one where there is none."""
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def objects(holder: Json, key: str) -> list[Json]:
    """The objects of the list under `key`; what is none is left out."""
    value = holder.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
