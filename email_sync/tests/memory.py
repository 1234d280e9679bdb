"""A mailbox in memory behind the provider interface: the smallest complete provider, verified by the contract suite.

Folders are streams, a move gives a new remote id (as IMAP does), cursors can be lost, calls can be made to fail. Engine
tests use it to stop the world at any point; what a real server does is tested against real servers.
"""

from __future__ import annotations

import email
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import ClassVar

from core.errors import CursorExpired, ProviderOutcomeUnknown, ProviderRejected, RemoteMissing
from email_sync.parsing.message import attachment
from email_sync.providers.base import MailAccount, MailProvider
from email_sync.records import (
    OWN_ID_HEADER,
    ROLES,
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
from email_sync.tests.contract import MailHarness, Truth, resubjected


@dataclass(frozen=True)
class Stored:
    """A message of the mailbox."""

    remote_id: str
    folder: str
    raw: bytes
    received_at: datetime
    read: bool = False
    starred: bool = False
    version: int = 0
    created: int = 0


@dataclass
class Mailbox:
    """The server side: folders named by their roles, an event log, and switches for faults."""

    messages: dict[str, Stored] = field(default_factory=dict)
    generation: int = 1
    begun: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(hours=1))
    sequence: Iterator[int] = field(default_factory=lambda: count(1))
    version: int = 0
    vanished: list[tuple[int, str, str]] = field(default_factory=list)
    outbox: list[OutgoingMail] = field(default_factory=list)
    lose_next_send_answer: bool = False
    refuse_next_send: bool = False
    before_call: Callable[[str], None] = lambda name: None
    """Called with the name of every provider call: a test raises or looks from here."""
    calls: list[str] = field(default_factory=list)
    aliases: list[Address] = field(default_factory=list)

    def append(self, raw: bytes, folder: str, *, read: bool = False) -> Stored:
        number = next(self.sequence)
        self.version += 1
        stored = Stored(
            remote_id=f"{folder}/{self.generation}/{number}",
            folder=folder,
            raw=raw,
            received_at=self.begun + timedelta(seconds=number),
            read=read,
            version=self.version,
            created=self.version,
        )
        self.messages[stored.remote_id] = stored
        return stored

    def remove(self, remote_id: str) -> Stored:
        self.version += 1
        gone = self.messages.pop(remote_id)
        self.vanished.append((self.version, gone.folder, remote_id))
        return gone

    def move(self, remote_id: str, folder: str) -> Stored:
        gone = self.remove(remote_id)
        moved = self.append(gone.raw, folder, read=gone.read)
        moved = replace(moved, received_at=gone.received_at, starred=gone.starred)
        self.messages[moved.remote_id] = moved
        return moved

    def flag(self, remote_id: str, *, read: bool | None = None, starred: bool | None = None) -> None:
        self.version += 1
        stored = self.messages[remote_id]
        self.messages[remote_id] = replace(
            stored,
            read=stored.read if read is None else read,
            starred=stored.starred if starred is None else starred,
            version=self.version,
        )

    def renumber(self) -> None:
        """A new generation: every remote id changes, every cursor is lost (UIDVALIDITY)."""
        self.generation += 1
        old = list(self.messages.values())
        self.messages.clear()
        self.vanished.clear()
        for stored in old:
            number = next(self.sequence)
            renamed = replace(stored, remote_id=f"{stored.folder}/{self.generation}/{number}")
            self.messages[renamed.remote_id] = renamed

    def find(self, message_id: str) -> Stored:
        return next(stored for stored in self.messages.values() if message_id_of(stored.raw) == message_id)


def message_id_of(raw: bytes) -> str:
    return str(email.message_from_bytes(raw)["Message-ID"] or "").strip("<> \r\n")


def ids_of(raw: bytes) -> set[str]:
    """Its Message-ID, and ours where it carries that beside it."""
    message = email.message_from_bytes(raw)
    return {str(message[name] or "").strip("<> \r\n") for name in ("Message-ID", OWN_ID_HEADER)} - {""}


def people_of(raw: bytes) -> str:
    """The address headers, in lower case."""
    message = email.message_from_bytes(raw)
    return " ".join(str(message[name] or "") for name in ("From", "To", "Cc")).lower()


