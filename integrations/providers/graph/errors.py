"""What Graph's refusals mean in `core.errors` (reference 3.6).

Called for every answer, also for each one inside a batch. The code in the envelope decides where a status stands for
unlike remedies; a 4xx that is not JSON comes from something in between and says nothing. Microsoft's request id stays
in the message: its support asks for it.
"""

from __future__ import annotations

import base64
import json
import re

from core.errors import (
    CursorExpired,
    ProviderAuthError,
    ProviderError,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    RemoteMissing,
)
from core.http import Response, clean_words, parse_retry_after
from integrations.providers.graph.answers import Json, child, text

MAILBOX_FULL = "mailbox_full"
UNREADABLE = "unreadable_item"
"""The code of a ProviderRejected for one item that Exchange itself cannot convert."""
MISSING_SCOPE = (
    "missing_scope",
    "Microsoft did not grant this connection all the permissions it needs. Connect the account again.",
)
NO_MAILBOX = (
    "mailbox_unavailable",
    (
        "This account has no mailbox in Microsoft's cloud: it has no licence for one, or its mailbox is on premises or "
        "has just been set up."
    ),
)
FULL = (MAILBOX_FULL, "The mailbox is full.")
CORRUPT = (UNREADABLE, "Microsoft cannot give this item as a mail.")
NOT_THE_SENDER = ("send_as_denied", "Microsoft does not let this account send from that address.")
REFUSALS = {
    "ErrorAccessDenied": MISSING_SCOPE,
    "Authorization_RequestDenied": MISSING_SCOPE,
    "MailboxNotEnabledForRESTAPI": NO_MAILBOX,
    "MailboxNotSupportedForRESTAPI": NO_MAILBOX,
    "ErrorQuotaExceeded": FULL,
    "ErrorSendAsDenied": NOT_THE_SENDER,
    "ErrorMimeContentConversionFailed": CORRUPT,
    "ErrorContentConversionFailed": CORRUPT,
    "ErrorCorruptData": CORRUPT,
    "ErrorItemCorrupt": CORRUPT,
}
LOST_CURSOR = frozenset({"syncstatenotfound", "syncstateinvalid", "resyncrequired"})
"""In lower case: these come in more than one spelling (reference 3.3)."""
GONE = frozenset({"ErrorInvalidIdMalformed", "ErrorInvalidId", "ErrorItemNotFound", "ErrorFolderNotFound"})
PASSING = frozenset({408, 409, 412, 416, 423, 425})
"""416: a range of an upload that was taken although its answer was lost; the upload has to begin anew."""
_INSUFFICIENT = re.compile(r'\berror="?insufficient_claims"?', re.IGNORECASE)
_CLAIMS = re.compile(r'\bclaims="([A-Za-z0-9+/_-]{1,4000})={0,2}"', re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/")
THROTTLING = frozenset({503, 504})
"""With a Retry-After these are throttling too (reference 3.6)."""


def check(response: Response) -> Response:
    """`response` itself where it is 2xx, else the error it means."""
    if response.ok:
        return response
    raise _refusal(response)


def _refusal(response: Response) -> ProviderError:
    error = _error_object(response)
    code = text(error or {}, "code")
    if error is None and 300 <= response.status < 500 and response.status not in (401, 429):
        return ProviderUnavailable(f"Microsoft answered {response.status} with something that is not its own.")
    words = _words(response, error or {}, code)
    if response.status == 401:
        return ProviderAuthError(words, claims=challenged_claims(response.headers.get("www-authenticate", "")))
    if _throttles(response):
        return ProviderRateLimited(words, retry_after=parse_retry_after(response.headers.get("retry-after")))
    if code in REFUSALS:
        stable, sentence = REFUSALS[code]
        return ProviderRejected(f"{sentence} {words}", code=stable)
    if response.status == 410 or code.lower() in LOST_CURSOR:
        return CursorExpired(words)
    if response.status == 404 or code in GONE:
        return RemoteMissing(words)
    return _by_status(response, words)


def challenged_claims(header: str) -> str:
    """What a new token must be asked with where this one lives but no longer suffices (continuous access evaluation,
    https://learn.microsoft.com/en-us/entra/identity-platform/claims-challenge): a JSON object; "" for a plain 401."""
    found = _CLAIMS.search(header) if _INSUFFICIENT.search(header) else None
    if found is None:
        return ""
    try:
        text_ = base64.b64decode(found[1].translate(_URL_SAFE) + "=" * (-len(found[1]) % 4)).decode("utf-8")
        return text_ if isinstance(json.loads(text_), dict) else ""
    except (ValueError, RecursionError):
        return ""


def _by_status(response: Response, words: str) -> ProviderError:
    """What is left: Microsoft names no 5xx that surely did nothing, so a send may have gone out."""
    if response.status >= 500 and not response.idempotent:
        return ProviderOutcomeUnknown(words)
    if response.status >= 500 or response.status in PASSING:
        return ProviderUnavailable(words)
    return ProviderRejected(words)


def _throttles(response: Response) -> bool:
    """429, and a 503 or 504 that names a time. A send that met 504 may have gone out all the same."""
    if response.status == 429:
        return True
    waits = response.status in THROTTLING and "retry-after" in response.headers
    return waits and (response.idempotent or response.status == 503)


def _error_object(response: Response) -> Json | None:
    """The `error` object of a JSON answer; None where the answer is not one of Graph's."""
    try:
        return child(response.json_object(), "error") or None
    except ProviderUnavailable:
        return None


def _words(response: Response, error: Json, code: str) -> str:
    """Status, code, Microsoft's own words and its request id."""
    said = clean_words(text(error, "message"))
    inner = child(error, "innerError") or child(error, "innererror")
    request = text(inner, "request-id") or response.headers.get("request-id", "")
    head = f"Microsoft answered {response.status}{f' {clean_words(code, 80)}' if code else ''}"
    tail = f" (request-id {clean_words(request, 80)})" if request else ""
    return f"{head}: {said}{tail}" if said else f"{head}.{tail}"
