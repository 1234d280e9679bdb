"""The virus scanner, where one is configured: ClamAV's daemon over its socket (docs.clamav.net, man page clamd(8)).

Confirming an upload streams the file through `scan`. Promised: what was not scanned to its end is never said to be
clean; the scanner being down is ProviderUnavailable, so the document stays as it is and can be confirmed later.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

from core import egress
from core.errors import HubError, NotConfigured, ProviderUnavailable, TooLarge
from core.redaction import clean_words

CONNECT_SECONDS = 5.0
LONGEST_ANSWER = 4096
DEFAULT_PORT = 3310
_DOWN = "The virus scanner does not answer. Try again in a moment."


@dataclass(frozen=True, slots=True)
class Finding:
    """What the scanner says of a whole file."""

    infected: bool
    name: str = ""
    """Its name for what it found; "" of a clean file."""


def is_configured() -> bool:
    """Whether files are scanned at all."""
    return bool(settings.CLAMAV_URL)


def scan(chunks: Iterable[bytes]) -> Finding:
    """All of them, in flat memory. TooLarge where clamd is set to take less (StreamMaxLength)."""
    with closing(_connected()) as scanner:
        took_more = _sent(scanner, b"zINSTREAM\0")
        for chunk in chunks:
            if not took_more:
                break
            if chunk:
                took_more = _sent(scanner, len(chunk).to_bytes(4, "big") + chunk)
        if took_more:
            _sent(scanner, b"\0\0\0\0")
        return _finding(_answer(scanner), whole=took_more)


def check() -> tuple[bool, str]:
    """Whether it answers, in a sentence. Never raises."""
    try:
        with closing(_connected()) as scanner:
            scanner.sendall(b"zVERSION\0")
            return True, f"The virus scanner answers: {_answer(scanner)}."
    except HubError as error:
        return False, error.message
    except OSError:
        return False, _DOWN


def _connected() -> socket.socket:
    """An address is the operator's word; a private one has to be named in EGRESS_ALLOW_CIDRS like any other."""
    where = urlsplit(settings.CLAMAV_URL)
    seconds = float(settings.CLAMAV_TIMEOUT_SECONDS)
    if where.scheme == "tcp" and where.hostname:
        found = egress.connect(where.hostname, where.port or DEFAULT_PORT, CONNECT_SECONDS)
    elif where.scheme == "unix" and where.path:
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            found.connect(where.path)
        except OSError:
            found.close()
            raise ProviderUnavailable(f"Nothing listens on the virus scanner's socket {where.path}.") from None
    else:
        raise NotConfigured("CLAMAV_URL must be unix:///path/of/clamd.ctl or tcp://host:3310.")
    found.settimeout(seconds)
    return found


def _sent(scanner: socket.socket, data: bytes) -> bool:
    """False where it has spoken already or hung up, as it does when there is too much."""
    try:
        if select.select([scanner], [], [], 0)[0]:
            return False
        scanner.sendall(data)
    except OSError:
        return False
    return True


def _answer(scanner: socket.socket) -> str:
    """Up to the NUL that ends it. ProviderUnavailable where it breaks off before."""
    said = b""
    try:
        while b"\0" not in said and len(said) < LONGEST_ANSWER:
            more = scanner.recv(LONGEST_ANSWER)
            if not more:
                break
            said += more
    except OSError:
        raise ProviderUnavailable(_DOWN) from None
    words, end, _ = said.partition(b"\0")
    if not end:
        raise ProviderUnavailable(_DOWN)
    return clean_words(words.decode("utf-8", "replace")).strip()


def _finding(answer: str, *, whole: bool) -> Finding:
    """`stream: OK`, `stream: Name FOUND`, or anything that ends in ERROR. OK is believed of a whole file only."""
    words = answer.removeprefix("stream:").strip()
    if words == "OK" and whole:
        return Finding(infected=False)
    if words.endswith(" FOUND"):
        return Finding(infected=True, name=words.removesuffix(" FOUND"))
    if "size limit exceeded" in words:
        raise TooLarge(
            "The virus scanner does not take files of this size: raise StreamMaxLength of clamd to DOCUMENT_MAX_BYTES."
        )
    raise ProviderUnavailable(f"The virus scanner could not scan this: {words[:200] or 'no answer'}.")