def state_of(stored: Stored) -> RemoteState:
    message_id = message_id_of(stored.raw)
    key = (
        hashlib.sha256(f"{message_id}|{stored.received_at}|{len(stored.raw)}".encode()).hexdigest()
        if message_id
        else ""
    )
    return RemoteState(
        remote_id=stored.remote_id,
        folder_ids=(stored.folder,),
        roles=frozenset({stored.folder}) & frozenset(ROLES),
        is_read=stored.read,
        is_starred=stored.starred,
        content_key=key,
    )


class Memory(MailProvider):
    """The provider over `Mailbox`; `mailboxes` maps an account's address to its mailbox."""

    key: ClassVar[str] = "imap"
    moves_change_ids: ClassVar[bool] = True
    mailboxes: ClassVar[dict[str, Mailbox]] = {}

    def __init__(self, account: MailAccount) -> None:
        super().__init__(account)
        self.box = self.mailboxes[account.email]

    def _call(self, name: str) -> None:
        self.box.calls.append(name)
        self.box.before_call(name)

    def _of(self, stream: Stream) -> list[Stored]:
        return [stored for stored in self.box.messages.values() if stored.folder == stream.key]

    def folders(self) -> list[RemoteFolder]:
        self._call("folders")
        extra = {stored.folder for stored in self.box.messages.values()} - set(ROLES)
        return [RemoteFolder(name, name, name if name in ROLES else "") for name in (*ROLES, *sorted(extra))]

    def streams(self, folders: Sequence[RemoteFolder]) -> list[Stream]:
        order = {name: index for index, name in enumerate(("inbox", "sent", "archive", "drafts"))}
        last = {"trash": 100, "spam": 101}
        ranked = sorted(folders, key=lambda f: last.get(f.role, order.get(f.role, 50)))
        return [Stream(folder.remote_id, folder) for folder in ranked]

    def start_cursor(self, stream: Stream) -> str:
        self._call("start_cursor")
        return json.dumps([self.box.generation, self.box.version])

    def totals(self, streams: Sequence[Stream], *, since: datetime | None = None) -> dict[str, int]:
        self._call("totals")
        return {} if since else {stream.key: len(self._of(stream)) for stream in streams}

    def list_ids(self, stream: Stream, token: str, limit: int, *, since: datetime | None = None) -> IdPage:
        self._call("list_ids")
        wanted = [stored for stored in self._of(stream) if since is None or stored.received_at >= since]
        ids = [s.remote_id for s in sorted(wanted, key=lambda s: (s.received_at, s.remote_id), reverse=True)]
        start = int(token or 0)
        following = str(start + limit) if start + limit < len(ids) else ""
        return IdPage(tuple(ids[start : start + limit]), following, len(ids))

    def matching_ids(self, stream: Stream, addresses: Sequence[str], limit: int) -> tuple[str, ...]:
        self._call("matching_ids")
        people = {m.remote_id: people_of(m.raw) for m in self._of(stream)}
        newest = sorted(self._of(stream), key=lambda m: (m.received_at, m.remote_id), reverse=True)
        return tuple(m.remote_id for m in newest if any(a in people[m.remote_id] for a in addresses))[:limit]

    def fetch(self, stream: Stream, remote_ids: Sequence[str]) -> Iterator[RemoteMessage]:
        self._call("fetch")
        for remote_id in remote_ids:
            stored = self.box.messages.get(remote_id)
            if stored is not None:
                yield RemoteMessage(state_of(stored), stored.received_at, len(stored.raw), raw=stored.raw)

    def states(self, stream: Stream) -> Iterator[list[RemoteState]]:
        self._call("states")
        yield [state_of(stored) for stored in self._of(stream)]

    def changes(self, stream: Stream, cursor: str) -> ChangePage:
        self._call("changes")
        try:
            generation, version = json.loads(cursor)
        except (ValueError, TypeError):
            raise CursorExpired from None
        if generation != self.box.generation:
            raise CursorExpired
        return ChangePage(
            cursor=json.dumps([generation, self.box.version]),
            added=tuple(stored.remote_id for stored in self._of(stream) if stored.created > version),
            updated=tuple(state_of(s) for s in self._of(stream) if s.created <= version < s.version),
            removed=tuple(i for at, folder, i in self.box.vanished if folder == stream.key and at > version),
        )

    def set_flags(
        self, remote_ids: Sequence[str], *, read: bool | None = None, starred: bool | None = None
    ) -> frozenset[str]:
        self._call("set_flags")
        there = frozenset(remote_id for remote_id in remote_ids if remote_id in self.box.messages)
        for remote_id in there:
            self.box.flag(remote_id, read=read, starred=starred)
        return there

    def set_archived(self, remote_id: str, archived: bool) -> RemoteState | None:
        self._call("set_archived")
        if remote_id not in self.box.messages:
            raise RemoteMissing
        return state_of(self.box.move(remote_id, "archive" if archived else "inbox"))

    def send(self, mail: OutgoingMail) -> SentMail:
        self._call("send")
        if self.box.refuse_next_send:
            self.box.refuse_next_send = False
            raise ProviderRejected("550 No such user here.")
        self.box.outbox.append(mail)
        stored = self.box.append(mail.mime, "sent", read=True)
        if self.box.lose_next_send_answer:
            self.box.lose_next_send_answer = False
            raise ProviderOutcomeUnknown
        return SentMail(remote_id=stored.remote_id, message_id=mail.message_id)

    def file_sent(self, mail: OutgoingMail) -> SentMail:
        self._call("file_sent")
        return self.find_sent(mail.message_id) or SentMail(
            remote_id=self.box.append(mail.mime, "sent", read=True).remote_id, message_id=mail.message_id
        )

    def find_sent(self, message_id: str) -> SentMail | None:
        self._call("find_sent")
        for stored in self.box.messages.values():
            if stored.folder == "sent" and message_id in ids_of(stored.raw):
                return SentMail(remote_id=stored.remote_id, message_id=message_id_of(stored.raw))
        return None

    def aliases(self) -> list[Address]:
        self._call("aliases")
        return [Address("Ada", self.account.email), *self.box.aliases]

    def save_draft(self, mail: OutgoingMail, replaces: str = "", version: str = "") -> RemoteState:
        self._call("save_draft")
        there = [s for s in self.box.messages.values() if s.folder == "drafts" and mail.message_id in ids_of(s.raw)]
        if not there and replaces and replaces not in self.box.messages:
            raise RemoteMissing
        stored = there[0] if there else self.box.append(mail.with_bcc(), "drafts", read=True)
        if replaces in self.box.messages and replaces != stored.remote_id:
            self.box.remove(replaces)
        return state_of(stored)

    def delete_draft(self, remote_id: str, version: str = "") -> None:
        self._call("delete_draft")
        if remote_id not in self.box.messages:
            raise RemoteMissing
        self.box.remove(remote_id)

    def attachment(self, remote_id: str, part_id: str) -> bytes:
        self._call("attachment")
        if remote_id not in self.box.messages:
            raise RemoteMissing
        return attachment(self.box.messages[remote_id].raw, part_id)

    def find(self, message_id: str) -> tuple[str, ...]:
        self._call("find")
        return tuple(s.remote_id for s in self.box.messages.values() if message_id_of(s.raw) == message_id)

    def raw(self, remote_id: str) -> bytes:
        self._call("raw")
        if remote_id not in self.box.messages:
            raise RemoteMissing
        return self.box.messages[remote_id].raw


