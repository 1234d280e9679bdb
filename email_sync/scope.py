"""What of a mailbox its user wants here: the rule itself, the same for new mail, for stored mail and for a dry run.

Pure. `services.scoping` loads it and applies it to a page before it is stored, `services.scope_changes` to what is
stored already. A rule that keeps a mail out is named by a reason and, where a list made it, by the entry of the list.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from email_sync import addresses
from email_sync.records import AttachmentPart, ParsedMessage, RemoteFolder, Stream
from entities.matching import normalise

ALL, INCLUDE, EXCLUDE = "all", "include", "exclude"
FOLDER, AGE, BLOCKED = "folder", "age", "blocked"
"""Reasons: in a folder that is not wanted, received before the horizon, from or to somebody blocked."""

IMPORT_STREAM = "import"
IMPORT_PREFIX = "import:"
"""Imported mail: its stream, and how its remote ids begin. No provider's id begins so; a folder may have the name."""

KEPT_HEADERS = frozenset(
    {
        "date", "from", "sender", "reply-to", "to", "cc", "bcc", "subject", "message-id", "in-reply-to", "references",
        "list-id", "list-unsubscribe", "auto-submitted", "precedence",
    }
)  # fmt: skip
"""What stays of the headers where only metadata is kept: who, when, what about, and what ties mails together."""


UNSAVED_PREFIX = "draft:"
"""How the id of a draft begins that its provider has not got yet."""


def is_local(remote_id: str) -> bool:
    """Whether the provider knows nothing of a message: imported, or a draft on its way there."""
    return remote_id.startswith((IMPORT_PREFIX, UNSAVED_PREFIX))


def is_imported(remote_id: str) -> bool:
    """Whether a message came by an import and not from the provider."""
    return remote_id.startswith(IMPORT_PREFIX)


@dataclass(frozen=True, slots=True)
class Outside:
    """What the rules look at."""

    remote_id: str
    folder_ids: Sequence[str]
    received_at: datetime
    people: Sequence[str]
    """Addresses of sender and recipients, as the mail has them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a mail stays out. `rule` is the entry of the user's list that did it, "" where no entry did."""

    reason: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """The user's wish for one mailbox. The default wants everything."""

    folder_rule: str = ALL
    folder_ids: frozenset[str] = frozenset()
    since: datetime | None = None
    """Mail received before it is not fetched; None is everything. It does not move on: what was stored stays."""
    blocked: frozenset[str] = frozenset()
    """Addresses and domains in their compared form; a domain covers those under it."""
    own: frozenset[str] = frozenset()
    """The mailbox's own addresses, compared form: they are in every mail and no reason to keep one out."""
    metadata_only: bool = False

    def verdict(self, mail: Outside) -> Verdict | None:
        """None: it is wanted. What the provider does not know has no folder there, and its age is its user's choice."""
        if is_local(mail.remote_id):
            return self.blocks(mail.people)
        outside = self.folder_verdict(mail.folder_ids)
        if outside is None and self.since is not None and mail.received_at < self.since:
            outside = Verdict(AGE)
        return outside or self.blocks(mail.people)

    def folder_verdict(self, folder_ids: Collection[str]) -> Verdict | None:
        """By where it is alone: the part that changes when a mail is moved."""
        listed = sorted(self.folder_ids.intersection(folder_ids))
        if self.folder_rule == EXCLUDE and listed:
            return Verdict(FOLDER, listed[0])
        return Verdict(FOLDER) if self.folder_rule == INCLUDE and not listed else None

    def blocks(self, people: Sequence[str]) -> Verdict | None:
        """The entry of the blocklist that one of these addresses meets."""
        if self.blocked:
            for address in (normalise(email) or addresses.exact(email) for email in people):
                entry = next((one for one in _covering(address) if one in self.blocked), "")
                if entry and address not in self.own:
                    return Verdict(BLOCKED, entry)
        return None

    def wants_stream(self, stream: Stream, folders: Sequence[RemoteFolder], streams: Sequence[Stream]) -> bool:
        """Whether to ask for a stream at all. Where one stream holds many folders (labels), each mail is looked at."""
        own = {one.folder.remote_id for one in streams if one.folder is not None}
        labelled = any(folder.remote_id not in own for folder in folders)
        return labelled or stream.folder is None or self.folder_verdict([stream.folder.remote_id]) is None

    def widens(self, before: Scope) -> bool:
        """Whether mail that `before` kept out may be wanted now."""
        earlier = before.since is not None and (self.since is None or self.since < before.since)
        folders = (self.folder_rule, self.folder_ids) != (before.folder_rule, before.folder_ids)
        return earlier or folders or bool(before.blocked - self.blocked)


def _covering(address: str) -> Iterator[str]:
    """The entries that would block an address: itself, its domain, and the domains above that."""
    yield address
    domain = address.rpartition("@")[2]
    while "." in domain:
        yield domain
        domain = domain.partition(".")[2]


def people_of(parsed: ParsedMessage) -> list[str]:
    """Sender and recipients of a parsed message."""
    return [person.email for person in (parsed.sender, *parsed.to, *parsed.cc, *parsed.bcc)]


def metadata_of(parsed: ParsedMessage) -> ParsedMessage:
    """Without text, without the names of its attachments and what its invitations say."""
    return replace(
        parsed,
        text="",
        html="",
        headers=kept_headers(parsed.headers),
        attachments=tuple(_nameless(part) for part in parsed.attachments),
    )


def kept_headers(headers: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    """Those of KEPT_HEADERS, in order."""
    return tuple((name, value) for name, value in headers if name.lower() in KEPT_HEADERS)


def _nameless(part: AttachmentPart) -> AttachmentPart:
    return replace(part, file_name="", content_id="", calendar=None)
