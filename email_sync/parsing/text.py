"""Making text storable and bytes readable: cleaning, charsets, transfer encodings. Called all over the parser.

Every function is linear in its input and raises for no content (reference 7.2).
"""

from __future__ import annotations

import binascii
import codecs
import functools
import re
from collections.abc import Iterable, Iterator

_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL_OR_SPACE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]+")
_CHARSET_NAME = re.compile(r"[A-Za-z0-9_.:+-]{1,40}")

_WIDER = {
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
}
"""Charsets mail names although it means a superset (as WHATWG Encoding maps them)."""
_NOT_TEXT = {"punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined", "utf-8-sig", "utf-7"}
"""Codecs that are no mail charset; punycode and idna take quadratic time."""
_DECLARED_FIRST = {
    "iso2022", "hz", "utf-16", "utf-32", "gb18030", "big5", "cp949", "cp950", "cp932", "euc_jp", "johab", "shift_jis",
}  # fmt: skip
"""Charsets whose bytes are often valid UTF-8 too, and then mean something else."""
_BASE64_JUNK = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))
_BASE64_FILLING = _BASE64_JUNK.replace(b"=", b"")
UU = frozenset({"x-uuencode", "uuencode", "uue", "x-uue"})


def clean(text: str, limit: int | None = None) -> str:
    """`text` as PostgreSQL and JSON take it: no NUL, no lone surrogate, at most `limit` characters."""
    if limit is not None:
        text = text[:limit]
    if "\x00" in text:
        text = text.replace("\x00", "")
    if text.isascii():
        return text
    return _SURROGATE.sub("\ufffd", text)


def one_line(text: str, limit: int) -> str:
    """`text` cleaned, every run of white space and control characters one blank, at most `limit` characters."""
    if len(text) <= limit and text.isascii() and text.isprintable() and "  " not in text:  # most headers
        return text.strip()
    text = text[: limit * 4]
    if text.isascii() and (words := " ".join(text.split())).isprintable():  # folded: several times faster
        return words[:limit]
    if not (text.isascii() and text.isprintable()) or "  " in text:
        text = _CONTROL_OR_SPACE.sub(" ", text)
    return clean(text.strip(), limit)


@functools.lru_cache(maxsize=256)
def _codec(charset: str) -> str:
    """The Python codec for a declared charset, "" where there is none. The names are the sender's, so they are
    bounded."""
    if not _CHARSET_NAME.fullmatch(charset):
        return ""
    try:
        info = codecs.lookup(charset)
    except (LookupError, ValueError, ImportError):
        return ""
    if info.name in _NOT_TEXT or not getattr(info, "_is_text_encoding", True):
        return ""
    return _WIDER.get(info.name, info.name)


def _decode_strict(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except (UnicodeError, LookupError):
        return None


def decode(data: bytes, charset: str = "") -> str:
    """The characters of `data`, which says it is in `charset`. What says so is often wrong, so valid UTF-8 wins
    wherever that cannot be chance; then the declared charset; then Windows-1252. Bad bytes become U+FFFD. Not
    cleaned."""
    codec = _codec(charset.strip().lower()) if charset else ""
    stateful = codec.startswith(tuple(_DECLARED_FIRST))
    order = (codec, "utf-8") if stateful else ("utf-8", codec)
    for candidate in order:
        if candidate and (text := _decode_strict(data, candidate)) is not None:
            return text
    return data.decode(codec or "cp1252", "replace")


def decode_transfer(data: bytes, encoding: str) -> bytes:
    """Undo a Content-Transfer-Encoding, as far as it can be undone; an unknown one leaves the bytes as they are."""
    encoding = encoding.strip().lower()
    if encoding == "base64":
        return _decode_base64(data)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(data)
    if encoding in UU:
        return _decode_uu(data)
    return data


def decode_pieces(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The same bytes as `decode_transfer` gives of all pieces together, as they come and in flat memory. What is
    encoded so oddly that its end says how its beginning is read is taken together."""
    known = encoding.strip().lower()
    if known == "base64":
        yield from _base64_pieces(pieces)
    elif known == "quoted-printable":
        yield from _line_pieces(pieces)
    elif known in UU:
        yield _decode_uu(b"".join(pieces))
    else:
        yield from pieces


def _base64_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Four characters are three bytes, wherever they stand; padding is the end, or nothing anybody can rely on."""
    rest, padded = b"", False
    for piece in pieces:
        rest += piece.translate(None, _BASE64_FILLING)
        if padded := padded or b"=" in rest:
            continue
        cut = len(rest) - len(rest) % 4
        yield binascii.a2b_base64(rest[:cut])
        rest = rest[cut:]
    yield _decode_base64(rest)


def _line_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        lines, newline, rest = (rest + piece).rpartition(b"\n")
        yield binascii.a2b_qp(lines + newline)
    yield binascii.a2b_qp(rest)


def _decode_base64(data: bytes) -> bytes:
    try:
        return binascii.a2b_base64(data)
    except binascii.Error:
        kept = data.translate(None, _BASE64_JUNK)
        if len(kept) % 4 == 1:  # one left-over character carries no whole byte
            kept = kept[:-1]
        return binascii.a2b_base64(kept + b"=" * (-len(kept) % 4))


def _decode_uu(data: bytes) -> bytes:
    lines = iter(data.splitlines())
    if not any(line.startswith(b"begin ") for line in lines):
        return data
    decoded = []
    for line in lines:
        if line.strip() in (b"end", b"`", b""):
            break
        try:
            decoded.append(binascii.a2b_uu(line))
        except binascii.Error:
            continue
    return b"".join(decoded)


def base64_size(data: bytes, start: int, end: int) -> int:
    """How many bytes the base64 in `data[start:end]` holds, without making them: exact for well-formed base64."""
    return len(data[start:end].translate(None, b"\n\r= ")) * 3 // 4


def unflow(text: str, *, delete_space: bool) -> str:
    """Undo format=flowed (RFC 3676): a line that ends in a blank goes on in the next one of the same quote depth."""
    lines: list[list[str]] = []
    open_depth = -1
    for line in text.split("\n"):
        depth = len(line) - len(line.lstrip(">"))
        content = line[depth:]
        content = content[1:] if content.startswith(" ") else content  # space-stuffing
        flows = content.endswith(" ") and content != "-- "
        if flows and delete_space:
            content = content[:-1]
        if depth == open_depth:
            lines[-1].append(content)
        else:
            lines.append([">" * depth + " " if depth else "", content])
        open_depth = depth if flows else -1
    return "\n".join("".join(parts) for parts in lines)
