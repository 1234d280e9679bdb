"""iCalendar text as a tree of its own lines, to be changed in places and written out again (RFC 5545 3.1).

What is not touched comes out as it went in, unfolded and folded again: properties nobody here knows survive. Reading
what the lines mean is `ics`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from calendar_sync.content import MAX_CHARACTERS, MAX_DEPTH, BadCalendar

_FOLD = re.compile(r"(?:\r\n|\n|\r)[ \t]")
_BREAK = re.compile(r"\r\n|\n|\r")
_NAME = re.compile(r"[A-Za-z0-9-]+")
WIDTH = 75
"""Octets of a line, its break apart."""


@dataclass(slots=True)
class Node:
    """A component: its lines, unfolded, and the components in it, in order."""

    name: str
    items: list[str | Node] = field(default_factory=list)

    def children(self, name: str) -> list[Node]:
        """The components of this name right inside."""
        return [item for item in self.items if isinstance(item, Node) and item.name == name]

    def lines(self, *names: str) -> list[str]:
        """The properties of these names, in order."""
        return [item for item in self.items if isinstance(item, str) and name_of(item) in names]

    def replace(self, names: Iterable[str], lines: Iterable[str]) -> None:
        """These lines instead of the properties of these names, where the first of them was, or after the last
        property."""
        gone = frozenset(names)
        places = [place for place, item in enumerate(self.items) if isinstance(item, str) and name_of(item) in gone]
        inner = (place for place, item in enumerate(self.items) if isinstance(item, Node))
        at = places[0] if places else next(inner, len(self.items))
        kept = [item for item in self.items[at:] if not (isinstance(item, str) and name_of(item) in gone)]
        self.items = [*self.items[:at], *lines, *kept]

    def copy(self) -> Node:
        """The same lines and components again."""
        return Node(self.name, [item.copy() if isinstance(item, Node) else item for item in self.items])


def name_of(line: str) -> str:
    """Of the property, in capitals; "" where the line is none."""
    found = _NAME.match(line)
    return found[0].upper() if found else ""


def parse(text: str) -> list[Node]:
    """The components of a text, usually one VCALENDAR. BadCalendar where they do not end as they begin."""
    if len(text) > MAX_CHARACTERS:
        raise BadCalendar(f"The calendar data is longer than {MAX_CHARACTERS} characters.")
    root = Node("")
    path = [root]
    for line in filter(str.strip, _BREAK.split(_FOLD.sub("", text.lstrip("\ufeff")))):
        name, value = name_of(line), line.partition(":")[2].strip().upper()
        if name == "BEGIN":
            if len(path) > MAX_DEPTH:
                raise BadCalendar("The calendar data has too many parts.")
            child = Node(value)
            path[-1].items.append(child)
            path.append(child)
        elif name == "END":
            if len(path) == 1 or path.pop().name != value:
                raise BadCalendar("The calendar data does not end where it begins.")
        else:
            path[-1].items.append(line)
    if len(path) > 1:
        raise BadCalendar("The calendar data is cut off.")
    return [item for item in root.items if isinstance(item, Node)]


def text_of(nodes: Iterable[Node]) -> str:
    """The text again, folded."""
    return "".join(f"{part}\r\n" for node in nodes for line in _lines(node) for part in _folded(line))


def _lines(node: Node) -> Iterator[str]:
    yield f"BEGIN:{node.name}"
    for item in node.items:
        if isinstance(item, Node):
            yield from _lines(item)
        else:
            yield item
    yield f"END:{node.name}"


def _folded(line: str) -> Iterator[str]:
    """No character is cut in two."""
    if len(line) <= WIDTH and line.isascii():
        yield line
        return
    part, size = "", 0
    for character in line:
        width = len(character.encode())
        if size + width > WIDTH:
            yield part
            part, size = " ", 1
        part, size = part + character, size + width
    yield part


# --- parameters ---------------------------------------------------------------------------------------------------


def split(line: str) -> tuple[list[str], str]:
    """The name with its parameters, and the value: what stands in quotes divides nothing."""
    parts, part, quoted = [], "", False
    for place, character in enumerate(line):
        if character == '"':
            quoted = not quoted
        if not quoted and character in ";:":
            parts.append(part)
            part = ""
            if character == ":":
                return parts, line[place + 1 :]
        else:
            part += character
    return [*parts, part], ""


def with_parameter(line: str, name: str, value: str) -> str:
    """The line with this parameter; without it where the value is ""."""
    parts, rest = split(line)
    kept = [part for part in parts[1:] if part.partition("=")[0].upper() != name]
    return ";".join([parts[0], *kept, *([f"{name}={value}"] if value else [])]) + f":{rest}"
