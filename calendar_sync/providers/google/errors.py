"""What the Calendar API's refusals mean in `core.errors`: developers.google.com/workspace/calendar/api/guides/errors.

What every API of Google's says the same way is read by `integrations.providers.google.errors`.
"""

from __future__ import annotations

from core.errors import ProviderRateLimited, ProviderRejected, RemoteChanged, UnsupportedOperation
from core.http import Response, clean_words, parse_retry_after, raise_for_provider
from integrations.providers.google.answers import text
from integrations.providers.google.errors import DEFAULT_WAIT, asks_to_wait, error_of, reasons, refusal, refusals

WHO = "Google Calendar"
NO_CALENDAR = ("calendar_unavailable", "Google Calendar cannot be used with this account.")
REFUSALS = refusals("Google Calendar API") | {"notACalendarUser": NO_CALENDAR}
NOT_TOLD, ADDRESS_REFUSED = "pushNotSupportedForRequestedResource", "push.webhookUrlUnauthorized"
READ_ONLY = frozenset({"requiredAccessLevel", "forbiddenForNonOrganizer", "forbidden"})


def check(response: Response) -> Response:
    """`response` itself where it is 2xx, else the error it means."""
    if response.ok:
        return response
    error = refusal(response, WHO)
    found = reasons(error)
    if asks_to_wait(response, found):
        words = clean_words(text(error, "message"))
        wait = parse_retry_after(response.headers.get("retry-after"), default=DEFAULT_WAIT)
        raise ProviderRateLimited(f"{WHO} asks to wait: {words}", retry_after=wait)
    if response.status == 412:
        raise RemoteChanged("The event was changed in Google Calendar meanwhile.")
    if response.status in (400, 403):
        for reason, (code, words) in REFUSALS.items():
            if reason in found:
                raise ProviderRejected(words, code=code)
        if found & READ_ONLY:
            raise ProviderRejected(f"{WHO} refused: {clean_words(text(error, 'message'))}", code="read_only")
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
