"""The MIME tree as both sources give it: `structure` splits raw bytes into it, the Gmail provider builds it from the
API.

`message.from_parts` reads it. Values only; nothing here looks into a body.
"""

from __future__ import annotations

from dataclasses import dataclass

REPORT_BYTES = 64 * 1024
"""Of the parts of a delivery report, and of a mail that came back, so much is read."""
REPORT_TYPES = frozenset({"message/delivery-status", "message/rfc822", "text/rfc822-headers"})


@dataclass(frozen=True, slots=True)
class PartNode:
    """One node of a message's MIME tree, transfer encoding already undone. Text in it need not be clean yet."""

    part_id: str
    """The stable number of the part: the IMAP section ("1", "1.2"), or Gmail's `partId`. The root's is not used when it
    has children; a root without children is part "1" in IMAP and "" at Gmail, kept as given."""
    content_type: str
    """"type/subtype" without parameters, any case; "" counts as text/plain. Parameters are read from `headers`."""
    headers: tuple[tuple[str, str], ...] = ()
    """The part's own headers. For the root they may be empty: the message's headers are given beside the tree."""
    file_name: str = ""
    """Where the source already knows it decoded (Gmail's `filename`); "" lets the parser read it from the headers."""
    body: bytes | None = None
    """Decoded bytes; None where they were not fetched: such a part can only be an attachment, or defective text."""
    size: int = 0
    """Decoded size by the source's account; used where `body` is None."""
    children: tuple[PartNode, ...] = ()
    """In order. Children of a message/rfc822 are ignored: it counts as one attachment."""
