"""The error tree. An error carries the decision: what to answer, whether to retry, when, and what the user does next.

Providers, services and views raise these; `core.api.errors` turns them into the one error shape of the API, the sync
engine turns them into a run's next step. A class exists only where a caller acts differently.

`message` is written for the person who reads it and must never hold a secret; provider words go through
`core.http.clean_words` first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar


class HubError(Exception):
    """Base of all errors we raise on purpose. `code` is a stable word clients may branch on."""

    status: ClassVar[int] = 400
    default_code: ClassVar[str] = "bad_request"
    default_message: ClassVar[str] = "The request could not be handled."

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "",
        fields: Mapping[str, Sequence[str]] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        self.message = message or self.default_message
        self.code = code or self.default_code
        self.fields = dict(fields or {})
        self.extra = dict(extra or {})
        """More members for the error object, e.g. the current event beside a conflict."""
        super().__init__(self.message)


class InvalidInput(HubError):
    """400: the caller's input is malformed; `fields` names where."""

    default_code = "validation_error"
    default_message = "The request is not valid."


class NotFound(HubError):
    """404: there is no such thing, or it is not the caller's: both look the same."""

    status = 404
    default_code = "not_found"
    default_message = "Not found."


class PermissionRefused(HubError):
    """403: the caller's role is too low."""

    status = 403
    default_code = "permission_denied"
    default_message = "Your role does not allow this."


class Conflict(HubError):
    """409: the thing is in a state that does not allow this."""

    status = 409
    default_code = "conflict"
    default_message = "The current state does not allow this."


class NotConfigured(Conflict):
    """409: the operator or owner has not set this up yet."""

    default_code = "not_configured"
    default_message = "This is not configured."


class NeedsReauth(Conflict):
    """409: the connection's grant is dead; only its user can mend it by connecting again."""

    default_code = "needs_reauth"
    default_message = "The provider no longer accepts this connection. Connect the account again."


class TooLarge(HubError):
    """413: more than can be taken; the message names the limit."""

    status = 413
    default_code = "too_large"
    default_message = "This is too large."


class UnsupportedOperation(HubError):
    """422: the provider has no such operation."""

    status = 422
    default_code = "unsupported_operation"
    default_message = "The provider does not support this."


class EgressRefused(HubError):
    """422: the address is one that outgoing requests may not reach (see EGRESS_ALLOW_CIDRS)."""

    status = 422
    default_code = "address_not_allowed"
    default_message = "This address may not be reached from here."


class ProviderError(HubError):
    """502: the provider failed in a way that says nothing about when it will work again."""

    status = 502
    default_code = "provider_error"
    default_message = "The provider failed."


class ProviderUnavailable(ProviderError):
    """The provider did not answer, or answered 5xx or garbage: retry later."""

    default_code = "provider_unavailable"
    default_message = "The provider did not answer."


class ProviderUnreached(ProviderUnavailable):
    """Nothing of the request left, so it surely had no effect: another provider may be asked instead."""


class ProviderOutcomeUnknown(ProviderUnavailable):
    """The request left but no answer came: it may or may not have taken effect. Never repeat a send on this."""

    default_code = "provider_outcome_unknown"
    default_message = "The provider did not say whether it accepted this."


class ProviderRateLimited(ProviderError):
    """429: the provider asks to wait `retry_after` seconds."""

    status = 429
    default_code = "provider_rate_limited"
    default_message = "The provider asks to wait."

    def __init__(self, message: str = "", *, retry_after: float = 60.0, code: str = "") -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class BudgetSpent(ProviderRateLimited):
    """503: our own count of the provider's budget says wait. The provider was not asked."""

    status = 503
    default_code = "budget_spent"
    default_message = "The provider's budget for this account is spent for now."


class ProviderAuthError(ProviderError):
    """The provider refused the credential. The engine refreshes once, then the connection needs its user."""

    status = 409
    default_code = "needs_reauth"
    default_message = "The provider refused the credential."

    def __init__(self, message: str = "", *, code: str = "", claims: str = "") -> None:
        super().__init__(message, code=code)
        self.claims = claims
        """What the next token has to be asked with, as JSON (OpenID Connect Core 5.5); "" where any fresh one will
        do."""


class ProviderRejected(ProviderError):
    """422: the provider understood and refused; repeating it changes nothing. Its own words are the message."""

    status = 422
    default_code = "provider_rejected"
    default_message = "The provider refused this."


class CredentialsRejected(ProviderRejected):
    """422: the vendor refuses the key of a workspace's integration; an ADMIN has to give another."""

    default_code = "credentials_rejected"
    default_message = "The provider refused the credentials."


class CursorExpired(ProviderError):
    """Internal: the provider no longer knows the sync cursor. The engine reconciles; no user ever sees this."""

    default_code = "cursor_expired"


class RemoteMissing(ProviderError):
    """Internal: the provider no longer has this object (deleted or moved meanwhile)."""

    status = 404
    default_code = "not_found"
    default_message = "The provider no longer has this."


class RemoteChanged(ProviderError):
    """Internal: the provider has this object still, but not as it was last seen here (changed meanwhile)."""

    status = 409
    default_code = "conflict"
    default_message = "The provider has another version of this."


class LeaseLost(HubError):
    """Internal: another worker took over this work; whatever was about to be written must not be."""

    status = 409
    default_code = "lease_lost"


class Crashing(HubError):
    """Internal: so many workers died of this work that no more are given to it."""

    default_code = "crashed"
    default_message = "It broke off again and again."


class ServiceBusy(HubError):
    """503: a rate limit of ours or the database says wait `retry_after` seconds."""

    status = 503
    default_code = "unavailable"
    default_message = "Try again in a moment."

    def __init__(self, message: str = "", *, retry_after: float = 5.0, code: str = "") -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after
