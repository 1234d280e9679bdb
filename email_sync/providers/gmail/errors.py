"""What Gmail's refusals mean in `core.errors` (reference 2.1, 2.5).

Called for every answer, also for each one inside a batch. Three refusals with unlike remedies share the status 403, so
the reason decides and not the status; a 4xx that is not JSON comes from something in between and says nothing.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from core.errors import ProviderOutcomeUnknown, ProviderRateLimited, ProviderRejected, ProviderUnavailable
from core.http import Response, clean_words, parse_retry_after, raise_for_provider
from email_sync.providers.gmail.answers import Json, child, children, text

RATE_REASONS = frozenset(
    {
        "rateLimitExceeded",
        "userRateLimitExceeded",
        "quotaExceeded",
        "dailyLimitExceeded",
        "RATE_LIMIT_EXCEEDED",
        "RESOURCE_EXHAUSTED",
    }
)
MISSING_SCOPE = (
    "missing_scope",
    "Google did not grant this connection all the permissions it needs. Connect the account again and tick every box.",
)
API_NOT_ENABLED = (
    "api_not_enabled",
    (
        "The Gmail API is not enabled in this installation's Google Cloud project. The operator has to enable it there "
        "under APIs & Services, Library, Gmail API."
    ),
)
BLOCKED = ("blocked_by_admin", "The administrator of this Google Workspace domain does not allow this application.")
NO_MAILBOX = ("mailbox_unavailable", "Gmail cannot be used with this account")
REFUSALS = {
    "insufficientPermissions": MISSING_SCOPE,
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": MISSING_SCOPE,
    "accessNotConfigured": API_NOT_ENABLED,
    "SERVICE_DISABLED": API_NOT_ENABLED,
    "domainPolicy": BLOCKED,
    "failedPrecondition": NO_MAILBOX,
    "FAILED_PRECONDITION": NO_MAILBOX,
}
_RETRY_AFTER = re.compile(r"[Rr]etry after (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d))")
DEFAULT_WAIT = 60.0


def check(response: Response) -> Response:
    """`response` itself where it is 2xx, else the error it means."""
    if response.ok:
        return response
    if response.status >= 500 and not response.idempotent:
        # Google names no 5xx that surely did nothing: a send may have gone out.
        raise ProviderOutcomeUnknown(f"Gmail answered {response.status}.")
    error = _error_object(response)
    if error is None and 300 <= response.status < 500 and response.status not in (401, 429):
        raise ProviderUnavailable(f"Gmail answered {response.status} with something that is not its own.")
    _raise_for_reason(response, error or {})
    return raise_for_provider(response, "Gmail")


def refuses_argument(response: Response) -> bool:
    """True where Gmail says that something of the request itself is wrong: an id, a page token, a label."""
    error = _error_object(response) if response.status == 400 else None
    return error is not None and bool(error) and not _reasons(error) & REFUSALS.keys()


def _raise_for_reason(response: Response, error: Json) -> None:
    reasons = _reasons(error)
    if response.status == 429 or (response.status == 403 and reasons & RATE_REASONS):
        words = clean_words(text(error, "message"))
        raise ProviderRateLimited(f"Gmail asks to wait: {words}", retry_after=_wait(response, text(error, "message")))
    if response.status == 409 and "ABORTED" in reasons:
        raise ProviderUnavailable("Gmail was changing the same thing for someone else.")
    for reason, (code, words) in REFUSALS.items():
        if reason in reasons and response.status in (400, 403):
            quoted = f": {clean_words(text(error, 'message'))}" if code == NO_MAILBOX[0] else ""
            raise ProviderRejected(words + quoted, code=code)


def _error_object(response: Response) -> Json | None:
    """The `error` object of a JSON answer, empty where it has another form; None where the answer is not JSON."""
    try:
        return child(response.json_object(), "error")
    except ProviderUnavailable:
        return None


def _reasons(error: Json) -> set[str]:
    """Every word that tells why: the old form's `errors[].reason`, the new one's `details[].reason` and `status`."""
    reasons = {text(error, "status")}
    for key in ("errors", "details"):
        try:
            reasons |= {text(item, "reason") for item in children(error, key)}
        except ProviderUnavailable:
            continue
    return reasons


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
