"""What a calendar provider that events can be written to does besides `base.CalendarProvider`.

Every write is proved against what its caller had seen: RemoteChanged where the provider has another version by now,
RemoteMissing where it has none; nothing is overwritten then. What is not modelled here survives a write. A provider
answers with the resources as they are stored now, which the services write down like any other page.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from calendar_sync.records import EventDraft, RemoteCalendar, RemoteResource, Target


class EventWriter(ABC):
    """Creates, changes, deletes and answers."""

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
