"""Gmail's messages as records: labels to state, the part tree to a ParsedMessage.

Called by `provider`. Promised: a message that came is never dropped; what cannot be read of it is named in its
`defect`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from core.errors import ProviderUnavailable, RemoteMissing
from email_sync.parsing.message import from_parts
from email_sync.parsing.parts import REPORT_BYTES, PartNode
from email_sync.providers.gmail.answers import (
    Json,
    child,
    children,
    decoded,
    identifier_or_none,
    identifiers,
    number,
    text,
)
from email_sync.records import ARCHIVE, DRAFTS, INBOX, SENT, SPAM, TRASH, ParsedMessage, RemoteMessage, RemoteState

ROLES = {"INBOX": INBOX, "SENT": SENT, "DRAFT": DRAFTS, "TRASH": TRASH, "SPAM": SPAM}
UNREAD, STARRED = "UNREAD", "STARRED"
FLAGS = frozenset({UNREAD, STARRED})
"""Labels that are flags and no places."""

SMALL_REPORT_TYPES = ("message/delivery-status", "text/rfc822-headers")
MAX_DEPTH = 50
MAX_PARTS = 1000
MAX_TEXT_BYTES = 5 * 1024 * 1024
"""A text that is kept apart is fetched up to this size."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHARSET = re.compile(r";\s*charset\*?\d*\*?\s*=\s*(\"[^\"]*\"|[^;\s]*)", re.IGNORECASE)

LoadBody = Callable[[str], bytes]
"""From an attachment id to the decoded bytes."""


def state_of(remote_id: str, labels: Iterable[str]) -> RemoteState:
    """The neutral state of a message that carries `labels`. There is no archive label: it is the lack of the others."""
    labels = set(labels)
    roles = frozenset(ROLES[label] for label in labels if label in ROLES)
    return RemoteState(
        remote_id=remote_id,
        folder_ids=tuple(sorted(labels - FLAGS)),
        roles=roles or frozenset({ARCHIVE}),
        is_read=UNREAD not in labels,
        is_starred=STARRED in labels,
    )


def message_of(remote_id: str, answer: Json, load: LoadBody) -> RemoteMessage:
    """A message by its `full` form; `load` fetches texts that are kept apart. Without labels the field is absent."""
    parsed = _parsed(answer, load)
    received_at = _time(answer) or parsed.sent_at
    if received_at is None:
        received_at, parsed = EPOCH, _with_defect(parsed, "Gmail names no time of arrival.")
    return RemoteMessage(
        state=state_of(remote_id, identifiers(answer, "labelIds")),
        received_at=received_at,
        size=number(answer, "sizeEstimate"),
        thread_remote_id=identifier_or_none(answer, "threadId"),
        parsed=parsed,
    )


def find_part(payload: Json, part_id: str) -> Json | None:
    """The part with this id, also the message itself where it has only one; None where there is none."""
    waiting = [payload]
    for _ in range(MAX_PARTS):
        if not waiting:
            return None
        part = waiting.pop()
        inner = children(part, "parts")
        if text(part, "partId") == part_id and not (part is payload and inner):
            return part
        waiting += inner
    return None


def headers_of(part: Json) -> tuple[tuple[str, str], ...]:
    """Name and value in order; Gmail has decoded them."""
    found = part.get("headers")
    pairs = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    return tuple((text(pair, "name"), text(pair, "value")) for pair in pairs if text(pair, "name"))


def _parsed(answer: Json, load: LoadBody) -> ParsedMessage:
    payload = child(answer, "payload")
    tree = _Tree(load)
    root = tree.node(payload, 0)
    parsed = from_parts(headers_of(payload), root)
    if "body" not in payload and "parts" not in payload:
        tree.defects.append("Gmail gave no content.")
    return _with_defect(parsed, *dict.fromkeys(tree.defects))


def _with_defect(parsed: ParsedMessage, *defects: str) -> ParsedMessage:
    return replace(parsed, defect=" ".join(filter(None, [parsed.defect, *defects])))


def _time(answer: Json) -> datetime | None:
    """internalDate: milliseconds since 1970 as text."""
    milliseconds = number(answer, "internalDate")
    try:
        return EPOCH + timedelta(milliseconds=milliseconds) if milliseconds else None
    except OverflowError:
        return None


@dataclass
class _Tree:
    """Builds a message's part tree within bounds."""

    load: LoadBody
    parts: int = 0
    defects: list[str] = field(default_factory=list)

    def node(self, part: Json, depth: int) -> PartNode:
        """A part with what is below it."""
        self.parts += 1
        headers = headers_of(part)
        body = self._body(part)
        kind = text(part, "mimeType")
        if body is not None and kind.lower().startswith("text/"):
            headers = _truly_labelled(headers, kind, body)
        return PartNode(
            part_id=text(part, "partId"),
            content_type=kind,
            headers=headers,
            file_name=text(part, "filename"),
            body=body,
            size=number(child(part, "body"), "size") if body is None else len(body),
            children=tuple(self.node(inner, depth + 1) for inner in self._inner(part, depth)),
        )

    def _inner(self, part: Json, depth: int) -> Iterable[Json]:
        """The parts within, as many as the bounds allow."""
        try:
            inner = children(part, "parts")
        except ProviderUnavailable:
            self.defects.append("Gmail gave parts that cannot be read.")
            return
        for item in inner:
            if depth >= MAX_DEPTH or self.parts >= MAX_PARTS:
                self.defects.append("There are more parts than are read.")
                return
            yield item

    def _body(self, part: Json) -> bytes | None:
        """The bytes where they are here or belong to the text; None for an attachment that is fetched on demand."""
        body = child(part, "body")
        data, apart = text(body, "data"), text(body, "attachmentId")
        if data:
            content = decoded(data)
            if content is None:
                self.defects.append("A part cannot be decoded.")
            return content
        if not apart:
            return b"" if not part.get("parts") else None
        kind, size = text(part, "mimeType").lower(), number(body, "size")
        is_text = kind in ("text/plain", "text/html") and not text(part, "filename")
        is_report = kind in SMALL_REPORT_TYPES and size <= REPORT_BYTES
        return self._load(apart, size) if is_text or is_report else None

    def _load(self, attachment_id: str, size: int) -> bytes | None:
        if size > MAX_TEXT_BYTES:
            self.defects.append("A text is too large to be stored.")
            return None
        try:
            return self.load(attachment_id)
        except RemoteMissing:
            self.defects.append("A text is no longer there.")
            return None


def _truly_labelled(headers: tuple[tuple[str, str], ...], kind: str, body: bytes) -> tuple[tuple[str, str], ...]:
    """Headers whose charset is the body's.

    Gmail turns texts into UTF-8 and leaves the header as it came (github.com/openclaw/gogcli/issues/446). Text of
    another charset is next to never valid UTF-8; ISO-2022, which can be, has escapes.
    """
    if b"\x1b" in body:
        return headers
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return headers
    given = next((value for name, value in headers if name.lower() == "content-type"), kind)
    label = ("Content-Type", f"{_CHARSET.sub('', given)}; charset=utf-8")
    return (label, *(pair for pair in headers if pair[0].lower() != "content-type"))
