"""What a token endpoint says: tokens, or a "no" that means something by where it was said and by its error code, never
by the prose around it.

Used by connection providers (`oauth`) and by integration providers whose tokens are refreshed. Only a short list means
that a grant is dead; a wrong client secret hits every user at once and is the operator's to mend, so it must not break
their connections (reference mail-calendar 8.6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from core import http
from core.errors import HubError, InvalidInput, ProviderAuthError, ProviderError, ProviderUnavailable, RemoteMissing

DECLINED = frozenset({"access_denied", "user_denied", "user_cancelled_authorize", "consent_required"})
"""The user, or the user's administrator, said no."""
DECLINED_BY_POLICY = frozenset({"admin_policy_enforced", "org_internal", "disallowed_useragent"})
CLIENT = frozenset(
    {
        "invalid_client",
        "deleted_client",
        "disabled_client",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_request",
        "invalid_scope",
        "invalid_resource",
        "redirect_uri_mismatch",
    }
)
"""Our own registration is wrong, not the user's grant."""
PASSING = frozenset({"server_error", "temporarily_unavailable", "slow_down"})


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """What a token endpoint answered. `repr` shows no secret."""

    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    """"" where none came: the one we have stays good."""
    expires_in: float | None = None
    """Seconds from the answer; None where the vendor does not say."""
    scopes: tuple[str, ...] | None = None
    """What was granted; None where the answer is silent, which means: what was asked (RFC 6749 5.1)."""


def read_tokens(answer: Mapping[str, Any]) -> TokenAnswer:
    """A token endpoint's JSON as ours. What is not of its type counts as not there."""
    scope, refresh_token = answer.get("scope"), answer.get("refresh_token")
    return TokenAnswer(
        access_token=str(answer["access_token"]),
        refresh_token=refresh_token if isinstance(refresh_token, str) else "",
        expires_in=_seconds(answer.get("expires_in")),
        scopes=tuple(scope.split()) if isinstance(scope, str) and scope.strip() else None,
    )


def _seconds(value: object) -> float | None:
    """RFC 6749 says a number; some servers send it as text."""
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return seconds if 0 < seconds < 10 * 365 * 86_400 else None


@dataclass(frozen=True)
class Refusals:
    """One vendor's words. `numbers` is where Microsoft decides: `error_codes` of the answer."""

    vendor: str
    dead: frozenset[str] = frozenset({"invalid_grant"})
    """Errors of a refresh that end a grant."""
    client_numbers: frozenset[int] = field(default=frozenset())
    passing_numbers: frozenset[int] = field(default=frozenset())

    def raise_for(self, response: http.Response, *, stage: str) -> NoReturn:
        """An answer that is no success. A profile request is judged by its status, a token request by its words."""
        words = _error_of(response)
        if stage != "user_info" and response.status < 500 and response.status != 429 and "error" in words:
            raise self.error(words, stage=stage)
        http.raise_for_provider(response, self.vendor)
        raise ProviderUnavailable(f"{self.vendor} gave an answer that means nothing.")

    def error(self, words: Mapping[str, Any], *, stage: str) -> HubError:
        """The error that an answer's `error` stands for."""
        code = str(words["error"])
        said = self._said(words, code)
        if code in PASSING or self._numbers(words) & self.passing_numbers:
            return ProviderUnavailable(said)
        if stage == "callback":
            return _declined(code, said)
        if code in CLIENT or self._numbers(words) & self.client_numbers:
            return ProviderError(f"{said} The client id and secret of this server need a look.", code="client_rejected")
        if stage == "token_exchange" and code == "invalid_grant":
            return InvalidInput(f"{said} Begin again.", code="authorization_code_rejected")
        if stage == "refresh" and code in self.dead:
            return ProviderAuthError(said)
        if stage == "disconnect" and code in ("invalid_token", "invalid_grant"):
            return RemoteMissing(said)
        return ProviderError(said)

    def _said(self, words: Mapping[str, Any], code: str) -> str:
        prose = http.clean_words(str(words.get("error_description") or ""))
        subtype = words.get("error_subtype") or words.get("suberror")
        name = http.clean_words(f"{code}/{subtype}" if subtype else code, 80)
        return f"{self.vendor} refused: {prose.rstrip('.')} ({name})." if prose else f"{self.vendor} refused ({name})."

    def _numbers(self, words: Mapping[str, Any]) -> set[int]:
        numbers = words.get("error_codes")
        return {number for number in numbers if isinstance(number, int)} if isinstance(numbers, list) else set()


def _declined(code: str, said: str) -> InvalidInput:
    if code in DECLINED:
        return InvalidInput(f"Access was not allowed. {said}", code="access_denied")
    if code in DECLINED_BY_POLICY:
        return InvalidInput(f"An administrator does not allow this application. {said}", code="access_denied")
    return InvalidInput(said, code="authorization_failed")


def _error_of(response: http.Response) -> Mapping[str, Any]:
    """The body if it is an OAuth error object, else nothing."""
    try:
        body = response.json()
    except ProviderUnavailable:
        return {}
    return body if isinstance(body, dict) and isinstance(body.get("error"), str) else {}
