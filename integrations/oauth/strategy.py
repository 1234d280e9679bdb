"""social-core as the protocol client: its strategy, storage and backends put on our own feet.

social-core wants a session, a storage and an HTTP library. It gets a dict (sealed in one OAuthState row between the two
legs), a storage that has no tables, and `core.http`. Its `ASSOCIATION_ONLY` mode is exactly ours: connect an account to
a known user, sign nobody in (reference ecosystem 3.1). `google.py` and `microsoft.py` stand on `SocialProvider`.
Promised: no request leaves but through `core.http`, and no exception of social-core comes out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, cast
from urllib.parse import urlencode

from social_core.backends.oauth import BaseOAuth2, BaseOAuth2PKCE
from social_core.exceptions import SocialAuthBaseException
from social_core.storage import BaseStorage
from social_core.strategy import BaseStrategy

from core import http
from core.errors import HubError, InvalidInput, ProviderError, ProviderOutcomeUnknown, ProviderUnavailable
from integrations.oauth.base import Account, Begun, Consenting, OAuthProvider
from integrations.token_endpoint import Refusals, TokenAnswer, read_tokens

PIPELINE = [
    "social_core.pipeline.social_auth.social_details",
    "social_core.pipeline.social_auth.social_uid",
    "integrations.oauth.strategy.hand_over",
]
REQUEST_SECONDS = 20.0
"""For one request to a token endpoint; shorter than the lease of a refresh."""
MAX_BYTES = 256 * 1024
MAX_ID, MAX_EMAIL = 255, 320


class HubStorage(BaseStorage):
    """social-core asks for a storage class; the association flow reads and writes none of its tables."""


class HubStrategy(BaseStrategy[Any]):
    """One flow: its settings, its session and the callback's parameters, all plain dicts."""

    def __init__(
        self,
        settings: Mapping[str, object],
        session: dict[str, object] | None = None,
        answer: Mapping[str, str] | None = None,
    ) -> None:
        self.values = settings
        self.session = {} if session is None else session
        self.answer = dict(answer or {})
        self.account: Account | None = None
        super().__init__(HubStorage)

    def get_setting(self, name: str) -> object:
        """KeyError where there is none; social-core then takes its default."""
        return self.values[name]

    def get_pipeline(self, backend: object = None) -> list[str]:
        return PIPELINE

    def get_request_data(self, merge: bool = True) -> dict[str, Any]:
        return self.answer

    def build_absolute_uri(self, path: str | None = None) -> str:
        return path or ""

    def session_get(self, name: str, default: object = None) -> Any:
        return self.session.get(name, default)

    def session_set(self, name: str, value: object) -> None:
        self.session[name] = value

    def session_pop(self, name: str) -> Any:
        return self.session.pop(name, None)


def hand_over(
    strategy: HubStrategy,
    backend: HubBackend,
    uid: str,
    details: Mapping[str, Any],
    response: Mapping[str, Any],
    **_: object,
) -> None:
    """Last step of the pipeline: who signed in. What is stored is decided by `services.oauth_flow`."""
    strategy.account = Account(
        id=uid,
        email=str(details.get("email") or "").strip(),
        name=http.clean_words(str(details.get("fullname") or ""), 255),
        verified_email=backend.verified_address(response).strip(),
    )


class Answered:
    """A response of `core.http` as social-core reads one."""

    def __init__(self, response: http.Response) -> None:
        self.status_code = response.status
        self.headers = response.headers
        self.text = response.text
        self._response = response

    def json(self) -> dict[str, Any]:
        """Every answer of these protocols is an object; anything else is ProviderUnavailable."""
        return self._response.json_object()


