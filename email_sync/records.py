"""What crosses the boundary between a mail provider, the parser and the services: frozen values, no database.

Providers return them, the parser fills them, services store them. All text in them is clean: no NUL, no lone surrogate
(reference 7.2). All times are aware and in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

INBOX, SENT, ARCHIVE, DRAFTS, TRASH, SPAM = "inbox", "sent", "archive", "drafts", "trash", "spam"
ROLES: tuple[str, ...] = (INBOX, SENT, ARCHIVE, DRAFTS, TRASH, SPAM)
"""The neutral folder roles. A folder the user made has no role; its mail is found under `all` and by search."""


@dataclass(frozen=True, slots=True)
class Address:
    """A participant as a header shows it. `email` is "" where the header holds no address; the text is then `name`."""

    name: str
    email: str


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
    """True where only the beginning was fetched because the message is over the size cap."""


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
