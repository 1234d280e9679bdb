"""Header blocks: split, decode encoded words, read dates, message ids and parameters. Called by the parser.

The standard library's modern policy takes quadratic time on hostile headers and its legacy one recurses on comments
(reliability 0.4), so values are capped first and read by scanners that look at every character a fixed number of times.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_tz
from functools import lru_cache
from mmap import mmap
from urllib.parse import unquote_to_bytes

from email_sync.parsing.text import clean, decode, one_line

Headers = tuple[tuple[str, str], ...]
Raw = bytes | mmap
"""A message in memory, or in a file."""

MAX_BLOCK = 256 * 1024
MAX_HEADERS = 1_000
MAX_VALUE = 100_000
MAX_ORDERLY = 64 * 1024
"""Bytes of a block that is read in one look; no value in it can be too long."""
MAX_SHOWN_VALUE = 4_000
MAX_SHOWN_TOTAL = 128 * 1024
MAX_REMEMBERED = 200
"""Characters of a value worth remembering."""
MAX_SUBJECT = 998
MAX_ID = 998
MAX_REFERENCES = 20_000
KEPT_REFERENCES = 500

_HEADER_NAME = re.compile(rb"[!-9;-~]{1,200}[ \t]*:")
_ORDERLY_HEADER = re.compile(rb"([!-9;-~]{1,200}+)[ \t]*+:((?:[^\n]*+\n[ \t])*+[^\n]*+\n)")
_ORDERLY_BLOCK = re.compile(rb"((?:[!-9;-~]{1,200}+[ \t]*+:(?:[^\n]*+\n[ \t])*+[^\n]*+\n)++)\r?\n")
_ENCODED_WORD = re.compile(r"=\?([^?\s*]{1,60})(?:\*[^?\s]{0,20})?\?([bBqQ])\?([^?]*)\?=")
_MESSAGE_ID = re.compile(r"<([^<>]*)>")
_ZONE_WITH_NAME = re.compile(r"\b(?:GMT|UTC?)\s*([+-])(\d{1,2}):?(\d{2})?\b", re.IGNORECASE)
_PARAMETER = re.compile(r';\s*([^\s=;"]{1,100})\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)')
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


# --- the block -------------------------------------------------------------------------------------------------------


def split_block(raw: Raw, start: int, end: int) -> tuple[Headers, int]:
    """The headers that begin at `start`, undecoded but unfolded, and where the body begins.

    A line that is no header ends the block, as it does in the standard library (the empty line is missing), unless the
    next line is a header again: then it was junk. An mbox "From " line and ">From " are junk as well.
    """
    if (whole := _orderly(raw, start, end)) is not None:
        return whole
    found: list[tuple[str, list[bytes]]] = []
    position, budget = start, min(end, start + MAX_BLOCK)
    while position < end:
        stop = raw.find(b"\n", position, end) + 1 or end
        if position >= budget:
            return _joined(found), _after_blank_line(raw, position, end)
        line = raw[position : min(stop, position + MAX_VALUE)]
        if line in (b"\n", b"\r\n"):
            return _joined(found), stop
        match = _HEADER_NAME.match(line)
        if line[:1] in b" \t" and found:
            found[-1][1].append(line)
        elif match and not line.startswith((b"From ", b">From ")):
            found.append((match[0][:-1].rstrip().decode("ascii"), [line[match.end() :]]))
        elif not (line.startswith((b"From ", b">From ")) and position == start) and not _is_header(raw, stop):
            return _joined(found), position
        position = stop
    return _joined(found), end


def _orderly(raw: Raw, start: int, end: int) -> tuple[Headers, int] | None:
    """The block in one look where it is as it should be: nothing but headers, then an empty line, within every limit.
    None for any other, which is read line by line."""
    block = _ORDERLY_BLOCK.match(raw, start, min(end, start + MAX_ORDERLY))
    if block is None or b"From " in block[1]:  # an mbox line may look like a header
        return None
    found = _ORDERLY_HEADER.findall(block[1])
    if len(found) > MAX_HEADERS:
        return None
    return tuple((name.decode("ascii"), _unfold(value)) for name, value in found), block.end()


def _is_header(raw: Raw, position: int) -> bool:
    return bool(_HEADER_NAME.match(raw, position, position + 202))


def _after_blank_line(raw: Raw, position: int, end: int) -> int:
    """Where the body begins after a block too large to be read."""
    starts = [
        at + width for mark, width in ((b"\n\n", 2), (b"\n\r\n", 3)) if (at := raw.find(mark, position, end)) >= 0
    ]
    return min(starts, default=end)


def _joined(found: list[tuple[str, list[bytes]]]) -> Headers:
    return tuple((name, _unfold(b"".join(lines)[:MAX_VALUE])) for name, lines in found[:MAX_HEADERS])


def _unfold(value: bytes) -> str:
    text = value.decode("ascii") if value.isascii() else decode(value)  # RFC 6532 allows raw UTF-8; others just send it
    if "\n" in text:  # each but the last stands before a blank, or the line would be a header of its own
        text = text.replace("\r\n", "").replace("\n", "")
    return text.strip()


def by_name(headers: Headers) -> dict[str, list[str]]:
    """The values under their lower-case name, in order: a header that may come once sometimes comes twice."""
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(value)
    return values


def first(headers: Headers, name: str) -> str:
    """The first value of the header with this lower-case name, "" where there is none."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return ""


def shown(headers: Headers) -> Headers:
    """All headers decoded and capped, for storing."""
    kept: list[tuple[str, str]] = []
    room = MAX_SHOWN_TOTAL
    for name, value in headers[:MAX_HEADERS]:
        text = one_line(decode_words(value[: MAX_SHOWN_VALUE * 4]), MAX_SHOWN_VALUE)
        room -= len(name) + len(text)
        if room < 0:
            break
        kept.append((clean(name, 200), text))
    return tuple(kept)


