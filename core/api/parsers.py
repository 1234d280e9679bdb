"""Request bodies: JSON and nothing else, read within a cap, strict, and never text that PostgreSQL cannot hold.

The default parser of every view. Promised: whatever is sent, the answer is a value or a 400, 413 or 415.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import IO, Any, ClassVar

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

MAX_DEPTH = 32
_MAX_INTEGER = 2**63 - 1


class StrictJSONParser(BaseParser):
    """`application/json` up to `settings.DATA_UPLOAD_MAX_MEMORY_SIZE` bytes and 32 levels."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The value; ParseError (400) or RequestDataTooBig (413)."""
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read() if limit is None else stream.read(limit + 1)
        if limit is not None and len(body) > limit:
            raise RequestDataTooBig
        return parse_json(body)


class AsItCame(BaseParser):
    """The bytes, whatever they are called, within a cap: for what proves itself by a signature, which is checked before
    anything is read."""

    media_type = "*/*"
    max_bytes: ClassVar[int] = 1024 * 1024

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """RequestDataTooBig (413) above the cap."""
        body: bytes = stream.read(self.max_bytes + 1)
        if len(body) > self.max_bytes:
            raise RequestDataTooBig
        return body


def parse_json(body: bytes) -> Any:
    """Strict JSON: UTF-8, finite numbers within 64 bits, no NUL or unpaired surrogate, bounded depth."""
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse, parse_float=_finite, parse_int=_bounded)
    except (ValueError, RecursionError) as error:
        raise ParseError("The body is not valid JSON.") from error
    _check(value)
    return value


def _check(value: Any) -> None:
    """Level by level, so that depth costs no stack."""
    level = [value]
    for _ in range(MAX_DEPTH):
        following: list[Any] = []
        for item in level:
            if isinstance(item, str):
                _check_text(item)
            elif isinstance(item, dict):
                following.extend(item)
                following.extend(item.values())
            elif isinstance(item, list):
                following.extend(item)
        if not following:
            return
        level = following
    raise ParseError(f"The body is nested deeper than {MAX_DEPTH} levels.")


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ParseError("Text cannot hold NUL (\\u0000).")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ParseError("Text cannot hold half of a surrogate pair.")


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("too large")
    return number


def _bounded(text: str) -> int:
    if len(text) > 20 or abs(number := int(text)) > _MAX_INTEGER:
        raise ValueError("too large")
    return number
