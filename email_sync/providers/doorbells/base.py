"""How a mailbox tells that something changed before it is asked. Two kinds.

A `Doorbell` (`integrations.doorbells`) is a subscription: the provider calls an address of ours until a set time. A
`Listener` is a connection that we hold and over which the server speaks up. Neither is ever trusted as data: what they
bring forward is the next look, and polling goes on beside them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from email_sync.providers.base import MailAccount


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
