"""What a doorbell is: a subscription by which a provider calls an address of ours when something changed in an account.

Mail's and the calendars' doorbells are made of these parts. None is ever trusted as data: what it brings forward is the
next look, and polling goes on beside it. Plain arguments in, frozen records out, `core.errors` raised.
"""

from __future__ import annotations

import ipaddress
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar
from urllib.parse import urlsplit

from core.errors import HubError, UnsupportedOperation
from integrations.accounts import ProviderAccount


class KnockRefused(HubError):
    """401: what arrived does not prove that the provider sent it. Nothing is done."""

    status = 401
    default_code = "push_refused"
    default_message = "This notification does not prove where it comes from."


class Event(StrEnum):
    """What a knock asks for."""

    CHANGED = "changed"
    """Something happened in the account, or notifications of it were lost."""
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
    is_addressed: ClassVar[bool]
    """True where a subscription holds the address it calls: where ours is another by now, it is made anew."""
    renew_after_seconds: ClassVar[float]
    """How long after it was made or renewed that is done again, well before it ends."""

    def __init__(self, account: ProviderAccount) -> None:
        self.account = account

    @classmethod
    @abstractmethod
    def missing(cls, settings: Mapping[str, object], hooks: Hooks) -> str:
        """Why this installation has no push from this provider, in a sentence; "" where it can have. `settings` are the
        operator's for this provider."""

    @abstractmethod
    def subscribe(self, hooks: Hooks, secret: str, about: str = "") -> Channel:
        """Have changes told: of the part of the account that `about` names, of all of it without. Repeatable, but a
        provider may then have two. UnsupportedOperation where it has no way to tell of this part."""

    def renew(self, remote_id: str) -> Channel:
        """Prolong it. RemoteMissing where the provider no longer has it; UnsupportedOperation where it prolongs none:
        another is made in time then, and this one ended."""
        raise UnsupportedOperation

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


def only_https(who: str, ours: str, theirs: object) -> str:
    """Why a vendor that calls https addresses only does not call `ours`, in a sentence; "" where it does. A stand-in on
    this machine (`theirs`) calls this machine."""
    if ours.startswith("https://") or (_on_loopback(ours) and _on_loopback(str(theirs or ""))):
        return ""
    return f"{who} calls https addresses only: PUBLIC_URL is none."


def _on_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
