"""What a provider grants an account and who keeps count: shapes that providers of mail and calendars share.

The count itself is kept by `integrations.services.quota`, whose `Budget` is a `Meter`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Quota:
    """What a provider grants one account, in its own units."""

    units_per_window: int
    window_seconds: float
    in_flight: int = 0
    """Requests it allows at once; 0 where it names no number."""
    budget: str = ""
    """The name of the budget, where several kinds of sync pay from one; "" is the kind's own."""


class Meter(Protocol):
    """The account's budget, shared by every worker. A provider pays before each request."""

    @property
    def burst(self) -> int:
        """The most units one `spend` is best asked for: larger batches only wait longer."""

    def spend(self, units: int) -> None:
        """Pay, or wait up to 5 s for the budget; ProviderRateLimited with the time left where that is not enough."""

    def slot(self, weight: int = 1) -> AbstractContextManager[None]:
        """One of the requests the provider allows at once, for as long as the request takes; `weight` of them for a
        batch whose parts run side by side. Waits and raises as `spend` does."""

    def throttled(self, seconds: float) -> None:
        """The provider itself said to wait: nobody spends before. The provider object calls it when it closes."""


class Unmetered:
    """The meter of an account without a quota."""

    burst = 1_000_000

    def spend(self, units: int) -> None:
        """Free."""

    def slot(self, weight: int = 1) -> AbstractContextManager[None]:
        """Free."""
        return nullcontext()

    def throttled(self, seconds: float) -> None:
        """The run waits (`sync_runs`); there is nobody else to tell."""
