"""Whether HTML can be sanitised in bounded time: an upper bound of the tree builder's work, found in one linear look.

A browser-grade tree builder looks along its stack of open elements for many a tag and opens unclosed formatting anew in
every block: 50,000 nested `div` cost it 6 s, a few thousand distinct unclosed `font` gigabytes. The count here never
believes in a closing tag the tree builder might ignore, so that it can only be too high. Called by `sanitising`.
"""

from __future__ import annotations

import re

MAX_WORK = 20_000_000
"""Open elements, added up over all tags: about 0.2 s."""
MAX_FORMATTING = 500_000
"""Open formatting elements, added up over all tags."""
MAX_ATTRIBUTES = 3_000
"""In one tag: each is compared with all others."""

_ATTRIBUTE = r"""[\s/]*+[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+)?)?"""
_TAG = re.compile(rf"<(/?)([a-zA-Z][^\s/>]*+)((?:{_ATTRIBUTE})*+)[\s/]*+>")
_ATTRIBUTES = re.compile(_ATTRIBUTE)
_COMMENT_END = re.compile(r"--!?>")
_FOREIGN = {"svg", "math"}
_FORMATTING = {"a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"}
_IMPLIED = {"p", "li", "dd", "dt", "option", "tr", "td", "th", "tbody", "thead", "tfoot", "colgroup"}
"""Elements that end by themselves when another of their kind, or their parent, does."""
_VOID = {
    "area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "img", "input", "link", "meta", "param",
    "source", "track", "wbr",
}  # fmt: skip
_RAW = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
    for name in ("script", "style", "xmp", "iframe", "noembed", "noframes", "title", "textarea")
}
"""Elements whose content is not markup (WHATWG HTML 13.2.5)."""


class _Stack:
    """The elements that may be open, and what they have cost so far."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.formatting = 0
        self.work = 0
        self.formatting_work = 0
        self.frozen = False

    def start(self, name: str) -> None:
        if name in _FOREIGN:
            self.frozen = True  # other rules apply inside: nothing counts as closed from here on
        if name in _IMPLIED and not self.frozen:
            self._end_same(name)
        if name not in _VOID:
            self.open.append(name)
            self.formatting += name in _FORMATTING

    def end(self, name: str) -> None:
        """Close the innermost element if it is this one, elements that end by themselves aside."""
        position = len(self.open) - 1
        while position >= 0 and self.open[position] != name and self.open[position] in _IMPLIED:
            position -= 1
        if position >= 0 and self.open[position] == name and not self.frozen:
            self.formatting -= name in _FORMATTING
            del self.open[position:]

    def _end_same(self, name: str) -> None:
        position = len(self.open) - 1
        while position >= 0 and self.open[position] in _IMPLIED:
            if self.open[position] == name:
                del self.open[position:]
                return
            position -= 1

    def count(self) -> bool:
        """Add what one more tag may cost; whether it is too much by now."""
        self.work += len(self.open)
        self.formatting_work += self.formatting
        return self.work > MAX_WORK or self.formatting_work > MAX_FORMATTING


def too_tangled(html: str) -> bool:
    """Whether building the tree of `html` may take long."""
    stack = _Stack()
    position = 0
    while (at := html.find("<", position)) >= 0:
        match = _TAG.match(html, at)
        if match is None:
            if _opens_tag(html, at):
                return False  # it never ends, and the tree builder drops it
            position = _after_other(html, at)
            continue
        position, name = match.end(), match[2].lower()
        if len(match[3]) > MAX_ATTRIBUTES and len(_ATTRIBUTES.findall(match[3])) > MAX_ATTRIBUTES:
            return True
        if match[1]:
            stack.end(name)
        else:
            stack.start(name)
            if name in _RAW and not stack.frozen:
                end = _RAW[name].search(html, position)
                content = html[position : end.start() if end else len(html)].lower()
                if name == "script" and "<!--" in content and "<script" in content:
                    return True  # a script inside a comment inside a script ends elsewhere
                position += len(content)
        if stack.count():
            return True
    return False


def _opens_tag(html: str, at: int) -> bool:
    letter = html[at + 1 : at + 3].removeprefix("/")[:1]
    return letter.isascii() and letter.isalpha()


def _after_other(html: str, at: int) -> int:
    """Where reading goes on after a `<` that begins no tag: a comment, a declaration, or text."""
    if html.startswith("<!--", at):
        if html.startswith((">", "->"), at + 4):
            return at + 5
        end = _COMMENT_END.search(html, at + 4)
        return end.end() if end else len(html)
    if html[at + 1 : at + 2] in ("!", "?", "/"):
        closing = html.find(">", at)
        return closing + 1 if closing >= 0 else len(html)
    return at + 1
