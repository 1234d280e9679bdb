"""What a provider of mail or calendars is made with, and what it is for as long as its account is open.

Plain arguments in: a provider knows no database, and `repr` shows no secret. `services.accounts` opens one for a
connection.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Self

from core.errors import BudgetSpent, ProviderRateLimited
from core.metering import Meter, Quota, Unmetered


@dataclass(frozen=True, slots=True)
class ProviderAccount:
    """What a provider needs to reach one account. `repr` shows no secret."""

    email: str
    access_token: str = field(default="", repr=False)
    """OAuth access token, fresh; "" for password accounts."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Not secret, as the connection stores them: addresses, hosts, ports, user names, API origin."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Passwords by name ("imapPassword", "caldavPassword"); empty for OAuth accounts."""
    meter: Meter = field(default_factory=Unmetered, repr=False, compare=False)


class AccountProvider(ABC):
    """One account at one provider, for the time of one piece of work. Use as a context manager."""

    key: ClassVar[str]
    """The connection provider this serves; the registry checks it."""
    quota: ClassVar[Quota | None] = None
    """What `account.meter` keeps; None where the provider names no budget."""

    def __init__(self, account: ProviderAccount) -> None:
        self.account = account

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ProviderRateLimited) and not isinstance(error, BudgetSpent):
            self.account.meter.throttled(error.retry_after)
        self.close()

    def close(self) -> None:  # noqa: B027 - a provider without connections has nothing to give back
        """Give back connections. Never raises."""
