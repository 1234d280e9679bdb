"""What Gmail's refusals mean in `core.errors` (reference 2.1, 2.5).

Called for every answer, also for each one inside a batch. What every API of Google's says the same way is read by
`integrations.providers.google.errors`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from core.errors import ProviderRateLimited, ProviderRejected, ProviderUnavailable
from core.http import Response, clean_words, parse_retry_after, raise_for_provider
from integrations.providers.google.answers import Json, text
from integrations.providers.google.errors import DEFAULT_WAIT, asks_to_wait, error_of, reasons, refusal, refusals

NO_MAILBOX = ("mailbox_unavailable", "Gmail cannot be used with this account")
REFUSALS = refusals("Gmail API") | {"failedPrecondition": NO_MAILBOX, "FAILED_PRECONDITION": NO_MAILBOX}
_RETRY_AFTER = re.compile(r"[Rr]etry after (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d))")


def check(response: Response) -> Response:
    """`response` itself where it is 2xx, else the error it means."""
    if response.ok:
        return response
    _raise_for_reason(response, refusal(response, "Gmail"))
    return raise_for_provider(response, "Gmail")


def refuses_argument(response: Response) -> bool:
    """True where Gmail says that something of the request itself is wrong: an id, a page token, a label."""
    error = error_of(response) if response.status == 400 else None
    return error is not None and bool(error) and not _reasons(error) & REFUSALS.keys()


def _raise_for_reason(response: Response, error: Json) -> None:
    found = _reasons(error)
    if asks_to_wait(response, found, "RESOURCE_EXHAUSTED"):
        words = clean_words(text(error, "message"))
        raise ProviderRateLimited(f"Gmail asks to wait: {words}", retry_after=_wait(response, text(error, "message")))
    if response.status == 409 and "ABORTED" in found:
        raise ProviderUnavailable("Gmail was changing the same thing for someone else.")
    for reason, (code, words) in REFUSALS.items():
        if reason in found and response.status in (400, 403):
            quoted = f": {clean_words(text(error, 'message'))}" if code == NO_MAILBOX[0] else ""
            raise ProviderRejected(words + quoted, code=code)


def _reasons(error: Json) -> set[str]:
    """Gmail's `status` tells why, too."""
    return reasons(error) | {text(error, "status")}


def _wait(response: Response, words: str) -> float:
    """Seconds to wait: by the header, else by a time in the words (2.5), else a minute, the quota's window."""
    header = response.headers.get("retry-after")
    if header is not None:
        return parse_retry_after(header, default=DEFAULT_WAIT)
    named = _RETRY_AFTER.search(words)
    if named is None:
        return DEFAULT_WAIT
    try:
        moment = datetime.fromisoformat(named[1])
    except ValueError:
        return DEFAULT_WAIT
    return max((moment - datetime.now(UTC)).total_seconds(), 1.0)
