"""What crosses the boundary between a mail provider, the parser and the services: frozen values, no database.

Providers return them, the parser fills them, services store them. All text in them is clean: no NUL, no lone surrogate
(reference 7.2). All times are aware and in UTC.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from core.ids import OWN_ID_HEADER as OWN_ID_HEADER

INBOX, SENT, ARCHIVE, DRAFTS, TRASH, SPAM = "inbox", "sent", "archive", "drafts", "trash", "spam"
ROLES: tuple[str, ...] = (INBOX, SENT, ARCHIVE, DRAFTS, TRASH, SPAM)
"""The neutral folder roles. A folder the user made has no role; its mail is found under `all` and by search."""


@dataclass(frozen=True, slots=True)
class Address:
    """A participant as a header shows it. `email` is "" where the header holds no address; the text is then `name`."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class CalendarSummary:
    """The first event of a calendar part; "" where the sender does not say, or the part was not fetched."""

    method: str
    """REQUEST, REPLY, CANCEL … (RFC 5546)."""
    summary: str
    start: str
    """ISO 8601: a date, an instant in UTC ("…Z"), or a local time in `time_zone`."""
    end: str
    time_zone: str
    """As the sender names it, "Europe/Berlin" or any other name; "" for UTC, dates and times of no zone."""
    organizer_name: str
    organizer_email: str


@dataclass(frozen=True, slots=True)
class AttachmentPart:
    """A part of a message that is not its text. `part_id` is the provider's stable part number ("1.2")."""

    part_id: str
    file_name: str
    content_type: str
    size: int
    """Bytes after decoding; where the provider only knows the encoded size, its estimate."""
    inline: bool
    content_id: str
    """Without angle brackets; "" where there is none."""
    calendar: CalendarSummary | None = None
    """What it says where it is a calendar."""

    def values(self) -> tuple[Any, ...]:
        """In the order of the fields, the calendar as an object."""
        facts = (self.part_id, self.file_name, self.content_type, self.size, self.inline, self.content_id)
        return (*facts, self.calendar and asdict(self.calendar))


@dataclass(frozen=True, slots=True)
class FailedRecipient:
    """Somebody a mail did not reach, as a report says."""

    addresses: tuple[str, ...]
    """Where it went at last, and where it was sent: they differ where mail is forwarded."""
    status: str
    """RFC 3463: "5.1.1"; "" where there is none."""
    diagnostic: str
    """The refusing server's words, one line."""


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """A message that says another one was not delivered: a stranger's claim."""

    original_ids: tuple[str, ...]
    """Message-IDs the reported mail may have."""
    recipients: tuple[FailedRecipient, ...]


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """A message after parsing. `defect` is "" or says in one sentence what could not be read."""

    message_id: str
    """Without angle brackets; "" where missing. A hint, never an identity: two mails may carry the same."""
    in_reply_to: tuple[str, ...]
    references: tuple[str, ...]
    subject: str
    sender: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    reply_to: tuple[Address, ...]
    sent_at: datetime | None
    text: str
    """The text body; taken from the HTML where there is no text part."""
    html: str
    """The HTML body as sent, not sanitised: sanitise on read. "" where there is none."""
    attachments: tuple[AttachmentPart, ...]
    headers: tuple[tuple[str, str], ...]
    """All headers in order, decoded, capped."""
    defect: str = ""
    report: DeliveryReport | None = None
    """What it says of another mail, where it is a delivery report."""


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A folder or label of the provider. `role` is one of ROLES or ""."""

    remote_id: str
    name: str
    role: str = ""


@dataclass(frozen=True, slots=True)
class RemoteState:
    """Where a message is and what flags it carries, by the provider's account."""

    remote_id: str
    folder_ids: tuple[str, ...]
    """Remote ids of the folders or labels it is in: one at IMAP, any number at a labelling provider."""
    roles: frozenset[str]
    is_read: bool
    is_starred: bool
    content_key: str = ""
    """Hash of Message-ID, received time and size where `remote_id` changes when a message is moved (IMAP): lets a move
    keep its row. "" where remote ids are immutable or the message has no Message-ID."""
    version: str = field(default="", compare=False)
    """Of a draft that was just saved: what its content is known by where its remote id stays when that changes (Graph).
    "" where another content is another remote id, and where it was not asked for."""
    stream: str = ""
    """Key of the stream it is in, where that may be another than the one that told of it (Graph: a folder's changes
    name what left it). "" is the stream that was asked."""


@dataclass(frozen=True, slots=True)
class RemoteMessage:
    """One fetched message: its state and either `raw` (to be parsed by the bounded child) or `parsed`."""

    state: RemoteState
    received_at: datetime
    size: int
    thread_remote_id: str = ""
    """The provider's thread id; "" where threads come from the header graph."""
    raw: bytes | None = None
    parsed: ParsedMessage | None = None
    truncated: bool = False
    """True where only the beginning was fetched: the message is over the size cap, or `refused`."""
    refused: bool = False
    """True where the provider has the message and did not give its body: kept as what is known, asked for again."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A part of a mailbox with a cursor of its own: the whole mailbox at Gmail, one folder at IMAP and Graph."""

    key: str
    """Stable for the life of the part; at most 500 characters."""
    folder: RemoteFolder | None = None


@dataclass(frozen=True, slots=True)
class IdPage:
    """A page of a listing, newest first."""

    remote_ids: tuple[str, ...]
    next_token: str = ""
    """"" where this was the last page."""
    total: int | None = None
    """How many messages the whole listing has, where the provider says so."""


@dataclass(frozen=True, slots=True)
class ChangePage:
    """What changed since a cursor. `cursor` is the next one; `more` says whether to ask again at once."""

    cursor: str
    added: tuple[str, ...] = ()
    updated: tuple[RemoteState, ...] = ()
    removed: tuple[str, ...] = ()
    more: bool = False


@dataclass(frozen=True, slots=True)
class OutgoingMail:
    """A mail ready to leave: the bytes as they go over the wire (no Bcc header), and who gets them."""

    message_id: str
    """Without angle brackets; the same on every attempt."""
    sender: str
    recipients: tuple[str, ...]
    """Every address, Bcc included: the envelope."""
    mime: bytes
    """CRLF lines; without a Bcc header. Providers that take recipients from headers get them by `bcc`."""
    bcc: tuple[str, ...] = ()
    thread_remote_id: str = ""
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    """Who its headers name, for the log of outbound mail."""

    def with_bcc(self) -> bytes:
        """The bytes with a Bcc header: for a draft, and for a provider that takes the recipients from the headers. An
        address has no white space: none may end a header line."""
        if not self.bcc:
            return self.mime
        return b"Bcc: " + ",\r\n ".join("".join(text.split()) for text in self.bcc).encode() + b"\r\n" + self.mime


@dataclass(frozen=True, slots=True)
class SentMail:
    """What the provider says of a mail it accepted."""

    remote_id: str = ""
    """"" where the provider does not tell (SMTP)."""
    thread_remote_id: str = ""
    message_id: str = ""
    """The Message-ID the provider kept: it may differ from ours (Gmail, reference 2.2)."""
    filed: bool = True
    """False where the copy in Sent still has to be made."""
    refused: tuple[str, ...] = field(default=())
    """Recipients refused while others were accepted."""
