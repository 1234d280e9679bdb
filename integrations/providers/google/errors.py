"""What refusals of Google's APIs mean in `core.errors`, as far as all of them say it the same way: the envelope, the
reasons in it, and those reasons that every API knows (developers.google.com/workspace/calendar/api/guides/errors,
developers.google.com/workspace/gmail/api/guides/handle-errors). What an API has of its own its reader adds.

Three refusals with unlike remedies share the status 403, so the reason decides and not the status; a 4xx that is not
JSON comes from something in between and says nothing.
"""

from __future__ import annotations

from core.errors import ProviderOutcomeUnknown, ProviderUnavailable
from core.http import Response
from integrations.providers.google.answers import Json, child, objects, text

RATE_REASONS = frozenset(
    {"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded", "RATE_LIMIT_EXCEEDED"}
)
DEFAULT_WAIT = 60.0
"""The quota's window."""
MISSING_SCOPE = (
    "missing_scope",
    "Google did not grant this connection all the permissions it needs. Connect the account again and tick every box.",
)
BLOCKED = ("blocked_by_admin", "The administrator of this Google Workspace domain does not allow this application.")


def refusals(api: str) -> dict[str, tuple[str, str]]:
    """Reason → code and words of a ProviderRejected, those that every API knows. `api` as Google's console names it."""
    not_enabled = (
        "api_not_enabled",
        (
            f"The {api} is not enabled in this installation's Google Cloud project. The operator has to enable it "
            f"there under APIs & Services, Library, {api}."
        ),
    )
    return {
        "insufficientPermissions": MISSING_SCOPE,
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT": MISSING_SCOPE,
        "accessNotConfigured": not_enabled,
        "SERVICE_DISABLED": not_enabled,
        "domainPolicy": BLOCKED,
    }


def refusal(response: Response, who: str) -> Json:
    """The `error` object of an answer that is not 2xx, {} where it has none and its status speaks for itself.
    ProviderOutcomeUnknown where it may have been done, ProviderUnavailable where it is not Google that answers."""
    if response.status >= 500 and not response.idempotent:
        # Google names no 5xx that surely did nothing: a send may have gone out, an event may be there.
        raise ProviderOutcomeUnknown(f"{who} answered {response.status}.")
    error = error_of(response)
    if error is None and 300 <= response.status < 500 and response.status not in (401, 429):
        raise ProviderUnavailable(f"{who} answered {response.status} with something that is not its own.")
    return error or {}


def error_of(response: Response) -> Json | None:
    """The `error` object of a JSON answer, empty where it has another form; None where the answer is not JSON."""
    try:
        return child(response.json_object(), "error")
    except ProviderUnavailable:
        return None


def reasons(error: Json) -> set[str]:
    """Every word that tells why: the old form's `errors[].reason`, the new one's `details[].reason`."""
    return {text(item, "reason") for key in ("errors", "details") for item in objects(error, key)} - {""}


def asks_to_wait(response: Response, found: set[str], *more: str) -> bool:
    """Whether it was asked too often; `more` are reasons that only one API gives."""
    return response.status == 429 or (response.status == 403 and bool(found & RATE_REASONS.union(more)))
