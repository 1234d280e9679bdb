"""HTML to readable text, for mail without a text part: search, previews and replies need words.

Not a sanitiser: what comes out is plain text. One pass, no backtracking across a `<`, so that hostile markup costs no
more than its length; the standard library's HTMLParser does not promise that (CVE-2025-6069).
"""

from __future__ import annotations

import html
import re

_NAME = r"<(?P<close>/?)(?P<name>[a-zA-Z][a-zA-Z0-9:]*+)"
_TAG = re.compile(_NAME + r"""(?:[^<>"']|"[^"<]*"|'[^'<]*')*+>""")
_SLOPPY_TAG = re.compile(_NAME + r"[^<>]*+>")
_DECLARATION = re.compile(r"<[!?/][^<>]*+>")
_HUGE_REFERENCE = re.compile(r"&#[xX]?[0-9a-fA-F]{8,}+;?")
_BLANKS = re.compile(r"[ \t\r\n\f\v\xa0\u200b\u200c\u034f\u00ad]+")
_EMPTY_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")

_SKIPPED = {
    name: re.compile(rf"</{name}\b[^<>]*+>", re.IGNORECASE)
    for name in ("script", "style", "title", "template", "noscript", "textarea", "select", "object", "svg", "math")
}
_BLOCKS = {
    "address", "article", "aside", "blockquote", "body", "center", "dd", "div", "dl", "dt", "fieldset", "figure",
    "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre",
    "section", "table", "tr", "ul",
}  # fmt: skip
_SPACED = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "blockquote", "pre", "table"}
_MAX_QUOTE = 10


class _Writer:
    """Collects words into lines. Blank runs collapse except in `pre`; quoted blocks get the usual mark."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.line: list[str] = []
        self.quote = 0
        self.pre = 0

    def text(self, raw: str) -> None:
        if "&" in raw:
            raw = html.unescape(_HUGE_REFERENCE.sub("\ufffd", raw))
        if self.pre:
            first, *others = raw.replace("\r\n", "\n").split("\n")
            self.line.append(first)
            for other in others:
                self.end_line()
                self.line.append(other)
        else:
            self.line.append(_BLANKS.sub(" ", raw))

    def end_line(self) -> None:
        text = "".join(self.line)
        text = text.rstrip() if self.pre else " ".join(text.split(" ")).strip()
        self.lines.append(f"{'> ' * self.quote}{text}" if text or not self.quote else (">" * self.quote))
        self.line = []

    def end_block(self) -> None:
        if "".join(self.line).strip():
            self.end_line()
        self.line = []

    def tag(self, name: str, *, closing: bool) -> None:
        if name == "br":
            self.end_line()
        elif name in ("td", "th"):
            self.line.append(" ")
        elif name in _BLOCKS:
            self.end_block()
            self._nest(name, -1 if closing else 1)
            if name in _SPACED and self.lines and self.lines[-1].strip("> "):
                self.end_line()
            if name == "li" and not closing:
                self.line.append("- ")

    def _nest(self, name: str, step: int) -> None:
        if name == "blockquote":
            self.quote = min(max(0, self.quote + step), _MAX_QUOTE)
        elif name == "pre":
            self.pre = max(0, self.pre + step)

    def result(self) -> str:
        self.end_block()
        return _EMPTY_LINES.sub("\n\n", "\n".join(self.lines)).strip("\n")


def to_text(source: str) -> str:
    """The words of an HTML document, a line per block, quoted blocks with "> ", no links or styles."""
    writer = _Writer()
    position = 0
    while (at := source.find("<", position)) >= 0:
        if at > position:
            writer.text(source[position:at])
        position = _after_markup(source, at, writer)
    writer.text(source[position:])
    return writer.result()


def _after_markup(source: str, at: int, writer: _Writer) -> int:
    """Where reading goes on after the markup at `at`. What never closes swallows the rest, as browsers do."""
    if source.startswith("<!--", at):
        end = source.find("-->", at + 4)
        return end + 3 if end >= 0 else len(source)
    match = _TAG.match(source, at) or _SLOPPY_TAG.match(source, at)
    if match is None:
        other = _DECLARATION.match(source, at)
        if other:
            return other.end()
        writer.text("<")
        return at + 1
    name = match["name"].lower()
    if name in _SKIPPED and not match["close"] and not match[0].endswith("/>"):
        end_tag = _SKIPPED[name].search(source, match.end())
        return end_tag.end() if end_tag else len(source)
    writer.tag(name, closing=bool(match["close"]))
    return match.end()
