"""What ids, cursors and keys look like as text, and reading the few facts of a message that IMAP itself gives.

A remote id is `uidvalidity/uid/folder`: only the three together name a message (RFC 3501 2.3.1.1). A cursor is JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple

from core.errors import CursorExpired, RemoteMissing
from email_sync.providers.imap.wire import Fields, Value, words
from email_sync.records import ARCHIVE, RemoteFolder, RemoteState

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS = {name.lower().encode("ascii"): number for number, name in enumerate(_MONTHS, 1)}
_INTERNALDATE = re.compile(rb"\s*(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")


@cache
def _ids(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?im)^%s[ \t]*:((?:[^\r\n]|\r?\n[ \t])*)" % re.escape(name.encode("ascii")))


class Place(NamedTuple):
    """A remote id taken apart."""

    uidvalidity: int
    uid: int
    folder: str


def remote_id(uidvalidity: int, uid: int, folder: str) -> str:
    """At most 500 characters, since `folders.FOLDER_ID_LIMIT` bounds the folder's id."""
    return f"{uidvalidity}/{uid}/{folder}"


def place(text: str) -> Place:
    """RemoteMissing where the text was never an id of ours: then nothing has it."""
    uidvalidity, _, rest = text.partition("/")
    uid, _, folder = rest.partition("/")
    if not (uidvalidity.isdecimal() and uid.isdecimal() and folder):
        raise RemoteMissing()
    return Place(int(uidvalidity), int(uid), folder)


@dataclass(frozen=True, slots=True)
class Cursor:
    """What was seen of a folder. The three sets are None where the server tells without them."""

    uidvalidity: int
    uidnext: int
    messages: int
    modseq: int = 0
    """HIGHESTMODSEQ; 0 where the server has none."""
    known: str | None = None
    """All UIDs, where expunges are not reported (no QRESYNC)."""
    unseen: str | None = None
    flagged: str | None = None
    """UIDs without \\Seen and with \\Flagged, where changed flags are not reported (no CONDSTORE)."""

    def dump(self) -> str:
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None})

    @classmethod
    def load(cls, text: str) -> Cursor:
        """CursorExpired where the text is no cursor of ours."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            raise CursorExpired() from None


def received_at(value: Value) -> datetime:
    """INTERNALDATE in UTC; the epoch where the server gives none that can be read."""
    found = _INTERNALDATE.match(value) if isinstance(value, bytes) else None
    if found is None:
        return EPOCH
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes)) * (-1 if sign == b"-" else 1)
    try:
        clock = int(hour), int(minute), min(int(second), 59)
        return datetime(int(year), _MONTH_NUMBERS[month.lower()], int(day), *clock, tzinfo=UTC) - offset
    except (ValueError, KeyError, OverflowError):
        return EPOCH


def search_date(moment: datetime) -> str:
    """`5-Jan-2026`, as SEARCH takes it: the month's name is English whatever the locale."""
    return f"{moment.day}-{_MONTHS[moment.month - 1]}-{moment.year}"


def message_id(header: bytes, name: str = "Message-ID") -> bytes:
    """The first Message-ID of a header or a whole message, without folding; b"" where there is none. `name` is the
    header that holds it."""
    end = header.find(b"\r\n\r\n")
    found = _ids(name).search(header, 0, end if end >= 0 else len(header))
    return b" ".join(found[1].split()) if found else b""


def content_key(header: bytes, arrived: datetime, size: Value) -> str:
    """The same for a message and its moved copy: a move keeps Message-ID, INTERNALDATE and RFC822.SIZE (RFC 6851 3.3).
    "" where the message has no Message-ID."""
    name = message_id(header)
    if not name:
        return ""
    figure = size if isinstance(size, bytes) else b""
    return hashlib.sha256(b"%s\0%d\0%s" % (name, int(arrived.timestamp()), figure)).hexdigest()


@dataclass(frozen=True, slots=True)
class Location:
    """A folder as its messages see it: what turns a FETCH answer into a state."""

    uidvalidity: int
    folder: RemoteFolder
    labels: Mapping[bytes, RemoteFolder] | None = None
    """At Gmail all mail is in one folder, and labels say where it is shown: label → folder (X-GM-EXT-1)."""

    @property
    def items(self) -> str:
        """The FETCH items a state is made of."""
        return "UID FLAGS" if self.labels is None else "UID FLAGS X-GM-LABELS"

    def state(self, uid: int, fields: Fields, key: str = "") -> RemoteState:
        flags = words(fields.get("FLAGS"))
        folders = self._folders(fields)
        return RemoteState(
            remote_id=remote_id(self.uidvalidity, uid, self.folder.remote_id),
            folder_ids=tuple(folder.remote_id for folder in folders),
            roles=frozenset(folder.role for folder in folders if folder.role) or self._archived(),
            is_read="\\seen" in flags,
            is_starred="\\flagged" in flags,
            content_key=key,
        )

    def _folders(self, fields: Fields) -> list[RemoteFolder]:
        labels = fields.get("X-GM-LABELS")
        if self.labels is None or not isinstance(labels, list):
            return [self.folder]
        names = [label for label in labels if isinstance(label, bytes)]
        return [self.folder, *(self.labels[name] for name in names if name in self.labels)]

    def _archived(self) -> frozenset[str]:
        """Gmail has no archive label: what no other role claims is archived."""
        return frozenset() if self.labels is None else frozenset({ARCHIVE})
