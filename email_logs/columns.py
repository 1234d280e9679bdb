"""The 13 columns of a log table: names, order and types of the source document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from email_logs.states import STATUS_WORDS, status_word


@dataclass(frozen=True, slots=True)
class Column:
    """`value` reads it off an entry's columns (a mapping by the model's names) and its table's provider."""

    name: str
    type: str
    value: Callable[[Mapping[str, Any], str], Any]
    withheld: bool = False
    """Not shown of a mailbox whose user shows metadata only."""


def _of(name: str) -> Callable[[Mapping[str, Any], str], Any]:
    return lambda entry, _: entry[name]


STATUSES = tuple(STATUS_WORDS)
"""What `Status` shows."""
DATE, TEXT, NUMBER = "Date", "Text", "Number"
COLUMNS = (
    Column("Sent At", DATE, _of("sent_at")),
    Column("To", TEXT, _of("to")),
    Column("From", TEXT, _of("sender")),
    Column("Subject", TEXT, _of("subject")),
    Column("Status", TEXT, lambda entry, _: status_word(entry["state"])),
    Column("Provider", TEXT, lambda _, provider: provider),
    Column("Message ID", TEXT, _of("message_id")),
    Column("CC", TEXT, _of("cc")),
    Column("BCC", TEXT, _of("bcc"), withheld=True),
    Column("Template ID", TEXT, _of("template_id")),
    Column("Source", TEXT, _of("source")),
    Column("Error", TEXT, _of("error"), withheld=True),
    Column("Attachments", NUMBER, _of("attachments"), withheld=True),
)
STORED = ("sent_at", "to", "sender", "subject", "state", "message_id", "cc", "bcc", "template_id", "source", "error",
          "attachments")  # fmt: skip
"""What of an entry they are made of."""


def cells(entry: Mapping[str, Any], provider: str, *, whole: bool) -> list[Any]:
    """The values of an entry in order; None for what is withheld, or true of neither word of `Status`."""
    return [None if column.withheld and not whole else column.value(entry, provider) for column in COLUMNS]