class HubBackend(BaseOAuth2PKCE[Any], ABC):
    """Goes in front of a social-core backend: association only, PKCE, our HTTP, our errors."""

    ASSOCIATION_ONLY = True
    REDIRECT_STATE = False
    PKCE_DEFAULT_CODE_VERIFIER_LENGTH = 64
    refusals: ClassVar[Refusals]

    claims: str = ""
    """What the next token must have, for a vendor whose API asks for claims."""
    token_answer: Mapping[str, Any] | None = None
    """The token endpoint's own words, before the profile is mixed in."""

    @abstractmethod
    def verified_address(self, profile: Mapping[str, Any]) -> str:
        """The address of a profile that the vendor vouches for; "" where it does not."""

    def auth_url(self) -> str:
        """As social-core's, but the query stays quoted: it unquotes, and `+` in a login hint became a space."""
        state = self.get_or_create_state()
        query = {**self.auth_params(state), **self.get_scope_argument(), **self.auth_extra_arguments()}
        return f"{self.authorization_url()}?{urlencode(query)}"

    def auth_complete(self, *args: Any, **kwargs: Any) -> Any:
        """The base's: MicrosoftOAuth2 has an older one that does not know association."""
        return BaseOAuth2.auth_complete(self, *args, **kwargs)

    def request_access_token(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        answer = super().request_access_token(*args, **kwargs)
        self.token_answer = dict(answer)
        return answer

    def process_error(self, data: Any, *, stage: str = "callback") -> None:
        """An error among the callback's parameters, or in an answer that pretends to be a success."""
        if isinstance(data, Mapping) and data.get("error"):
            raise self.refusals.error(data, stage=stage)

    def request(  # type: ignore[override]  # an answer as social-core reads one, not one of the requests library
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        stage: str = "user_info",
        **_: object,
    ) -> Answered:
        """The door out. Both vendors take the client's secret in the form, so social-core's `auth` stays unused."""
        response = http.request(
            method,
            url,
            headers=dict(headers or {}),
            params=params,
            data=data,
            timeout=REQUEST_SECONDS,
            max_bytes=MAX_BYTES,
        )
        if not response.ok:
            self.refusals.raise_for(response, stage=stage)
        return Answered(response)


class SocialProvider(OAuthProvider):
    """The four verbs by a social-core backend. A subclass names the backend and its settings."""

    backend_class: ClassVar[type[HubBackend]]
    sign_in_scopes: ClassVar[tuple[str, ...]] = ("openid", "email", "profile")
    """Asked for where somebody only says who they are."""

    @classmethod
    @abstractmethod
    def backend_settings(cls) -> dict[str, object]:
        """KEY, SECRET, AUTHORIZATION_URL, ACCESS_TOKEN_URL and what else the backend asks for."""

    def begin(self, *, user: Consenting, redirect_uri: str, scopes: Sequence[str], login_hint: str = "") -> Begun:
        values = self.backend_settings()
        if login_hint:
            extra = values.get("AUTH_EXTRA_ARGUMENTS")
            values["AUTH_EXTRA_ARGUMENTS"] = {**(extra if isinstance(extra, dict) else {}), "login_hint": login_hint}
        return self._begun(user, redirect_uri, values | {"SCOPE": list(scopes)})

    def begin_sign_in(self, *, visitor: Consenting, redirect_uri: str) -> Begun:
        asked = {"SCOPE": list(self.sign_in_scopes), "AUTH_EXTRA_ARGUMENTS": {"prompt": "select_account"}}
        return self._begun(visitor, redirect_uri, self.backend_settings() | asked)

    def _begun(self, user: Consenting, redirect_uri: str, values: dict[str, object]) -> Begun:
        strategy = HubStrategy(values | {"IGNORE_DEFAULT_SCOPE": True})
        backend = self.backend_class(strategy, redirect_uri=redirect_uri)
        with ours():
            backend.prepare_auth(cast(Any, user))
            return Begun(backend.auth_url(), backend.get_association_state(), strategy.session)

    def complete(
        self, *, user: Consenting, redirect_uri: str, session: dict[str, object], answer: Mapping[str, str]
    ) -> tuple[TokenAnswer, Account]:
        strategy = HubStrategy(self.backend_settings(), session, answer)
        backend = self.backend_class(strategy, redirect_uri=redirect_uri)
        with ours():
            backend.auth_complete(user=user)
        account = strategy.account
        if account is None or backend.token_answer is None or not _fits(account):
            raise ProviderError(f"{self.name} did not say whose account this is.", code="account_unknown")
        return read_tokens(backend.token_answer), account

    def refresh(self, refresh_token: str, claims: str = "") -> TokenAnswer:
        backend = self.backend_class(HubStrategy(self.backend_settings()))
        backend.claims = claims
        with ours():
            return read_tokens(backend.refresh_token(refresh_token))

    def revoke(self, token: str) -> bool:
        backend = self.backend_class(HubStrategy(self.backend_settings()))
        with ours():
            return bool(backend.revoke_token(token, ""))


def _fits(account: Account) -> bool:
    """What a provider sends is hostile until it was looked at."""
    return 0 < len(account.id) <= MAX_ID and 3 <= len(account.email) <= MAX_EMAIL and "@" in account.email


STATE_CODES = frozenset({"session_context_missing", "state_mismatch", "user_mismatch", "missing_parameter"})


@contextmanager
def ours() -> Iterator[None]:
    """social-core's exceptions as ours. What the vendor refused was translated in `HubBackend` before."""
    try:
        yield
    except ProviderOutcomeUnknown as error:
        raise ProviderUnavailable(error.message) from error  # a token request that got lost did no harm we could see
    except SocialAuthBaseException as error:
        raise _translated(error) from error


def _translated(error: SocialAuthBaseException) -> HubError:
    if error.code in STATE_CODES:
        return InvalidInput("This sign-in was not begun here, or was used already.", code="state_invalid")
    if error.code in ("missing_setting", "invalid_setting"):
        return ProviderError("The provider is not set up correctly on this server.", code="client_rejected")
    claim = f" ({error.claim})" if error.claim else ""
    return ProviderUnavailable(f"The provider's answer was incomplete or not as expected{claim}.")