class MemoryHarness(MailHarness):
    """The contract suite's door behind the provider's back."""

    email = "ada@contract.test"

    def __init__(self) -> None:
        self.box = Memory.mailboxes[self.email] = Mailbox()

    def provider(self) -> MailProvider:
        return Memory(MailAccount(email=self.email))

    def deliver(self, raw: bytes, role: str = "inbox", *, read: bool = False) -> None:
        self.box.append(raw, role, read=read)

    def remove(self, message_id: str) -> None:
        self.box.remove(self.box.find(message_id).remote_id)

    def set_flags(self, message_id: str, *, read: bool | None = None, starred: bool | None = None) -> None:
        self.box.flag(self.box.find(message_id).remote_id, read=read, starred=starred)

    def move(self, message_id: str, role: str) -> None:
        self.box.move(self.box.find(message_id).remote_id, role)

    def rewrite_draft(self, message_id: str, subject: str) -> None:
        old = self.box.find(message_id)
        self.box.append(resubjected(old.raw, subject), old.folder, read=True)
        self.box.remove(old.remote_id)

    def lose_cursor(self) -> None:
        self.box.renumber()

    def truth(self) -> set[Truth]:
        return {
            Truth(message_id_of(s.raw), frozenset({s.folder}) & frozenset(ROLES), s.read, s.starred)
            for s in self.box.messages.values()
        }

    def outbox(self) -> list[tuple[frozenset[str], bytes]]:
        return [(frozenset(mail.recipients), mail.mime) for mail in self.box.outbox]

    def lose_next_send_answer(self) -> None:
        self.box.lose_next_send_answer = True

    def refuse_next_send(self) -> None:
        self.box.refuse_next_send = True
