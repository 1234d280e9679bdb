"""What every mail provider is: plain arguments in, frozen records out.

A provider knows no database, has no retry loop and logs no content. It raises `core.errors`: ProviderAuthError,
ProviderRateLimited, ProviderUnavailable, ProviderRejected, CursorExpired, RemoteMissing, ProviderOutcomeUnknown. The
engine decides what follows. Glossary: a *stream* is a part of the mailbox with its own cursor; a *cursor* is an opaque
string that stands for "all I had seen"; a *state* is where a message is and its flags.

The shared contract suite in `email_sync/tests/contract.py` holds every provider to these words.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import ClassVar, Self

from email_sync.records import (
    ChangePage,
    IdPage,
    OutgoingMail,
    RemoteFolder,
    RemoteMessage,
    RemoteState,
    SentMail,
    Stream,
)


@dataclass(frozen=True, slots=True)
class MailAccount:
    """What a provider needs to reach one mailbox. `repr` shows no secret."""

    email: str
    access_token: str = field(default="", repr=False)
    """OAuth access token, fresh; "" for password accounts."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Not secret, as the connection stores them: hosts, ports, security, user names, API origin."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Passwords by name ("imapPassword", "smtpPassword"); empty for OAuth accounts."""


class MailProvider(ABC):
    """One mailbox at one provider, for the time of one piece of work. Use as a context manager."""

    key: ClassVar[str]
    """The connection provider this serves; the registry checks it."""
    fetch_batch: ClassVar[int] = 50
    """How many messages one `fetch` call is best given."""
    moves_change_ids: ClassVar[bool] = False
    """True where a move gives a message a new remote id (IMAP): the engine then follows it by `content_key`."""

    def __init__(self, account: MailAccount) -> None:
        self.account = account

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027 - a provider without connections has nothing to give back
        """Give back connections. Never raises."""

    @abstractmethod
    def folders(self) -> list[RemoteFolder]:
        """All folders or labels that can hold mail."""

    @abstractmethod
    def streams(self, folders: Sequence[RemoteFolder]) -> list[Stream]:
        """The parts to sync, in the order of the first sync: inbox, sent, then the rest."""

    @abstractmethod
    def start_cursor(self, stream: Stream) -> str:
        """A cursor for now. Taken before listing, so that nothing falls between listing and the first `changes`."""

    @abstractmethod
    def list_ids(self, stream: Stream, token: str, limit: int, *, since: datetime | None = None) -> IdPage:
        """A page of remote ids, newest first. `token` is "" or the last page's `next_token`; tokens survive a new
        provider object. With `since` only what was received at or after it, give or take a day (IMAP knows no hours).
        CursorExpired where the token is no longer good: begin again with ""."""

    @abstractmethod
    def fetch(self, stream: Stream, remote_ids: Sequence[str]) -> Iterator[RemoteMessage]:
        """The messages, in any order; those gone meanwhile are simply not yielded. One bad message never hides the
        others."""

    @abstractmethod
    def states(self, stream: Stream) -> Iterator[list[RemoteState]]:
        """The state of every message of the stream, in chunks: the ground truth for a reconcile. Ends normally only
        when complete."""

    @abstractmethod
    def changes(self, stream: Stream, cursor: str) -> ChangePage:
        """What happened since `cursor`. CursorExpired where the provider no longer knows it."""

    @abstractmethod
    def set_flags(self, remote_ids: Sequence[str], *, read: bool | None = None, starred: bool | None = None) -> None:
        """Set what is not None. Ids the provider no longer has are ignored."""

    @abstractmethod
    def set_archived(self, remote_id: str, archived: bool) -> RemoteState | None:
        """Move to the archive, or back to the inbox. The new state where the provider tells, None where the next sync
        will. RemoteMissing where it is gone."""

    @abstractmethod
    def send(self, mail: OutgoingMail) -> SentMail:
        """Hand the mail over, once. ProviderRejected: refused for good. ProviderUnavailable: surely not taken.
        ProviderOutcomeUnknown: it may have been taken; never call again before `find_sent` said no."""

    @abstractmethod
    def file_sent(self, mail: OutgoingMail) -> SentMail:
        """Put a copy into Sent where `send` answered `filed=False`; first looks whether one is there."""

    @abstractmethod
    def find_sent(self, message_id: str) -> SentMail | None:
        """The mail with this Message-ID in Sent, or None."""

    @abstractmethod
    def attachment(self, remote_id: str, part_id: str) -> bytes:
        """The decoded bytes of one part. RemoteMissing where message or part is gone."""
