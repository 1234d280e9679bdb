"""What an integration provider is: a vendor a workspace has an account at, and what can be done there.

A provider is one file. It takes plain settings and credentials, knows no database, has no retry loop, and raises
`core.errors`; the service calls it outside any transaction. Its fields and actions are declared once, and the API, the
console, the JSON Schema, masking and docs follow from that. Services look for capabilities, never for a key.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

from core.errors import (
    CredentialsRejected,
    HubError,
    NotConfigured,
    NotFound,
    ProviderAuthError,
    ProviderRateLimited,
)
from core.http import Response, clean_words, parse_retry_after, raise_for_provider, request
from integrations.fields import Field
from integrations.token_endpoint import TokenAnswer

EMAIL = "email"
"""Capability: sends a workspace's mail, and so may be its site provider. `perform_send` takes what `send` declares."""
TEMPLATES = "templates"
"""Capability: lists mail templates (`list_templates`)."""
CONTACTS = "contacts"
"""Capability: contacts and companies can be read from it, as `integrations.records.CrmSource` says."""
FILES = "files"
"""Capability: documents are copied there and files from there, as `integrations.records.FileStore` says."""
LOGS = "logs"
"""Capability: a table of it takes the rows of an email log, as `integrations.records.LogTarget` says."""
EVENTS = "events"
"""Capability: can be told what happens in the workspace (`announce`); `config.events` says of what."""

ACCESS_TOKEN, REFRESH_TOKEN = "accessToken", "refreshToken"
"""Credentials of providers whose tokens are refreshed, by their names in the source document."""

MAX_BYTES = 16 * 1024 * 1024
MAX_EXCERPT = 1000
MIN_SECRET = 6
"""Characters from which on a credential is told from a word."""
MIN_SECRET_PART = 10
"""The same for a part of an address that is a credential."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What a vendor allows one integration: `units` requests per window."""

    units: int
    window_seconds: float = 1.0


OF_ENTITY = (
    Field("entityType", "Entity type", help="What the document belongs to, such as contact."),
    Field("entityId", "Entity id", longest=200),
)


@dataclass(frozen=True, slots=True)
class Action:
    """Something an integration can do when asked. `perform_<name>` of its provider does it."""

    name: str
    label: str
    fields: tuple[Field, ...] = ()
    """Its input."""
    help: str = ""
    idempotent: bool = False
    """Doing it twice is doing it once."""
    queued: bool = False
    """Work in the background does it (`services.integration_actions`), and the answer is that work."""
    brings: bool = False
    """What it gives is a file ("content" in base64, "contentType", "fileName"): it becomes a document of the entity
    that is named beside its input, and the answer is that document."""

    @property
    def input(self) -> tuple[Field, ...]:
        """All it is asked with."""
        return (*self.fields, *OF_ENTITY) if self.brings else self.fields


@dataclass(frozen=True, slots=True)
class Checked:
    """What a live check found. It raises where the vendor refuses; this is for "works", entirely or in part."""

    message: str
    """For the person who asked, in a sentence."""
    limited: bool = False
    """The credential is good but cannot do everything; `message` says what not."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Facts worth showing, JSON, never a secret."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """An event as it goes to a subscriber. `body` is exactly what is sent and signed, the same on every attempt."""

    id: str
    """Stable for this event and subscriber: what a receiver de-duplicates by."""
    type: str
    at: datetime
    """When it happened."""
    body: bytes
    """JSON: {"type", "timestamp", "data"} (Standard Webhooks)."""
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Announced:
    """How a subscriber took it. No answer at all is raised instead."""

    status: int
    """What it answered, an HTTP status."""
    accepted: bool
    reason: str = ""
    """Why not, in a sentence; "" where it was accepted."""
    excerpt: str = ""
    """The beginning of its answer, cleaned, for admins only."""
    gone: bool = False
    """It wants no more of them, ever (410)."""
    retry_after: float | None = None
    """Seconds it asked to wait."""


def announced(response: Response) -> Announced:
    """How a plain HTTP endpoint took it: 2xx is an acceptance, a redirect is not followed and so is none."""
    asked = response.headers.get("retry-after")
    return Announced(
        status=response.status,
        accepted=response.ok,
        reason="" if response.ok else f"The endpoint answered {response.status}.",
        excerpt=clean_words(response.text[:MAX_EXCERPT], MAX_EXCERPT),
        gone=response.status == 410,
        retry_after=parse_retry_after(asked) if asked and not response.ok else None,
    )


class Meter(Protocol):
    """The vendor's budget for this integration, shared by all workers."""

    def spend(self, units: int) -> None:
        """Pay, waiting a few seconds at most; ProviderRateLimited where that would not be enough."""

    def throttled(self, seconds: float) -> None:
        """The vendor asked to wait: nobody spends before."""


class Unmetered:
    """The meter of a vendor that names no limit."""

    def spend(self, units: int) -> None:
        return None

    def throttled(self, seconds: float) -> None:
        return None


class Grant(Protocol):
    """The tokens of an integration whose provider refreshes them, shared by all workers."""

    def access_token(self, *, refused: str = "") -> str:
        """One that is good. `refused` was answered with 401: another one, or the same where nothing better is to be
        had. CredentialsRejected with code `needs_reconnect` where only new credentials help."""


class AsGiven:
    """The grant of a provider that nobody refreshes for: what it was filled with."""

    def __init__(self, credentials: Mapping[str, Any]) -> None:
        self.credentials = credentials

    def access_token(self, *, refused: str = "") -> str:
        return str(self.credentials.get(ACCESS_TOKEN) or "")


