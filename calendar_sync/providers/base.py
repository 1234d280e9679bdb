"""What every calendar provider is: plain arguments in, frozen records out.

A provider knows no database, has no retry loop and logs no content. It raises `core.errors`: ProviderAuthError,
ProviderRateLimited, ProviderUnavailable, ProviderRejected, CursorExpired, RemoteMissing. The engine decides what
follows. Glossary: a *resource* is what the provider stores and versions as one thing; a *cursor* is an opaque string
that stands for "all I had seen of this calendar"; a *version* is a remote id and its etag.

Every write is proved against what its caller had seen: RemoteChanged where the provider has another version by now,
RemoteMissing where it has none; nothing is overwritten then. What is not modelled here survives a write. A provider
answers with the resources as they are stored now, which the services write down like any other page.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

from calendar_sync.records import ChangePage, EventDraft, ListingPage, RemoteCalendar, RemoteResource, Target
from integrations.accounts import AccountProvider, ProviderAccount

CalendarAccount = ProviderAccount
"""What a provider needs to reach one account."""


class CalendarProvider(AccountProvider):
    """One account at one provider, for the time of one piece of work. Use as a context manager."""

    fetch_batch: ClassVar[int] = 50
    """How many resources one `fetch` is best asked for."""

    # --- reading --------------------------------------------------------------------------------------------------

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

    # --- writing --------------------------------------------------------------------------------------------------

    @abstractmethod
    def create(self, calendar: RemoteCalendar, draft: EventDraft, *, key: str, notify: str) -> RemoteResource:
        """A new event. `key` (32 hexadecimal digits) is its caller's: the same key again makes no second event and
        answers with the first. `notify` is one of `records.NOTIFY`. ProviderOutcomeUnknown where no answer came."""

    @abstractmethod
    def update(
        self, calendar: RemoteCalendar, target: Target, draft: EventDraft, changed: frozenset[str], *, notify: str
    ) -> tuple[RemoteResource, ...]:
        """Write the fields of `draft` that `changed` names: of the whole event or series or, where the target has a
        recurrence key, of that occurrence alone."""

    @abstractmethod
    def delete(self, calendar: RemoteCalendar, target: Target, *, notify: str) -> tuple[RemoteResource, ...]:
        """Take away the event or the whole series, or cancel the one occurrence. What is left of it; nothing where it
        is gone. RemoteMissing where it was gone before."""

    @abstractmethod
    def respond(
        self, calendar: RemoteCalendar, target: Target, response: str, *, notify: str, comment: str = ""
    ) -> tuple[RemoteResource, ...]:
        """The account's own answer to an invitation: "accepted", "declined" or "tentative", with a word to the
        organizer. ProviderRejected where the account is not invited."""

    def invites(self, calendar: RemoteCalendar) -> bool:
        """Whether the provider itself tells attendees of what is written here."""
        return True
