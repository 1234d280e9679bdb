"""Google's `fields` parameter: `messages(id,payload/headers),nextPageToken`. Shared by every Google API here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

TOKEN = re.compile(r"[A-Za-z0-9_.$@-]+|[*,()/]")


@dataclass
class Mask:
    """Names to keep, each with what to keep inside it; a mask without names keeps everything."""

    names: dict[str, Mask] = field(default_factory=dict)

    def apply(self, value: Any) -> Any:
        if not self.names:
            return value
        if isinstance(value, list):
            return [self.apply(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "*" in self.names:
            return {name: self.names["*"].apply(item) for name, item in value.items()}
        return {name: self.names[name].apply(item) for name, item in value.items() if name in self.names}


def parse_mask(text: str) -> Mask:
    """Raises ValueError when the text is not a mask."""
    tokens = TOKEN.findall(text)
    if "".join(tokens) != re.sub(r"\s", "", text):
        raise ValueError(text)
    mask, rest = _parse_list(tokens)
    if rest:
        raise ValueError(text)
    return mask


def _parse_list(tokens: list[str]) -> tuple[Mask, list[str]]:
    mask = Mask()
    while True:
        tokens = _parse_path(mask, tokens)
        if not tokens or tokens[0] != ",":
            return mask, tokens
        tokens = tokens[1:]


def _parse_path(mask: Mask, tokens: list[str]) -> list[str]:
    """Reads `a/b(c,d)` into the mask; gives what is left."""
    if not tokens or tokens[0] in (",", "(", ")", "/"):
        raise ValueError("a name is missing")
    inner = mask.names.setdefault(tokens[0], Mask())
    tokens = tokens[1:]
    if tokens[:1] == ["/"]:
        return _parse_path(inner, tokens[1:])
    if tokens[:1] != ["("]:
        return tokens
    group, tokens = _parse_list(tokens[1:])
    inner.names |= group.names
    if tokens[:1] != [")"]:
        raise ValueError("a parenthesis is open")
    return tokens[1:]
