"""What every calendar provider is: plain arguments in, frozen records out.

A provider knows no database, has no retry loop and logs no content. It raises `core.errors`: ProviderAuthError,
ProviderRateLimited, ProviderUnavailable, ProviderRejected, CursorExpired, RemoteMissing. The engine decides what
follows. Glossary: a *resource* is what the provider stores and versions as one thing; a *cursor* is an opaque string
that stands for "all I had seen of this calendar"; a *version* is a remote id and its etag.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Self

from calendar_sync.records import ChangePage, ListingPage, RemoteCalendar, RemoteResource
from core.errors import BudgetSpent, ProviderRateLimited
from core.metering import Meter, Quota, Unmetered


@dataclass(frozen=True, slots=True)
class CalendarAccount:
    """What a provider needs to reach one account. `repr` shows no secret."""

    email: str
    access_token: str = field(default="", repr=False)
    """OAuth access token, fresh; "" for password accounts."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Not secret, as the connection stores them: addresses, user names, API origin."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Passwords by name ("caldavPassword"); empty for OAuth accounts."""
    meter: Meter = field(default_factory=Unmetered, repr=False, compare=False)


class CalendarProvider(ABC):
    """One account at one provider, for the time of one piece of work. Use as a context manager."""

    key: ClassVar[str]
    """The connection provider this serves; the registry checks it."""
    fetch_batch: ClassVar[int] = 50
    """How many resources one `fetch` is best asked for."""
    quota: ClassVar[Quota | None] = None
    """What `account.meter` keeps; None where the provider names no budget."""

    def __init__(self, account: CalendarAccount) -> None:
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

    @abstractmethod
    def calendars(self) -> list[RemoteCalendar]:
        """All calendars of the account that hold events."""

    @abstractmethod
    def start_cursor(self, calendar: RemoteCalendar) -> str:
        """A cursor for now, taken before listing, so that nothing falls between the listing and the first `changes`.
        "" where the listing's last page gives one that has seen everything since the listing began."""

    @abstractmethod
    def listing(self, calendar: RemoteCalendar, token: str) -> ListingPage:
        """A page of everything in the calendar. `token` is "" or the last page's `next_token`; tokens survive a new
        provider object. CursorExpired where the token is no longer good: begin again with ""."""

    @abstractmethod
    def changes(self, calendar: RemoteCalendar, cursor: str) -> ChangePage:
        """What happened since `cursor`; removals may name what was never seen. CursorExpired where the provider no
        longer knows it, and where it only knows that something changed: everything is compared then."""

    @abstractmethod
    def fetch(self, calendar: RemoteCalendar, remote_ids: Sequence[str]) -> Iterator[RemoteResource]:
        """The resources, in any order; those gone meanwhile are not yielded. What cannot be read is yielded with its
        `problem` and hides no other."""
