"""What integration providers hand to services as plain values: the records of a CRM, page by page, and files; and what
they take: the rows of an email log, and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

CrmKind = Literal["contact", "company"]


@dataclass(frozen=True, slots=True)
class CrmRecord:
    """A contact with its addresses, or a company with its domains."""

    kind: CrmKind
    id: str
    """The CRM's own."""
    names: tuple[str, ...] = ()
    """Addresses or domains as the CRM has them, the primary one first; none where it is archived."""
    merged: tuple[str, ...] = ()
    """Ids of records that are this one now."""


@dataclass(frozen=True, slots=True)
class CrmPage:
    """Records that changed, and where to go on."""

    records: tuple[CrmRecord, ...]
    cursor: Mapping[str, Any]
    """JSON. For the next page; after the last one for the next look at what changed since."""
    last: bool = False
    """The CRM was looked through to its end."""
    total: int | None = None
    """How many records more there were to look at, told once when a kind begins; None on other pages."""


@dataclass(frozen=True, slots=True)
class CrmAccount:
    """Whose CRM it is."""

    id: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Worth showing, JSON."""


class CrmSource(Protocol):
    """A provider with the capability "contacts": it can be read from where the last look ended."""

    def account(self) -> CrmAccount:
        """Whose it is; raises where it is not the one that is configured."""

    def read_page(self, cursor: Mapping[str, Any]) -> CrmPage:
        """The next page after `cursor`; an empty one begins with everything there is. Repeating a page does no harm."""

    def entity_type(self, kind: CrmKind) -> str:
        """What the embedding product calls such records."""


class LogTarget(Protocol):
    """A provider with the capability "logs": one of its tables mirrors an email log."""

    log_batch: int
    """Rows a write may carry."""

    def log_table(self) -> str:
        """The table as configured, "" where none is: nothing is mirrored then."""

    def log_target(self) -> str:
        """Which table it is: another one begins anew."""

    def check_log_table(self, columns: Sequence[str]) -> None:
        """ProviderRejected where the table is not there or lacks columns; the message says what to make. Asks
        nothing that cannot be asked with the credentials there are: `write_log` then says it."""

    def write_log(self, rows: Sequence[Mapping[str, Any]], *, key: str) -> None:
        """Write at most `log_batch` rows, values by column: one whose `key` is there is laid over it. Repeating it
        does no harm."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at a vendor."""

    name: str
    content_type: str
    """As the vendor says."""
    size: int | None
    """None: known when it was read."""
    chunks: Iterable[bytes] = field(repr=False)
    """Once, in parts; asked of the vendor as they are wanted. It ends in an error where the file changed meanwhile."""


class FileStore(Protocol):
    """A provider with the capability "files": any size goes there and comes from there, in parts."""

    def new_file_id(self) -> str:
        """An id that no file has yet: what is sent under it is made once, however often it is tried."""

    def send_file(
        self,
        read: Callable[[int, int], bytes],
        size: int,
        *,
        name: str,
        content_type: str,
        file_id: str,
        given: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        """A content of `size` bytes, of which `read` gives (start, length), as a new file; where, says the action's
        input. The file as its actions show it."""

    def open_file(self, given: Mapping[str, Any]) -> RemoteFile:
        """The file that the action's input names."""
