"""From a mail server's words to the error that carries the decision (RFC 5530 response codes)."""

from __future__ import annotations

import re

from core.errors import (
    ProviderAuthError,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    RemoteMissing,
)
from core.redaction import clean_words

BUSY_SECONDS = 300.0
"""How long to leave a server alone that says "too many" without saying for how long."""

_CODE = re.compile(r"\[([A-Z-]+)[^\]]*\]\s*")
_CREDENTIAL = {"AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED"}
_LATER = {"UNAVAILABLE", "INUSE", "SERVERBUG", "CORRUPTION"}
_LIMITED = {"LIMIT", "THROTTLED"}
_MISSING = {"NONEXISTENT", "TRYCREATE"}
_REFUSED = {"OVERQUOTA", "NOPERM", "PRIVACYREQUIRED", "CONTACTADMIN", "CANNOT", "WEBALERT"}
_TOO_MANY = re.compile(r"(?i)too many (requests|commands|connections)|rate limit|throttl")
_SOUNDS_BUSY = re.compile(r"(?i)too many|try again|temporar|rate limit|overload|throttl|unavailable|not connected")


class ConnectionLost(ProviderUnavailable):
    """The server closed the connection (BYE, end of file, garbage). Unlike a time-out this may be the fault of one
    message, so a fetch goes on without it."""


def words(raw: bytes | str) -> str:
    """The server's own words without response codes, fit to show."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    return clean_words(_CODE.sub("", text))


def code(raw: bytes | str) -> str:
    """The response code of a NO or BAD, "" where there is none."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    found = _CODE.match(text)
    return found[1] if found else ""


def refusal(raw: bytes | str, otherwise: type[ProviderError]) -> ProviderError:
    """What a NO or BAD means; `otherwise` where neither a code nor plain words of a limit say so: a FETCH refused for
    its pace must not be taken for messages that cannot be had."""
    said, kind = words(raw), code(raw)
    if not kind and _TOO_MANY.search(said):
        return ProviderRateLimited(said, retry_after=BUSY_SECONDS)
    if kind in _CREDENTIAL:
        return ProviderAuthError(said)
    if kind in _LATER:
        return ProviderUnavailable(said)
    if kind in _LIMITED:
        return ProviderRateLimited(said, retry_after=BUSY_SECONDS)
    if kind in _MISSING:
        return RemoteMissing(said)
    if kind in _REFUSED:
        return ProviderRejected(said)
    return otherwise(said)


def login_refusal(raw: bytes | str) -> ProviderError:
    """A refused log-in. Without a code the words decide: "too many connections" must not cost a user their grant."""
    if not code(raw) or code(raw) == "ALERT":
        said = words(raw)
        if _SOUNDS_BUSY.search(said):
            return ProviderRateLimited(said, retry_after=BUSY_SECONDS)
    return refusal(raw, ProviderAuthError)
