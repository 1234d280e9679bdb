"""What a connection provider is: a place where users have accounts, and how one of them gets connected.

A provider knows no database. It raises `core.errors`: InvalidInput for a consent that did not come about,
ProviderAuthError for a grant that is dead, ProviderError with code `client_rejected` where the vendor refuses our own
client id or secret, ProviderUnavailable and ProviderRateLimited for what passes. Words: a *capability* ("email",
"calendar") is what a connection is used for; *scopes* are what a vendor calls the permissions for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

from django.conf import settings

from integrations.fields import Field
from integrations.token_endpoint import TokenAnswer

CAPABILITIES = ("email", "calendar")
"""All there are, in the order they are shown. Which of them a provider really syncs, the sync engines say."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who signed in. `id` is the vendor's own, which stays when the address changes."""

    id: str
    email: str
    name: str = ""
    verified_email: str = ""
    """The address that the vendor itself vouches for, so that it says who somebody is; "" where it does not."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A consent flow that began. `session` holds state and PKCE verifier: it is kept sealed until the callback."""

    url: str
    state: str = field(repr=False)
    session: dict[str, object] = field(repr=False)


class Consenting(Protocol):
    """The user who consents, as the protocol client needs one."""

    @property
    def id(self) -> object: ...

    @property
    def is_authenticated(self) -> bool: ...


class ConnectionProvider(ABC):
    """A provider whose accounts can be connected. Stateless; make one where it is needed."""

    key: ClassVar[str]
    name: ClassVar[str]
    """As the vendor writes it."""
    oauth: ClassVar[bool] = False
    required_settings: ClassVar[tuple[str, ...]] = ()
    """Environment variables without which it cannot be connected."""
    scopes: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Per capability, the permissions it takes. Empty where the account's password opens everything."""
    fields: ClassVar[tuple[Field, ...]] = ()
    """The form of a provider that is not OAuth."""

    @classmethod
    def missing_settings(cls) -> list[str]:
        """Those required settings that are empty."""
        return [name for name in cls.required_settings if not getattr(settings, name, "")]

    @classmethod
    def server(cls, options: Mapping[str, Any]) -> str:
        """Where an account with these options is read: accounts of one server hang together."""
        return cls.key

    @classmethod
    def offers(cls, options: Mapping[str, Any], capability: str) -> bool:
        """Whether an account with these options has it at all."""
        return True

    @classmethod
    def configured(cls) -> bool:
        """Whether an account can be connected here."""
        return not cls.missing_settings()

    @classmethod
    def canonical_scope(cls, scope: str) -> str:
        """One spelling per permission; vendors answer with another one than they were asked with."""
        return scope

    @classmethod
    def missing_scopes(cls, granted: Iterable[str], capability: str) -> list[str]:
        """The permissions of a capability that were not granted."""
        have = {cls.canonical_scope(scope) for scope in granted}
        return [scope for scope in cls.scopes.get(capability, ()) if cls.canonical_scope(scope) not in have]


class OAuthProvider(ConnectionProvider):
    """A provider whose accounts are connected by consent in the browser."""

    oauth = True
    identity_scopes: ClassVar[tuple[str, ...]] = ()
    """Asked for always: to know whose account it is, and to stay connected."""

    @classmethod
    def scopes_for(cls, capabilities: Iterable[str]) -> list[str]:
        """What to ask for, without repetition."""
        asked = [*cls.identity_scopes]
        for capability in capabilities:
            asked += cls.scopes.get(capability, ())
        return list(dict.fromkeys(asked))

    @classmethod
    @abstractmethod
    def authorize_url(cls) -> str:
        """Where consent is given."""

    @classmethod
    def sent_by(cls, issuer: str) -> bool:
        """Whether an `iss` that came with a callback (RFC 9207) is the server the user was sent to."""
        return issuer.rstrip("/") == origin_of(cls.authorize_url())

    @abstractmethod
    def begin(self, *, user: Consenting, redirect_uri: str, scopes: Sequence[str], login_hint: str = "") -> Begun:
        """The consent URL and what to keep for `complete`. No request is made."""

    @abstractmethod
    def begin_sign_in(self, *, visitor: Consenting, redirect_uri: str) -> Begun:
        """The same for somebody who only says who they are: no lasting grant is asked for. Ends in `complete`."""

    @abstractmethod
    def complete(
        self, *, user: Consenting, redirect_uri: str, session: dict[str, object], answer: Mapping[str, str]
    ) -> tuple[TokenAnswer, Account]:
        """Trade the callback's parameters for tokens and ask whose they are. InvalidInput where the vendor says no."""

    @abstractmethod
    def refresh(self, refresh_token: str, claims: str = "") -> TokenAnswer:
        """A new access token, with these claims where its API asked for them. ProviderAuthError: the grant is dead for
        good."""

    @abstractmethod
    def revoke(self, token: str) -> bool:
        """End the grant at the vendor; False where the vendor has no such call. RemoteMissing: it was dead already."""


def origin_of(url: str) -> str:
    """Scheme and host of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
