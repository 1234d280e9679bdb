"""What must never be read in a log, an error or a quoted answer, and the one place that takes it out.

Called by `core.http` for provider words and by the logging configuration (`RedactSecrets` on every handler). Masking is
the second wall: nothing of ours logs bodies, headers or queries in the first place.
"""

from __future__ import annotations

import logging
import re

MASK = "***"

_NAMES = (
    r"access_?token|refresh_?token|id_?token|bot_?token|auth_?token|device_?code|code_?verifier|client_?secret|secret"
    r"|signing_?key|private_?key|secret_?key|api[_-]?key|password|passwd|passphrase|authorization|cookie|token|credentials?"
)
_SECRET = rf"(?i:(?:^|[_\-.])(?:{_NAMES})$)|[a-z0-9](?:Token|Secret|Password|ApiKey|SecretKey|PrivateKey|SigningKey)$"
SECRET_NAME = re.compile(rf"{_SECRET}|^code$")
"""Says of a header, form or query name that its value is a secret."""
_SECRET_IN_TEXT = re.compile(_SECRET)
"""The same for any text, where `code` is mostly an error code worth reading."""

# name=value, name: value, "name": "value", also inside URLs, reprs and JSON inside JSON. Every repetition is possessive
# and a name is tried once, at its beginning, so that the time is linear whatever the text.
_NAME = re.compile(r"""(?<![A-Za-z0-9_\-.])([A-Za-z0-9_\-.]++)\\?["']?\s*+[=:]\s*+""")
_VALUE = re.compile(
    r"""(?P<escaped>\\["'])(?:(?!\\["'])[\s\S])*+(?:\\["'])?"""
    r"""|(?P<double>")(?:\\[\s\S]|[^"\\])*+"?"""
    r"""|(?P<single>')(?:\\[\s\S]|[^'\\])*+'?"""
    r"""|(?:(?i:bearer|basic|digest|xoauth2)\s++)?[^\s"'&;,)}\]<>\\]++"""
)
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i)\b((?:set-)?cookie):[^\r\n]+"), rf"\1: {MASK}"),
    (re.compile(r"(?i)\b(bearer|basic|xoauth2|digest)\s++[a-z0-9._~+/=\-]{6,}"), rf"\1 {MASK}"),
    # An authorization code is only ever a query or form field.
    (re.compile(r"((?:^|[?&])code=)[^\s&\"'<>]+"), rf"\1{MASK}"),
    # A presigned address of a document store is good for whoever has it.
    (re.compile(r"(?i)(x-amz-(?:signature|security-token)=)[^\s&\"'<>]+"), rf"\1{MASK}"),
    (re.compile(r"(/documents/(?:content|preview)/)[^\s?\"'<>]+"), rf"\1{MASK}"),
    (re.compile(r"(https?://)[^\s/@\"']++@"), rf"\1{MASK}@"),
    # What is a secret by its looks: JSON web tokens and the prefixed tokens of well-known vendors.
    (re.compile(r"(?<![\w\-])eyJ[\w\-]{8,}+\.[\w\-]++(?:\.[\w\-]*+)*"), MASK),
    (re.compile(r"\bya29\.[\w\-.]+|\b1//0[\w\-]{16,}|\bxox[a-z]-[\w\-]+|\bxapp-[\w\-]+"), MASK),
    (re.compile(r"\bSG\.[\w\-]{8,}+\.[\w\-]{8,}|\bre_\w{16,}|\bGOCSPX-[\w\-]+|\bwhsec_[\w+/=]{16,}"), MASK),
    (re.compile(r"\bpat[A-Za-z0-9]{14}\.[0-9a-f]{32,}|\bpat-\w++-[\w\-]{16,}"), MASK),
    (re.compile(r"(?<![a-z])[a-z]{2,10}_[0-9a-f]{12}_[\w\-]{40,}"), MASK),
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
MAX_SCANNED = 20_000


def redact(text: str) -> str:
    """`text` with every secret we can recognise masked, in time linear in its length."""
    for pattern, replacement in _SHAPES:
        text = pattern.sub(replacement, text)
    pieces: list[str] = []
    done = 0
    for name in _NAME.finditer(text):
        if name.start() < done or not _SECRET_IN_TEXT.search(name[1]):
            continue
        value = _VALUE.match(text, name.end())
        if value is not None:
            quote = value["escaped"] or value["double"] or value["single"] or ""
            pieces += (text[done : name.end()], quote, MASK, quote)
            done = value.end()
    return "".join((*pieces, text[done:]))


def clean_words(text: str, limit: int = 300) -> str:
    """A provider's own words, fit to show: one line, no control characters, no secrets, at most `limit` characters."""
    line = " ".join(_CONTROL.sub(" ", redact(text[:MAX_SCANNED])).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


class RedactSecrets(logging.Filter):
    """Masks secrets in the message and the traceback of every record that passes."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrites the record in place; never drops it."""
        record.msg = redact(_message(record))
        record.args = ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        return True


def _message(record: logging.LogRecord) -> str:
    """A record whose arguments do not fit its format is still worth reading, without the arguments."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return str(record.msg)
