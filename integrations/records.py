"""What integration providers hand to services as plain values: the records of a CRM, page by page; and what they take:
the rows of an email log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
