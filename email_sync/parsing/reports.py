"""Reports that a mail could not be delivered: standard ones (RFC 3464), and the texts of servers that write none.

Called by `message` in the bounded child. Promises: bounded work; never a report where nothing says that something
failed. It is a stranger's word: `services.bounces` believes it only of a mail that was sent, to those it was sent to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from email_sync.parsing import headers as head
from email_sync.parsing.parts import REPORT_BYTES, PartNode
from email_sync.parsing.text import one_line
from email_sync.records import OWN_ID_HEADER, DeliveryReport, FailedRecipient

STATUS_PART = "message/delivery-status"
ORIGINAL_PARTS = ("message/rfc822", "text/rfc822-headers")
MAX_RECIPIENTS = 100
MAX_IDS = 10
MAX_PARTS = 200
MAX_DIAGNOSTIC = 500

_DAEMONS = re.compile(
    r"(?i)(mailer-daemon|postmaster|mail-daemon|microsoftexchange[0-9a-f]*|mail\.?delivery|bounces?)\Z"
)
_DELAYED = re.compile(
    r"(?i)delivery (?:status notification \(delay\)|.{0,20}delayed)|will (?:keep trying|be retried)|\bwarning\b"
)
_FAILED = re.compile(
    r"(?i)undeliver|not? be delivered|fail|reject|returned|unknown|does not exist|no such|not reach|permanent|5\.\d\.\d"
)
_STATUS = re.compile(r"(?<![\d.])([45]\.\d{1,3}\.\d{1,3})(?![\d.])")
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_{|}~.-]{1,64}@[A-Za-z0-9.-]{1,190}[A-Za-z0-9]")
_ORIGINAL = re.compile(r"(?im)^[ \t>]*(?:return-path|received|message-id|from|date|mime-version|dkim-signature):")
_IDS = re.compile(r"(?im)^[ \t>]*(?:x-patchbay-)?message-id:\s*<([^<>\s]{1,250})>")


def find(headers: head.Headers, root: PartNode, text: str) -> DeliveryReport | None:
    """What a message reports, None where it is no report. `text` is its body."""
    if not _may_report(headers, root):
        return None
    values = head.by_name(headers)
    parts = list(_leaves(root))
    recipients = [failed for part in parts if _kind(part) == STATUS_PART for failed in _of_status(part)]
    ids = [found for part in parts if _kind(part) in ORIGINAL_PARTS for found in _ids_of_original(part)]
    if not any(_kind(part) == STATUS_PART for part in parts):
        recipients = list(_of_text(text, _first(values, "subject")))
    ids += _IDS.findall(text[:REPORT_BYTES])
    ids += [found for name in ("in-reply-to", "references") for found in head.references(_first(values, name))]
    if not recipients or not ids:
        return None
    return DeliveryReport(tuple(dict.fromkeys(ids))[:MAX_IDS], tuple(recipients[:MAX_RECIPIENTS]))


def _may_report(headers: head.Headers, root: PartNode) -> bool:
    """A standard report says so; others come from nobody, or from a daemon. Every message is asked: one look."""
    if _kind(root) in ("multipart/report", STATUS_PART):
        return True
    return any(
        value.strip() == "<>" if name == "return-path" else _is_daemon(value)
        for name, value in ((name.lower(), value) for name, value in headers)
        if name in ("from", "return-path")
    )


def _is_daemon(value: str) -> bool:
    address = value[:1000].rpartition("<")[2]
    return bool(_DAEMONS.search(address.partition("@")[0].strip(' "')))


def _first(values: Mapping[str, Sequence[str]], name: str) -> str:
    return next(iter(values.get(name, ())), "")


def _kind(part: PartNode) -> str:
    return part.content_type.lower()


def _leaves(root: PartNode) -> Iterator[PartNode]:
    """Every part, outer before inner, but nothing of the mail that came back: its own parts report nothing."""
    waiting = [root]
    for _ in range(MAX_PARTS):
        if not waiting:
            return
        part = waiting.pop(0)
        yield part
        if _kind(part) not in (STATUS_PART, *ORIGINAL_PARTS):
            waiting += part.children


# --- standard reports -------------------------------------------------------------------------------------------------


def _of_status(part: PartNode) -> Iterator[FailedRecipient]:
    """The recipients whose action is "failed". A provider's tree may have the blocks as parts of their own."""
    for fields in _blocks(part):
        if _first(fields, "action").strip().lower() != "failed":
            continue
        named = [_first(fields, name).rpartition(";")[2] for name in ("final-recipient", "original-recipient")]
        addresses = [found[0] for name in named if (found := _ADDRESS.search(name))]
        status = _STATUS.search(_first(fields, "status"))
        words = _first(fields, "diagnostic-code").partition(";")
        if addresses:
            yield _failed(addresses, status[1] if status else "", words[2] or words[0])


def _blocks(part: PartNode) -> Iterator[Mapping[str, Sequence[str]]]:
    for child in part.children[:MAX_RECIPIENTS]:
        yield head.by_name(child.headers)
        yield from _blocks_of(child.body or b"")
    yield from _blocks_of(part.body or b"")


def _blocks_of(body: bytes) -> Iterator[Mapping[str, Sequence[str]]]:
    body = body[:REPORT_BYTES]
    position = 0
    for _ in range(2 * MAX_RECIPIENTS):
        if position >= len(body):
            return
        fields, following = head.split_block(body, position, len(body))
        yield head.by_name(fields)
        position = following if following > position else position + 1


def _ids_of_original(part: PartNode) -> Iterator[str]:
    """The Message-ID of the mail that came back, and ours beside it."""
    blocks = [child.headers for child in part.children[:1]]
    body = (part.body or b"")[:REPORT_BYTES]
    if body:
        blocks.append(head.split_block(body, 0, len(body))[0])
    for block in blocks:
        fields = head.by_name(block)
        for name in ("message-id", OWN_ID_HEADER.lower()):
            if found := head.message_id(_first(fields, name)):
                yield found


def _failed(addresses: Sequence[str], status: str, words: str) -> FailedRecipient:
    return FailedRecipient(tuple(dict.fromkeys(addresses)), status, one_line(words, MAX_DIAGNOSTIC))


# --- texts ------------------------------------------------------------------------------------------------------------


def _of_text(text: str, subject: str) -> Iterator[FailedRecipient]:
    """The addresses above the mail that came back, each with the words of its paragraph (qmail, Exim, Exchange)."""
    text = text[:REPORT_BYTES]
    copy = _ORIGINAL.search(text)
    said = text[: copy.start()] if copy else text
    if _DELAYED.search(subject) or not _FAILED.search(f"{subject}\n{said}"):
        return
    overall = _STATUS.search(said)
    for place in list(_ADDRESS.finditer(said))[:MAX_RECIPIENTS]:
        words = re.split(r"\n\s*\n", said[place.start() : place.start() + 2 * MAX_DIAGNOSTIC])[0]
        status = _STATUS.search(words) or overall
        if status is None or status[1].startswith("5"):
            yield _failed([place[0]], status[1] if status else "", words[len(place[0]) :].lstrip(">:) \n"))
