"""The IMAP provider: `MailProvider` over one IMAP session, and SMTP for what leaves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from core.errors import CursorExpired, HubError, ProviderRejected, ProviderUnavailable, RemoteMissing
from email_sync.parsing import message as parser
from email_sync.providers.base import MailAccount, MailProvider
from email_sync.providers.imap import changes, drafts, fetching, folders, moving, smtp
from email_sync.providers.imap.naming import Cursor, Location, place, remote_id
from email_sync.providers.imap.session import Session
from email_sync.providers.imap.settings import endpoint
from email_sync.records import (
    ARCHIVE,
    INBOX,
    SPAM,
    TRASH,
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

WHOLE = 8 * 1024 * 1024
"""Up to this size an attachment is cut out by our own parser, whose part numbers the caller has; the server may number
the parts of malformed mail differently. Of larger messages only the part is fetched."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What connecting an account found out."""

    folders: tuple[RemoteFolder, ...]
    capabilities: frozenset[str]


class Imap(MailProvider):
    """One mailbox behind IMAP and SMTP."""

    key: ClassVar[str] = "imap"
    fetch_batch: ClassVar[int] = 200
    moves_change_ids: ClassVar[bool] = True
    names_aliases: ClassVar[bool] = False
    attachments_in_pieces: ClassVar[bool] = True

    def __init__(self, account: MailAccount) -> None:
        super().__init__(account)
        self._open: Session | None = None

    @classmethod
    def check(cls, account: MailAccount) -> Checked:
        """Log in at both servers. Raises ProviderAuthError, ProviderUnavailable, ProviderRejected, NotConfigured or
        EgressRefused, whose `fields` name the side: `{"imap": [words]}` or `{"smtp": [words]}`."""
        with _blamed_on("imap"), cls(account) as provider:
            found = Checked(tuple(provider.folders()), provider._session.capabilities)
        with _blamed_on("smtp"):
            smtp.check(endpoint(account, "smtp"))
        return found

    @property
    def _session(self) -> Session:
        if self._open is None:
            self._open = Session(endpoint(self.account, "imap"))
        return self._open

    def close(self) -> None:
        if self._open is not None:
            self._open.close()

    # --- what there is ----------------------------------------------------------------------------------------

    def folders(self) -> list[RemoteFolder]:
        return [entry.folder for entry in self._session.folders(fresh=True) if entry.usable]

    def streams(self, folders_: Sequence[RemoteFolder]) -> list[Stream]:
        return folders.streams(self._session.folders(), folders_, gmail=self._session.gmail)

    def start_cursor(self, stream: Stream) -> str:
        box = self._session.examine(stream.key)
        return changes.cursor_of(box, changes.look(self._session, box)).dump()

    def totals(self, streams: Sequence[Stream], *, since: datetime | None = None) -> dict[str, int]:
        """What the folders' figures say, most of which came when they were selected."""
        found: dict[str, int] = {}
        for stream in streams:
            with suppress(ProviderRejected, RemoteMissing):  # its own step will say why it cannot be read
                found[stream.key] = fetching.total(self._session, stream.key, since)
        return found

    def list_ids(self, stream: Stream, token: str, limit: int, *, since: datetime | None = None) -> IdPage:
        """The token is `uidvalidity/uid`: everything under that UID is still to come."""
        if not token:
            box = self._session.examine(stream.key)
            bound = box.uidnext
        else:
            box = self._session.on(stream.key)
            uidvalidity, bound = _token(token)
            if box.uidvalidity != uidvalidity:
                raise CursorExpired()
        uids = fetching.newest(self._session, box, bound, limit, since)
        if not (uids or token or since) and box.messages:
            raise ProviderUnavailable(changes.NOT_LISTED)
        ids = tuple(remote_id(box.uidvalidity, uid, stream.key) for uid in uids)
        following = f"{box.uidvalidity}/{uids[-1]}" if len(uids) == limit and uids[-1] > 1 else ""
        return IdPage(ids, following, None if since else box.messages)

    def matching_ids(self, stream: Stream, addresses: Sequence[str], limit: int) -> tuple[str, ...]:
        box = self._session.examine(stream.key)
        uids = fetching.from_or_to(self._session, addresses) if box.messages else []
        return tuple(remote_id(box.uidvalidity, uid, stream.key) for uid in uids[:limit])

    def fetch(self, stream: Stream, remote_ids: Sequence[str]) -> Iterator[RemoteMessage]:
        for (folder, uidvalidity), uids in moving.grouped(remote_ids).items():
            if folder == stream.key:
                location = self._location(stream.folder or self._folder(folder), uidvalidity)
                yield from fetching.messages(self._session, location, uids)

    def states(self, stream: Stream) -> Iterator[list[RemoteState]]:
        box = self._session.examine(stream.key)
        location = self._location(stream.folder or self._folder(stream.key), box.uidvalidity)
        return fetching.states(self._session, location, changes.present(self._session, box))

    def changes(self, stream: Stream, cursor: str) -> ChangePage:
        seen = Cursor.load(cursor)
        location = self._location(stream.folder or self._folder(stream.key), seen.uidvalidity)
        return changes.since(self._session, location, seen)

    def attachment(self, remote_id: str, part_id: str) -> bytes:
        return b"".join(self.attachment_pieces(remote_id, part_id))

    def attachment_pieces(self, remote_id: str, part_id: str) -> Iterator[bytes]:
        uidvalidity, uid, folder = place(remote_id)
        if self._session.on(folder).uidvalidity != uidvalidity:
            raise RemoteMissing()
        if fetching.size_of(self._session, uid) > WHOLE:
            yield from fetching.part(self._session, uid, part_id)
        else:
            yield parser.attachment(fetching.whole(self._session, uid), part_id)

    def find(self, message_id: str) -> tuple[str, ...]:
        """Folder by folder, the newest of each."""
        found = []
        for one in self.streams(self.folders()):
            if one.folder is not None and (hit := moving.find(self._session, one.folder, message_id)) is not None:
                found.append(remote_id(self._session.on(one.key).uidvalidity, hit[0], one.key))
        return tuple(found)

    def raw(self, remote_id: str) -> bytes:
        uidvalidity, uid, folder = place(remote_id)
        if self._session.on(folder).uidvalidity != uidvalidity:
            raise RemoteMissing()
        return fetching.whole(self._session, uid)

    # --- changing it ------------------------------------------------------------------------------------------

    def set_flags(
        self, remote_ids: Sequence[str], *, read: bool | None = None, starred: bool | None = None
    ) -> frozenset[str]:
        flags = {flag: value for flag, value in (("\\Seen", read), ("\\Flagged", starred)) if value is not None}
        met: set[str] = set()
        for (folder, uidvalidity), uids in moving.grouped(remote_ids).items():
            stored = moving.store(self._session, folder, uidvalidity, uids, flags)
            met.update(remote_id(uidvalidity, uid, folder) for uid in stored)
        return frozenset(met)

    def set_archived(self, remote_id: str, archived: bool) -> RemoteState | None:
        uidvalidity, uid, folder = place(remote_id)
        location = self._location(self._folder(folder), uidvalidity)
        if location.labels is not None:
            return moving.relabel(self._session, location, uid, archived)
        return moving.move(self._session, location, uid, ARCHIVE if archived else INBOX)

    # --- sending ----------------------------------------------------------------------------------------------

    def send(self, mail: OutgoingMail) -> SentMail:
        return smtp.send(endpoint(self.account, "smtp"), mail)

    def file_sent(self, mail: OutgoingMail) -> SentMail:
        return moving.file_copy(self._session, mail)

    def find_sent(self, message_id: str) -> SentMail | None:
        return moving.find_copy(self._session, message_id)

    def aliases(self) -> list[Address]:
        """IMAP knows no others."""
        return [Address("", self.account.email)]

    def save_draft(self, mail: OutgoingMail, replaces: str = "", version: str = "") -> RemoteState:
        return drafts.save(self._session, mail, replaces)

    def delete_draft(self, remote_id: str, version: str = "") -> None:
        drafts.delete(self._session, remote_id)

    # --- where things are -------------------------------------------------------------------------------------

    def _folder(self, folder_id: str) -> RemoteFolder:
        """RemoteMissing where the folder is gone."""
        for entry in self._session.folders():
            if entry.folder.remote_id == folder_id:
                return entry.folder
        raise RemoteMissing(f"The folder {folder_id} is gone.")

    def _location(self, folder: RemoteFolder, uidvalidity: int) -> Location:
        labelled = self._session.gmail and folder.role not in (SPAM, TRASH)
        return Location(uidvalidity, folder, folders.labels(self._session.folders()) if labelled else None)


@contextmanager
def _blamed_on(side: str) -> Iterator[None]:
    """Names the side at fault in the error that passes through."""
    try:
        yield
    except HubError as error:
        error.fields = {side: [error.message]}
        raise


def _token(text: str) -> tuple[int, int]:
    uidvalidity, _, bound = text.partition("/")
    if not (uidvalidity.isdecimal() and bound.isdecimal()):
        raise CursorExpired()
    return int(uidvalidity), int(bound)