# --- encoded words ---------------------------------------------------------------------------------------------------


def decode_words(value: str) -> str:
    """RFC 2047 encoded words decoded wherever they stand; neighbours are joined before decoding, because some mailers
    split one inside a character. What does not decode stays as it is."""
    if "=?" not in value:
        return value
    parts: list[str] = []
    pending, pending_charset, position = b"", "", 0
    for match in _ENCODED_WORD.finditer(value):
        between = value[position : match.start()]
        charset, data = match[1].lower(), _word_bytes(match[2], match[3])
        if pending_charset and (between.strip() or charset != pending_charset):
            parts.append(decode(pending, pending_charset))
            pending = b""
        if between.strip() or (between and not pending_charset):
            parts.append(between)
        pending, pending_charset, position = pending + data, charset, match.end()
    if pending_charset:
        parts.append(decode(pending, pending_charset))
    return "".join(parts) + value[position:]


def _word_bytes(kind: str, text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    if kind in "qQ":
        return binascii.a2b_qp(data, header=True)
    try:
        return binascii.a2b_base64(data + b"==")
    except binascii.Error:
        return data


def subject(value: str) -> str:
    return one_line(decode_words(value[: MAX_SUBJECT * 12]), MAX_SUBJECT)


# --- ids and dates ---------------------------------------------------------------------------------------------------


def message_ids(value: str) -> tuple[str, ...]:
    """The ids in a Message-ID, In-Reply-To or References value, without brackets. White space inside an id is folding
    gone wrong and is removed. Without any brackets, the words that look like ids."""
    found = _MESSAGE_ID.findall(value) or [word.strip("<>,;") for word in value.split() if "@" in word]
    ids = ("".join(one_line(item, MAX_ID * 2).split())[:MAX_ID] for item in found)
    return tuple(dict.fromkeys(item for item in ids if item))


def message_id(value: str) -> str:
    """The message's own id, "" where there is none; a lone word without brackets or "@" counts."""
    ids = message_ids(value)
    return ids[0] if ids else one_line(value, MAX_ID).strip("<> ").replace(" ", "")


def references(value: str) -> tuple[str, ...]:
    """The ids of References, first to last; of too many the middle goes: the root and the parents say most."""
    ids = message_ids(value)
    if len(ids) > KEPT_REFERENCES:
        ids = ids[: KEPT_REFERENCES // 2] + ids[-KEPT_REFERENCES // 2 :]
    while sum(map(len, ids)) > MAX_REFERENCES:
        quarter = max(1, len(ids) // 4)
        middle = len(ids) // 2
        ids = ids[: middle - quarter // 2] + ids[middle - quarter // 2 + quarter :]
    return ids


def date(value: str) -> datetime | None:
    """A Date value in UTC, None where it makes no sense. A missing or unknown zone counts as UTC."""
    value = _ZONE_WITH_NAME.sub(lambda m: f"{m[1]}{int(m[2]):02d}{m[3] or '00'}", one_line(value, 200))
    try:
        parsed = parsedate_tz(value)
        if parsed is None:
            return None
        return datetime(*parsed[:6], tzinfo=UTC) - timedelta(seconds=parsed[9] or 0)
    except (ValueError, IndexError, TypeError, OverflowError):  # parsedate_tz itself raises on some garbage
        return None


# --- parameters ------------------------------------------------------------------------------------------------------


def value_and_parameters(value: str) -> tuple[str, Mapping[str, str]]:
    """A structured value ("text/plain; charset=x") as its lower-case main word and its parameters, RFC 2231 and RFC
    2047 undone. The extended form wins over the plain one (RFC 6266 4.3)."""
    return _structured(value) if len(value) <= MAX_REMEMBERED else _structured.__wrapped__(value[:MAX_SHOWN_VALUE])


@lru_cache(maxsize=1024)
def _structured(value: str) -> tuple[str, Mapping[str, str]]:
    """Remembered: most parts of most mails say one of a few things, and each is asked for several times."""
    main, _, _ = value.partition(";")
    plain: dict[str, str] = {}
    for match in _PARAMETER.finditer(value):
        plain.setdefault(match[1].lower(), _unquoted(match[2].strip()))
    return one_line(main, 200).lower(), _assembled(plain)


def unescaped(text: str) -> str:
    """The inside of a quoted string or comment without its backslashes."""
    return _QUOTED_PAIR.sub(r"\1", text) if "\\" in text else text


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return unescaped(text[1:-1])
    return text.strip('"')


def _assembled(plain: dict[str, str]) -> dict[str, str]:
    """RFC 2231: `name*`, and `name*0`, `name*1*` … put together."""
    result = {name: decode_words(text) for name, text in plain.items() if "*" not in name}
    for base in dict.fromkeys(name.partition("*")[0] for name in plain if "*" in name):
        if f"{base}*" in plain:
            result[base] = _extended([(plain[f"{base}*"], True)])
            continue
        pieces: list[tuple[str, bool]] = []
        while (key := f"{base}*{len(pieces)}") in plain or f"{key}*" in plain:
            pieces.append((plain[f"{key}*"], True) if f"{key}*" in plain else (plain[key], False))
        if pieces:
            result[base] = _extended(pieces)
    return result


def _extended(pieces: list[tuple[str, bool]]) -> str:
    charset = ""
    if pieces[0][1] and pieces[0][0].count("'") >= 2:
        charset, _, text = pieces[0][0].split("'", 2)
        pieces = [(text, True), *pieces[1:]]
    data = b"".join(
        unquote_to_bytes(text) if encoded else text.encode("utf-8", "surrogatepass") for text, encoded in pieces
    )
    return decode(data, charset)
