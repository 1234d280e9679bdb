"""What every mail provider is: plain arguments in, frozen records out.

A provider knows no database, has no retry loop and logs no content. It raises `core.errors`: ProviderAuthError,
ProviderRateLimited, ProviderUnavailable, ProviderRejected, CursorExpired, RemoteMissing, ProviderOutcomeUnknown. The
engine decides what follows. Glossary: a *stream* is a part of the mailbox with its own cursor; a *cursor* is an opaque
string that stands for "all I had seen"; a *state* is where a message is and its flags.

The shared contract suite in `email_sync/tests/contract.py` holds every provider to these words.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from email_sync.records import (
    Address,
    ChangePage,
    IdPage,
    OutgoingMail,
    RemoteFolder,
    RemoteMessage,
    RemoteState,
    SentMail,
    Stream,
)
from integrations.accounts import AccountProvider, ProviderAccount

MailAccount = ProviderAccount
"""What a provider needs to reach one mailbox."""


class MailProvider(AccountProvider):
    """One mailbox at one provider, for the time of one piece of work. Use as a context manager."""

    fetch_batch: ClassVar[int] = 50
    """How many messages one `fetch` call is best given."""
    may_forget_changes: ClassVar[bool] = False
    """True where `changes` may never tell what happened to a message that is still there (Graph, reference 3.3): the
    daily comparison then looks at states and not only at ids."""
    moves_change_ids: ClassVar[bool] = False
    """True where a move gives a message a new remote id (IMAP): the engine then follows it by `content_key`."""
    names_aliases: ClassVar[bool] = True
    """False where the provider does not know which other addresses the account may send as: then its user says."""
    max_mail_bytes: ClassVar[int] = 36_700_160
    """The largest mail it takes, as bytes on the wire."""

    @abstractmethod
    def folders(self) -> list[RemoteFolder]:
        """All folders or labels that can hold mail."""

    @abstractmethod
    def streams(self, folders: Sequence[RemoteFolder]) -> list[Stream]:
        """The parts to sync, in the order of the first sync: inbox, sent, then the rest."""

    @abstractmethod
    def start_cursor(self, stream: Stream) -> str:
        """A cursor for now. Taken before listing, so that nothing falls between listing and the first `changes`."""

    def totals(self, streams: Sequence[Stream], *, since: datetime | None = None) -> Mapping[str, int]:
        """How many messages there are, by the stream's key, as cheaply as the provider tells it before they are listed.
        Streams it does not tell of are left out, all of them where it cannot count from `since` on."""
        return {}

    @abstractmethod
    def list_ids(self, stream: Stream, token: str, limit: int, *, since: datetime | None = None) -> IdPage:
        """A page of remote ids, newest first. `token` is "" or the last page's `next_token`; tokens survive a new
        provider object. With `since` only what was received at or after it, give or take a day (IMAP knows no hours).
        CursorExpired where the token is no longer good: begin again with ""."""

    @abstractmethod
    def matching_ids(self, stream: Stream, addresses: Sequence[str], limit: int) -> tuple[str, ...]:
        """Ids of mail from or to any of these addresses, newest first, at most `limit`. A hint for what to fetch first:
        it may miss some. ProviderRejected where the provider cannot search."""

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

    def untold(self, cursor: str) -> str:
        """Why the provider tells no changes at this cursor, in a sentence for the mailbox's user; "" where it does.
        Such a stream is compared as a whole at each sync, and `changes` raises CursorExpired. Asks nobody."""
        return ""

    @abstractmethod
    def set_flags(
        self, remote_ids: Sequence[str], *, read: bool | None = None, starred: bool | None = None
    ) -> frozenset[str]:
        """Set what is not None. Answers the ids it was set for: those the provider no longer has are left out."""

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

    attachments_in_pieces: ClassVar[bool] = False
    """Whether a large attachment is never in memory whole; `attachment_pieces` gives it so."""

    @abstractmethod
    def attachment(self, remote_id: str, part_id: str) -> bytes:
        """The decoded bytes of one part. RemoteMissing where message or part is gone."""

    def attachment_pieces(self, remote_id: str, part_id: str) -> Iterator[bytes]:
        """The same bytes, in pieces where the provider gives them so, else whole."""
        yield self.attachment(remote_id, part_id)

    @abstractmethod
    def find(self, message_id: str) -> tuple[str, ...]:
        """Remote ids of messages with this Message-ID (without brackets), in every folder, trash and spam included. As
        good as the provider's search: it may lag behind by minutes."""

    @abstractmethod
    def raw(self, remote_id: str) -> bytes:
        """The whole message as RFC 822 bytes with CRLF lines. RemoteMissing where it is gone."""

    # --- drafts and senders -----------------------------------------------------------------------------------

    @abstractmethod
    def aliases(self) -> list[Address]:
        """The addresses the account may send as, its own first."""

    @abstractmethod
    def save_draft(self, mail: OutgoingMail, replaces: str = "", version: str = "") -> RemoteState:
        """Store a draft: a new one, or in place of the one with the remote id `replaces`. The state tells the new
        remote id and the new version. Repeatable: the mail is looked for first by its Message-ID, so that a repeat
        after a lost answer makes no second one. What was changed elsewhere is never replaced, and then nothing is
        stored: RemoteMissing where `replaces` is gone (changed, sent or removed), RemoteChanged where its content is
        another than `version` ("" is any). Flags are no content."""

    @abstractmethod
    def delete_draft(self, remote_id: str, version: str = "") -> None:
        """Remove a draft for good. RemoteMissing and RemoteChanged as `save_draft`."""

    def draft_versions(self, remote_ids: Sequence[str]) -> Mapping[str, str]:
        """What the content of each draft is known by now; those gone are left out. Nothing at all where another content
        is another remote id: there a draft that is there is the one that was seen."""
        return {}
