"""Reading IMAP responses (RFC 3501, 9051): a small tokenizer over what `imaplib` collected, and sequence sets.

Written for bulk: IMAPClient's parser limits it to a fifth of the server's speed (reference/performance.md). A response
that cannot be read raises `Garbled`; `fetched` sets such a one aside and reads on, because one bad message must not
hide the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

Piece = bytes | tuple[bytes, bytes]
"""What imaplib stores of a response: a line, or (line up to the literal, literal)."""
Value = bytes | None | list["Value"]
Fields = dict[str, Value]
"""The items of one FETCH response by upper-case name: UID, FLAGS, BODY[], …"""
Ranges = list[tuple[int, int]]

_TOKEN = re.compile(
    rb"""\s*(?:
    (?P<open>\() | (?P<close>\)) |
    "(?P<quoted>(?:[^"\\]|\\.)*)" |
    (?P<literal>\{\d+\}\Z) |
    (?P<atom>(?:BODY|BINARY)(?:\.SIZE)?\[[^\]]*\](?:<\d+>)? | [^\s()"]+)
    )""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


class Garbled(Exception):
    """The response is not IMAP."""


class Fetched(dict[int, Fields]):
    """Answers of a FETCH by UID. `garbled` counts those that could not be read."""

    garbled: int = 0


def tokens(pieces: Sequence[Piece]) -> list[Value]:
    """One response as nested lists of byte strings; NIL is None."""
    root: list[Value] = []
    stack = [root]
    for piece in pieces:
        text, literal = piece if isinstance(piece, tuple) else (piece, None)
        _read(text, literal, stack)
    if len(stack) != 1:
        raise Garbled
    return root


def _read(text: bytes, literal: bytes | None, stack: list[list[Value]]) -> None:
    position, end = 0, len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None:
            raise Garbled
        position = found.end()
        kind = found.lastgroup
        if kind == "atom":
            atom = found["atom"]
            stack[-1].append(None if atom.upper() == b"NIL" else atom)
        elif kind == "open":
            inner: list[Value] = []
            stack[-1].append(inner)
            stack.append(inner)
        elif kind == "close":
            stack.pop()
            if not stack:
                raise Garbled
        elif kind == "quoted":
            stack[-1].append(_ESCAPED.sub(rb"\1", found["quoted"]))
        else:
            stack[-1].append(literal)


def responses(collected: Iterable[Piece]) -> Iterator[list[Piece]]:
    """imaplib's flat list cut into responses: pieces with literals, then the line that ends the response."""
    current: list[Piece] = []
    for piece in collected:
        current.append(piece)
        if isinstance(piece, bytes):
            yield current
            current = []


def fetched(collected: Iterable[Piece]) -> Fetched:
    """FETCH responses by UID. Unsolicited ones without a UID say nothing we can use; several for one UID add up."""
    answers = Fetched()
    for pieces in responses(collected):
        try:
            fields = _fields(tokens(pieces))
            uid = number(fields.get("UID"))
        except Garbled:
            answers.garbled += 1
            continue
        if uid:
            answers.setdefault(uid, {}).update(fields)
    return answers


def _fields(values: list[Value]) -> Fields:
    """`12 (UID 5 FLAGS (\\Seen))` as a mapping; the sequence number means nothing to us."""
    if len(values) != 2 or not isinstance(values[1], list) or len(values[1]) % 2:
        raise Garbled
    return pairs(values[1])


def pairs(values: Sequence[Value]) -> Fields:
    """A flat list of names and values as a mapping."""
    fields: Fields = {}
    for name, value in zip(values[::2], values[1::2], strict=False):
        if not isinstance(name, bytes):
            raise Garbled
        fields[name.decode("ascii", "replace").upper()] = value
    return fields


def number(value: Value) -> int:
    """A number, 0 where there is none."""
    if value is None:
        return 0
    if isinstance(value, list) or not is_number(value):
        raise Garbled
    return int(value)


def is_number(value: Value) -> bool:
    """True for digits that fit 64 bits: no figure of IMAP is longer, and Python refuses to read endless ones."""
    return isinstance(value, bytes) and value.isdigit() and len(value) <= 20


def words(value: Value) -> frozenset[str]:
    """A flat list of atoms, lower case: flags and attributes are compared without case (RFC 9051 2.3.2)."""
    if not isinstance(value, list):
        return frozenset()
    return frozenset(item.decode("utf-8", "replace").lower() for item in value if isinstance(item, bytes))


def quote(text: str | bytes) -> bytes:
    """A quoted string. Line ends and NUL cannot be in one; ValueError."""
    raw = text.encode() if isinstance(text, str) else text
    if any(byte in raw for byte in b"\r\n\0"):
        raise ValueError("a quoted string holds no line end and no NUL")
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


# --- sets of UIDs ---------------------------------------------------------------------------------------------


def compress(uids: Iterable[int]) -> str:
    """UIDs as a sequence set, ascending: `1:500,502`."""
    parts: list[str] = []
    ordered = sorted(uids)
    start = 0
    for index, uid in enumerate(ordered):
        if index + 1 == len(ordered) or ordered[index + 1] > uid + 1:
            first = ordered[start]
            parts.append(str(uid) if first == uid else f"{first}:{uid}")
            start = index + 1
    return ",".join(parts)


def ranges(text: str) -> Ranges:
    """A sequence set as (low, high) pairs. Garbled where it is none."""
    found: Ranges = []
    for part in text.split(",") if text else ():
        low, _, high = part.partition(":")
        high = high or low
        if not (is_number(low.encode()) and is_number(high.encode())):
            raise Garbled
        found.append((min(int(low), int(high)), max(int(low), int(high))))
    return found


def size(of: Ranges) -> int:
    """How many UIDs a set can hold at most."""
    return sum(high - low + 1 for low, high in of)


def below(of: Ranges, bound: int) -> Ranges:
    """The part of a set under `bound`."""
    return [(low, min(high, bound - 1)) for low, high in of if low < bound]


def expand(of: Ranges) -> Iterator[int]:
    """Every UID of a set; ask `size` first."""
    for low, high in of:
        yield from range(low, high + 1)