class IntegrationProvider(ABC):
    """One integration, ready to be used. Made for one piece of work and not shared between threads."""

    key: ClassVar[str]
    """The type of the source document: "EMAIL_PROVIDER"."""
    name: ClassVar[str]
    """What it stands for, as the vendor writes it."""
    description: ClassVar[str] = ""
    config_fields: ClassVar[tuple[Field, ...]] = ()
    credential_fields: ClassVar[tuple[Field, ...]] = ()
    """The first is the one whose fingerprint is shown."""
    actions: ClassVar[tuple[Action, ...]] = ()
    capabilities: ClassVar[frozenset[str]] = frozenset()
    pace: ClassVar[Pace | None] = None
    timeout: ClassVar[float] = 30.0
    """Seconds a request may take."""
    felt: ClassVar[bool] = False
    """Its check is a message at the other end: made when somebody asks and once a day, not after every change."""
    rotates: ClassVar[str] = ""
    """The credential whose predecessor stays good for a day after it was replaced ("retired"); "" for none."""

    hook_word: ClassVar[str] = ""
    """The vendor's word in the address of ours that it posts signed events to; "" where it posts none."""
    refreshes: ClassVar[bool] = False
    """Its access token ends, and `refresh` brings another."""

    def __init__(
        self,
        *,
        config: Mapping[str, Any],
        credentials: Mapping[str, Any],
        retired: Sequence[str] = (),
        meter: Meter | None = None,
        grant: Grant | None = None,
    ) -> None:
        self.config = config
        self.credentials = credentials
        self.retired = tuple(retired)
        """Earlier values of `rotates` that are still good, newest first."""
        self.meter: Meter = meter or Unmetered()
        self.grant: Grant = grant or AsGiven(credentials)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    @classmethod
    def all_config_fields(cls) -> tuple[Field, ...]:
        """Those declared, and `events` where it can be told of them."""
        return (*cls.config_fields, EVENTS_FIELD) if EVENTS in cls.capabilities else cls.config_fields

    @classmethod
    def validate(cls, *, config: Mapping[str, Any], credentials: Mapping[str, Any]) -> None:
        """Rules over several fields; InvalidInput naming them as "config.x" and "credentials.y"."""
        return

    @classmethod
    def refresh(cls, credentials: Mapping[str, Any]) -> TokenAnswer:
        """A new access token, where `refreshes`. ProviderAuthError: the grant is dead for good."""
        raise NotImplementedError(f"{cls.key} has no token that ends")

    @classmethod
    def action(cls, name: str) -> Action:
        """The action with this name; NotFound where it has none."""
        for action in cls.actions:
            if action.name == name:
                return action
        known = ", ".join(action.name for action in cls.actions) or "none"
        raise NotFound(f"{cls.name} has no action {name!r}; it has: {known}.")

    @abstractmethod
    def check(self) -> Checked:
        """Ask the vendor whether this works, without side effects. Raises what the vendor's refusal means."""

    def perform(self, name: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do an action with checked input; a JSON object for the answer. Bytes come as base64 with their type and
        name."""
        method = getattr(self, f"perform_{self.action(name).name}")
        result: Mapping[str, Any] = method(given)
        return result

    def announce(self, announcement: Announcement) -> Announced:
        """Tell the subscriber once. Raises where no answer came, or none may be asked for."""
        raise NotImplementedError(f"{self.key} is told of no events")

    # What subclasses build on

    def need(self, name: str, what: Mapping[str, Any] | None = None) -> str:
        """A setting or credential without which nothing can be done; NotConfigured where it is empty."""
        value = (what if what is not None else {**self.config, **self.credentials}).get(name)
        if not value:
            raise NotConfigured(f"Set {name} of this integration first.")
        return str(value)

    def ask(self, method: str, url: str, *, units: int = 1, **how: Any) -> Response:
        """One metered request to the vendor, judged: a refusal is raised as what it means (`refusal`). `how` is that
        of `core.http.request`."""
        return self.judged(self.ask_raw(method, url, units=units, **how))

    def ask_raw(self, method: str, url: str, *, units: int = 1, **how: Any) -> Response:
        """The same, whatever the answer."""
        self.meter.spend(units)
        return request(method, url, **{"timeout": self.timeout, "max_bytes": MAX_BYTES, **how})

    def judged(self, response: Response) -> Response:
        """The answer itself, or the error it means; a throttled vendor closes the budget for all workers."""
        try:
            self.refusal(response)
            return raise_for_provider(response, self.name)
        except HubError as error:
            error.message = self._without_secrets(error.message)
            error.args = (error.message,)
            if isinstance(error, ProviderAuthError):
                raise CredentialsRejected(error.message) from error
            if isinstance(error, ProviderRateLimited):
                self.meter.throttled(error.retry_after)
            raise

    def _without_secrets(self, words: str) -> str:
        """Some vendors quote the key they refuse, or of a hook's address the part that opens it."""
        hidden = [str(self.config.get(field.name) or "") for field in self.config_fields if field.secret]
        parts = [part for url in hidden for part in urlsplit(url).path.split("/") if len(part) >= MIN_SECRET_PART]
        for secret in [*map(str, self.credentials.values()), *self.retired, *hidden, *parts]:
            words = words.replace(secret, "***") if len(secret) >= MIN_SECRET else words
        return words

    def refusal(self, response: Response) -> None:
        """Raise what this vendor's answer means where that is more than its status says."""
        return


EVENTS_FIELD = Field(
    "events",
    "Events",
    many=True,
    required=False,
    longest=50,
    help="What it is told of: names such as email.received, families such as email.*, or * for everything.",
)


def wanted(patterns: Iterable[str], type: str) -> bool:
    """Whether `config.events` names this type: itself, its family ("email.*") or everything ("*")."""
    family = type.partition(".")[0]
    return any(pattern in ("*", type, f"{family}.*") for pattern in patterns)
