"""What the Calendar API's refusals mean in `core.errors`: developers.google.com/workspace/calendar/api/guides/errors.

Three refusals with unlike remedies share the status 403, so the reason decides and not the status; a 4xx that is not
JSON comes from something in between and says nothing.
"""

from __future__ import annotations

from calendar_sync.providers.google.answers import Json, child, objects, text
from core.errors import (
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    RemoteChanged,
    UnsupportedOperation,
)
from core.http import Response, clean_words, parse_retry_after, raise_for_provider

WHO = "Google Calendar"
RATE_REASONS = frozenset(
    {"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded", "RATE_LIMIT_EXCEEDED"}
)
MISSING_SCOPE = (
    "missing_scope",
    "Google did not grant this connection all the permissions it needs. Connect the account again and tick every box.",
)
API_NOT_ENABLED = (
    "api_not_enabled",
    (
        "The Google Calendar API is not enabled in this installation's Google Cloud project. The operator has to "
        "enable it there under APIs & Services, Library, Google Calendar API."
    ),
)
BLOCKED = ("blocked_by_admin", "The administrator of this Google Workspace domain does not allow this application.")
NO_CALENDAR = ("calendar_unavailable", "Google Calendar cannot be used with this account.")
REFUSALS = {
    "insufficientPermissions": MISSING_SCOPE,
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": MISSING_SCOPE,
    "accessNotConfigured": API_NOT_ENABLED,
    "SERVICE_DISABLED": API_NOT_ENABLED,
    "domainPolicy": BLOCKED,
    "notACalendarUser": NO_CALENDAR,
}
NOT_TOLD, ADDRESS_REFUSED = "pushNotSupportedForRequestedResource", "push.webhookUrlUnauthorized"
READ_ONLY = frozenset({"requiredAccessLevel", "forbiddenForNonOrganizer", "forbidden"})
DEFAULT_WAIT = 60.0
"""The quota's window."""


def check(response: Response) -> Response:
    """`response` itself where it is 2xx, else the error it means."""
    if response.ok:
        return response
    if response.status >= 500 and not response.idempotent:
        # Google names no 5xx that surely did nothing: the event may be there.
        raise ProviderOutcomeUnknown(f"{WHO} answered {response.status}.")
    error = error_of(response)
    if error is None and 300 <= response.status < 500 and response.status not in (401, 429):
        raise ProviderUnavailable(f"{WHO} answered {response.status} with something that is not its own.")
    found = reasons(error or {})
    if response.status == 429 or (response.status == 403 and found & RATE_REASONS):
        words = clean_words(text(error or {}, "message"))
        wait = parse_retry_after(response.headers.get("retry-after"), default=DEFAULT_WAIT)
        raise ProviderRateLimited(f"{WHO} asks to wait: {words}", retry_after=wait)
    if response.status == 412:
        raise RemoteChanged("The event was changed in Google Calendar meanwhile.")
    if response.status in (400, 403):
        for reason, (code, words) in REFUSALS.items():
            if reason in found:
                raise ProviderRejected(words, code=code)
        if found & READ_ONLY:
            raise ProviderRejected(f"{WHO} refused: {clean_words(text(error or {}, 'message'))}", code="read_only")
    return raise_for_provider(response, WHO)


def check_watch(response: Response) -> Response:
    """As `check`, for a request that something be told. An address that Google does not call comes as a 401, which is
    no word on the account's token."""
    found = reasons(error_of(response) or {})
    if NOT_TOLD in found:
        raise UnsupportedOperation(f"{WHO} tells of no changes in this calendar: it is asked by interval.")
    if response.status == 401 and ADDRESS_REFUSED in found:
        raise ProviderRejected(f"{WHO} does not call the address of PUBLIC_URL.", code="push_refused")
    return check(response)


def refuses_token(response: Response) -> bool:
    """True where a page or sync token is no longer good: 410 (fullSyncRequired, updatedMinTooLongAgo), or a 400 that
    says something of the request itself is wrong."""
    if response.status == 410:
        return True
    error = error_of(response) if response.status == 400 else None
    return bool(error) and not reasons(error or {}) & REFUSALS.keys()


def error_of(response: Response) -> Json | None:
    """The `error` object of a JSON answer, empty where it has another form; None where the answer is not JSON."""
    try:
        return child(response.json_object(), "error")
    except ProviderUnavailable:
        return None


def reasons(error: Json) -> set[str]:
    """Every word that tells why: the old form's `errors[].reason`, the new one's `details[].reason`."""
    return {text(item, "reason") for key in ("errors", "details") for item in objects(error, key)} - {""}
