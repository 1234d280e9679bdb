"""What a doorbell is: a provider's way to say "something changed" before it is asked.

Two kinds. A `Doorbell` is a subscription: the provider calls an address of ours until a set time. A `Listener` is a
connection that we hold and over which the server speaks up. Neither is ever trusted as data: what they bring forward is
the next look, and polling goes on beside them. Plain arguments in, frozen records out, `core.errors` raised.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from core.errors import HubError
from email_sync.providers.base import MailAccount


class KnockRefused(HubError):
    """401: what arrived does not prove that the provider sent it. Nothing is done."""

    status = 401
    default_code = "push_refused"
    default_message = "This notification does not prove where it comes from."


class Event(StrEnum):
    """What a knock asks for."""

    CHANGED = "changed"
    """Something happened in the mailbox, or notifications of it were lost."""
    RENEW = "renew"
    """The subscription must be confirmed before it ends."""
    GONE = "gone"
    """The provider has removed the subscription: make another, and look."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Addresses of ours that the provider is to call."""

    notify: str
    lifecycle: str


@dataclass(frozen=True, slots=True)
class Channel:
    """A subscription as the provider made or prolonged it."""

    remote_id: str
    """What notifications will name: the subscription's id, or the account's address."""
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Posted:
    """What came to one of our addresses, unjudged. `repr` shows no header and no body."""

    url: str
    """The address it came to, as the provider knows it: without a query."""
    headers: Mapping[str, str] = field(repr=False)
    """By lower-case name."""
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Knock:
    """One subscription that a notification names, with the secret that only its maker and the provider know, still to
    be compared; "" where the whole notification was proved by a signature."""

    remote_id: str
    event: Event = Event.CHANGED
    secret: str = field(default="", repr=False)


class Doorbell(ABC):
    """Subscriptions of one provider, for the account it is made with."""

    key: ClassVar[str]
    """The connection provider this serves; the registry checks it."""
    via: ClassVar[str]
    """In a word, for people and figures."""
    accepted: ClassVar[int]
    """The status that tells the provider it need not send a notification again."""
    has_lifecycle: ClassVar[bool]
    """Whether it also calls `Hooks.lifecycle`."""
    one_per_account: ClassVar[bool]
    """True where the provider keeps one subscription for account and application: all connections of an account share
    it, and the last to leave ends it."""
    needs_secret: ClassVar[bool]
    """True where a notification proves itself by `secret`."""
    renew_after_seconds: ClassVar[float]
    """How long after it was made or renewed it is renewed, well before it ends."""

    def __init__(self, account: MailAccount) -> None:
        self.account = account

    @classmethod
    @abstractmethod
    def missing(cls, settings: Mapping[str, object], hooks: Hooks) -> str:
        """Why this installation has no push from this provider, in a sentence; "" where it can have. `settings` are the
        operator's for this provider."""

    @abstractmethod
    def subscribe(self, hooks: Hooks, secret: str) -> Channel:
        """Have changes of the whole mailbox told. Repeatable, but a provider may then have two."""

    @abstractmethod
    def renew(self, remote_id: str) -> Channel:
        """Prolong it. RemoteMissing where the provider no longer has it."""

    @abstractmethod
    def stop(self, remote_id: str) -> None:
        """End it. RemoteMissing where it is gone."""

    @classmethod
    def greeting(cls, query: Mapping[str, str]) -> str | None:
        """What must be echoed, as plain text, where the provider only tries whether the address is ours; else None.
        KnockRefused where it is nothing to echo."""
        return None

    @classmethod
    @abstractmethod
    def knocks(cls, settings: Mapping[str, object], posted: Posted) -> Sequence[Knock]:
        """What a notification says. KnockRefused where it is not the provider's; empty where it says nothing we know.
        ServiceBusy where that cannot be found out now."""


class Listener(ABC):
    """A connection to one mailbox over which its server speaks up. Made in a thread, then held by an event loop."""

    key: ClassVar[str]
    via: ClassVar[str]

    def __init__(self, account: MailAccount, *, reissue_seconds: float) -> None:
        self.account = account
        self.reissue_seconds = reissue_seconds

    @classmethod
    @abstractmethod
    def host(cls, settings: Mapping[str, object]) -> str:
        """The server a connection with these settings would reach: connections to one are counted together."""

    @abstractmethod
    def open(self) -> None:
        """Log in and get ready. Blocks for seconds: call it in a thread. UnsupportedOperation where the server cannot
        speak up; ProviderAuthError, ProviderUnavailable, ProviderRateLimited and the like as at a sync's log-in."""

    @abstractmethod
    async def changed(self) -> None:
        """Returns as soon as something changed since it last returned. ProviderUnavailable where the connection ended;
        then `close` it."""

    @abstractmethod
    def close(self) -> None:
        """Hang up. Never raises or blocks."""
