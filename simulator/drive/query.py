"""Drive's search terms: `'<id>' in parents`, comparisons of name, mimeType, trashed, starred and the two times, joined
by and, or, not and parentheses. In a value `\\'` and `\\\\` stand for the quote and the backslash. What the vendor has
beyond that (properties, visibility, writers, …) is refused here as a malformed query, never ignored."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from simulator.drive.access import Call, invalid, not_found
from simulator.drive.store import File

TOKEN = re.compile(r"\s*(?:(?P<text>'(?:[^'\\]|\\['\\])*')|(?P<word>[A-Za-z]+)|(?P<sign>!=|<=|>=|[=<>()]))")
Test = Callable[[File], bool]


def compile_query(call: Call, text: str) -> Test:
    """What `q` asks of a file. 400 for what is no query, 404 for a folder this app may not see."""
    if not text.strip():
        return lambda item: True
    parser = _Parser(call, _split(text))
    test = parser.either()
    if parser.rest:
        raise malformed()
    return test


def malformed() -> Exception:
    return invalid("Invalid Value", "q")


def _split(text: str) -> list[str]:
    """Tokens; a quoted one keeps its first quote, to tell it from a word."""
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise malformed()
        quoted = match["text"]
        tokens.append("'" + re.sub(r"\\(.)", r"\1", quoted[1:-1]) if quoted else match["word"] or match["sign"])
        at = match.end()
    return tokens


class _Parser:
    def __init__(self, call: Call, tokens: list[str]) -> None:
        self.call, self.rest = call, tokens

    def either(self) -> Test:
        left = self.both()
        while self._takes("or"):
            left = _any(left, self.both())
        return left

    def both(self) -> Test:
        left = self.term()
        while self._takes("and"):
            left = _all(left, self.term())
        return left

    def term(self) -> Test:
        if self._takes("not"):
            inner = self.term()
            return lambda item: not inner(item)
        if self._takes("("):
            inner = self.either()
            if not self._takes(")"):
                raise malformed()
            return inner
        first, operator, value = self._next(), self._next(), self._next()
        if first.startswith("'"):
            return self._membership(first[1:], operator, value)
        return self._comparison(first, operator, value)

    def _membership(self, identity: str, operator: str, collection: str) -> Test:
        if (operator, collection) != ("in", "parents"):
            raise malformed()
        parent = self.call.root() if identity == "root" else self.call.find(identity)
        if parent is None:
            raise not_found("")
        return lambda item: item.parent == parent.id

    def _comparison(self, name: str, operator: str, value: str) -> Test:
        state = self.call.state
        if name in ("trashed", "starred") and operator in ("=", "!=") and value in ("true", "false"):
            wanted = (value == "true") == (operator == "=")
            return lambda item: (state.in_trash(item) if name == "trashed" else item.starred) == wanted
        if not value.startswith("'"):
            raise malformed()
        if name in ("name", "mimeType"):
            return _text_test(name, operator, value[1:])
        if name in ("modifiedTime", "createdTime"):
            return _time_test(name, operator, value[1:])
        raise malformed()

    def _takes(self, token: str) -> bool:
        if self.rest[:1] != [token]:
            return False
        self.rest = self.rest[1:]
        return True

    def _next(self) -> str:
        if not self.rest:
            raise malformed()
        token, self.rest = self.rest[0], self.rest[1:]
        return token


def _any(left: Test, right: Test) -> Test:
    return lambda item: left(item) or right(item)


def _all(left: Test, right: Test) -> Test:
    return lambda item: left(item) and right(item)


def _text_test(name: str, operator: str, wanted: str) -> Test:
    """`name contains` matches the beginnings of words, `mimeType contains` a beginning; names ignore case."""

    def value(item: File) -> str:
        return item.name if name == "name" else item.mime_type

    if operator == "=":
        return lambda item: value(item).casefold() == wanted.casefold()
    if operator == "!=":
        return lambda item: value(item).casefold() != wanted.casefold()
    if operator != "contains":
        raise malformed()
    if name == "mimeType":
        return lambda item: item.mime_type.startswith(wanted)
    begins = re.compile(r"(?:\A|\W|_)" + re.escape(wanted), re.IGNORECASE)
    return lambda item: bool(begins.search(item.name))


def _time_test(name: str, operator: str, text: str) -> Test:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise malformed() from error
    limit = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    compare: dict[str, Callable[[float], bool]] = {
        "=": lambda found: found == limit,
        "!=": lambda found: found != limit,
        "<": lambda found: found < limit,
        "<=": lambda found: found <= limit,
        ">": lambda found: found > limit,
        ">=": lambda found: found >= limit,
    }
    if operator not in compare:
        raise malformed()
    return lambda item: compare[operator](item.modified if name == "modifiedTime" else item.created)
