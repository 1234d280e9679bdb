"""Address headers to `records.Address`: a tolerant reading of RFC 5322 mailbox lists. Called by the parser.

The standard library's reader takes quadratic time on quotes and recurses on comments (reliability 0.4); this one
looks at every character a fixed number of times and never refuses: text without an address is kept as a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from email_sync.parsing.headers import MAX_REMEMBERED, MAX_VALUE, decode_words, unescaped
from email_sync.parsing.text import clean, one_line
from email_sync.records import Address

MAX_NAME = 500
MAX_EMAIL = 320
MAX_RECIPIENTS = 1_000

_WORD = r"=\?[^?\s]{1,80}\?[bBqQ]\?[^?]*\?="
_TOKEN = re.compile(
    rf"""(?P<word>{_WORD})
       | (?P<text>[^",;:<>()\\=\s]+|\s+|=)
       | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_QUOTE_MARKS = re.compile(r'\\.|"', re.DOTALL)
_COMMENT_MARKS = re.compile(r"\\.|[()]", re.DOTALL)


class _Entry:
    """One mailbox while it is read. `raw` keeps quotes, for a quoted local part; `cooked` is the display text."""

    def __init__(self) -> None:
        self.raw: list[str] = []
        self.cooked: list[str] = []
        self.comments: list[str] = []
        self.angle: str | None = None

    def add(self, raw: str, cooked: str) -> None:
        self.raw.append(raw)
        self.cooked.append(cooked)

    def address(self) -> Address | None:
        raw, cooked = "".join(self.raw).strip(), "".join(self.cooked)
        comment = " ".join(self.comments)
        if self.angle is not None:
            email = _email(self.angle)
            if email:
                return Address(_name(cooked or comment), email)
            cooked = f"{cooked} <{self.angle}>" if self.angle.strip() else cooked
        elif email := _email(raw):
            return Address(_name(comment), email)
        elif "@" in raw:
            return _among_words(raw)
        name = _name(cooked or comment)
        return Address(name, "") if name else None


def _name(text: str) -> str:
    return one_line(decode_words(one_line(text, MAX_NAME * 4)), MAX_NAME).strip("'\" ")


def _email(text: str) -> str:
    """`text` as an address, "" where it is none. A source route ("@a,@b:user@c", RFC 5322 4.4) is dropped."""
    text = decode_words(one_line(text, MAX_EMAIL * 2))
    if text.startswith("@") and ":" in text:
        text = text.rpartition(":")[2]
    local, at, domain = text.rpartition("@")
    quoted = len(local) > 2 and local[0] == local[-1] == '"'
    if (
        not (local and at and domain)
        or len(text) > MAX_EMAIL
        or " " in domain
        or (not quoted and set(local) & set(' "<>,;'))
    ):
        return ""
    return clean(text)


def _among_words(text: str) -> Address:
    """ "Anna Smith anna@example.org", brackets forgotten."""
    words = text.split()
    for index, word in enumerate(words):
        if email := _email(word.strip("'\"")):
            return Address(_name(" ".join(words[:index] + words[index + 1 :])), email)
    return Address(_name(text), "")


def addresses(value: str) -> tuple[Address, ...]:
    """The mailboxes of an address header; groups are flattened, text without an address is kept as a name. At most
    1,000. A comma inside an unquoted name ("Smith, Anna <a@b>") joins the two halves, as senders mean it."""
    return _addresses(value) if len(value) <= MAX_REMEMBERED else _addresses.__wrapped__(value)


@lru_cache(maxsize=2048)
def _addresses(value: str) -> tuple[Address, ...]:
    """Remembered: a mailbox is full of the same few people."""
    found: list[Address] = []
    half: str = ""
    for entry, mark in _entries(value[:MAX_VALUE]):
        address = entry.address()
        if half and address and entry.angle is not None and address.email:
            address = Address(_name(f"{half}, {address.name}"), address.email)
            found.pop()
        half = ""
        if address:
            found.append(address)
            half = address.name if not address.email and entry.angle is None and mark == "," else ""
        if len(found) >= MAX_RECIPIENTS:
            break
    return tuple(found)


def _entries(value: str) -> Iterator[tuple[_Entry, str]]:
    """Each mailbox with the mark that ended it. An opening mark without its partner is ordinary text from there on, so
    that no part of the value is looked at more than a fixed number of times."""
    entry, position, dead = _Entry(), 0, set[str]()
    while match := _TOKEN.match(value, position):  # takes any character, so it ends with the value
        mark = match["mark"]
        end = match.end()
        if mark and mark in '"(<' and mark not in dead:
            close = _closing(value, position)
            if close < 0:
                dead.add(mark)
                entry.add(mark, mark)
            else:
                _add_enclosed(entry, mark, value[position + 1 : close])
                end = close + 1
        elif mark and mark in ",;":
            yield entry, mark
            entry = _Entry()
        elif mark == ":" and entry.angle is None and "@" not in "".join(entry.raw[:8]):
            entry = _Entry()  # the name of a group
        else:
            entry.add(match[0], match[0])
        position = end
    yield entry, ""


def _add_enclosed(entry: _Entry, mark: str, inner: str) -> None:
    if mark == "<" and entry.angle is None:
        entry.angle = inner
    elif mark == "(":
        entry.comments.append(unescaped(inner))
    elif mark == '"':
        entry.add(f'"{inner}"', unescaped(inner))
    else:
        entry.add(f"<{inner}>", f"<{inner}>")


def _closing(value: str, position: int) -> int:
    """Where the mark at `position` is closed, -1 where nowhere. Comments nest; quotes and comments know backslashes."""
    mark = value[position]
    if mark == "<":
        return value.find(">", position)
    depth = 0
    pattern = _QUOTE_MARKS if mark == '"' else _COMMENT_MARKS
    for match in pattern.finditer(value, position):
        if match[0] in ('"', ")"):
            depth -= 1 if mark == "(" else 0
            if depth == 0 and match.start() > position:
                return match.start()
        elif match[0] == "(":
            depth += 1
    return -1
