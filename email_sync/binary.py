"""Values as PostgreSQL's binary COPY takes them (its manual, COPY, "Binary Format"; the types' receive functions), for
rows so large that reading them from text is half of what they cost. Pure. Called where search rows are written.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

START = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
"""Signature, no flags, no extension."""
END = b"\xff\xff"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BIGINT = 20
"""The type's id, the same in every database."""
_length = struct.Struct("!i").pack
_moment = struct.Struct("!q").pack
_array = struct.Struct("!iiiii").pack
_number = struct.Struct("!iq").pack
_NO_PLACES = "\0\0\0"
"""The end of a word, and that it has no places."""


def row(*values: bytes) -> bytes:
    """A row of values made here, none of them NULL."""
    return struct.pack("!h", len(values)) + b"".join([_length(len(value)) + value for value in values])


def of_id(value: uuid.UUID) -> bytes:
    """For `uuid`."""
    return value.bytes


def of_moment(value: datetime) -> bytes:
    """For `timestamptz`, of a moment that knows its zone."""
    return _moment((value - _EPOCH) // _MICROSECOND)


def of_numbers(values: Sequence[int]) -> bytes:
    """For `bigint[]`, which is not empty."""
    return _array(1, 0, _BIGINT, len(values), 1) + b"".join([_number(8, value) for value in values])


def of_text(value: str) -> bytes:
    """For `text`, without NUL."""
    return value.encode()


def of_words(words: Sequence[str]) -> bytes:
    """For `tsvector`: words without places, each once. In the order of their bytes, which is that of their characters:
    else the database sorts them."""
    return _length(len(words)) + (_NO_PLACES.join([*words, ""]).encode())
