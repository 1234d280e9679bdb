"""What a mailbox holds, told twice without a word from the product: by the IMAP server through plain `imaplib`, and by
the standard library's parser; and what the product's API says of it, in the same terms.

A message is known by its folder and the moment the server got it (INTERNALDATE): the tests give each its own.
"""

from __future__ import annotations

import base64
import hashlib
import imaplib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from typing import Any

ROLES = {
    "INBOX": "inbox", "Sent": "sent", "Archive": "archive", "Drafts": "drafts", "Trash": "trash", "Junk": "spam",
}  # fmt: skip
_LINE = re.compile(rb'\((?P<flags>[^)]*)\) "?(?P<delimiter>[^" ]+)"? (?P<name>.+)$')
_FETCHED = re.compile(rb'FLAGS \((?P<flags>[^)]*)\).*INTERNALDATE "(?P<date>[^"]+)"', re.DOTALL)


@dataclass(frozen=True, order=True)
class Seen:
    """One message as a list shows it. `folder` is a role, or the folder's own name where it has none."""

    folder: str
    received: str
    read: bool
    starred: bool


def folders(door: imaplib.IMAP4) -> dict[bytes, str]:
    """Every folder: its name as the server writes it → in words."""
    found = {}
    for line in _checked(door.list()):
        match = _LINE.match(line)
        assert match, line
        if b"\\noselect" not in match["flags"].lower():
            name = match["name"].strip(b'"').replace(b'\\"', b'"')
            found[name] = _words(name.decode("ascii"))
    return found


def _words(name: str) -> str:
    """RFC 3501 5.1.3, modified UTF-7."""

    def piece(match: re.Match[str]) -> str:
        packed = match[1].replace(",", "/")
        return base64.b64decode(packed + "=" * (-len(packed) % 4)).decode("utf-16-be") if packed else "&"

    return re.sub(r"&([^-]*)-", piece, name)


def wire_name(name: str) -> str:
    """The other way round, quoted for a command."""
    packed = re.sub(
        r"[^ -~]+",
        lambda m: "&" + base64.b64encode(m[0].encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-",
        name.replace("&", "&-"),
    )
    return f'"{packed}"'


def told_by_server(door: imaplib.IMAP4) -> list[tuple[Seen, bytes]]:
    """Every message of every folder with its bytes."""
    return [told for name, words in folders(door).items() for told in _in_folder(door, name, words)]


def _in_folder(door: imaplib.IMAP4, name: bytes, words: str) -> Iterator[tuple[Seen, bytes]]:
    if int(_checked(door.select(f'"{name.decode()}"', readonly=True))[0]) == 0:
        return
    for answer in _checked(door.uid("FETCH", "1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")):
        if isinstance(answer, tuple):
            match = _FETCHED.search(answer[0])
            assert match, answer[0]
            moment = datetime.strptime(match["date"].decode().strip(), "%d-%b-%Y %H:%M:%S %z").astimezone(UTC)
            received = moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")
            flags = match["flags"].split()
            yield Seen(ROLES.get(words, words), received, b"\\Seen" in flags, b"\\Flagged" in flags), answer[1]


def _checked(answer: tuple[str, list[Any]]) -> list[Any]:
    assert answer[0] == "OK", answer
    return answer[1]


def told_by_api(get: Callable[..., Any], connection_id: str, folder: str) -> list[dict[str, Any]]:
    """Every email of a folder of the API, walked by cursor."""
    rows: list[dict[str, Any]] = []
    query = {"folder": folder, "limit": 100, "connectionId": connection_id}
    while True:
        page = get("email/inbox", **query)
        rows += page["data"]
        if page["pagination"]["nextCursor"] is None:
            assert page["pagination"]["total"] == len(rows), f"{folder}: the total is not what is there"
            return rows
        query["cursor"] = page["pagination"]["nextCursor"]


def seen_of(row: dict[str, Any]) -> Seen:
    return Seen(row["folder"], row["receivedAt"], row["isRead"], row["isStarred"])


def differences(server: list[tuple[Seen, bytes]], rows: list[dict[str, Any]]) -> dict[str, list[Seen]]:
    """Messages that only one side has, or has more often; nothing where the two agree."""
    theirs, ours = Counter(seen for seen, _ in server), Counter(seen_of(row) for row in rows)
    found = {"missing": theirs - ours, "too many": ours - theirs}
    found["twice"] = Counter([identity for identity, count in Counter(row["id"] for row in rows).items() if count > 1])
    return {what: sorted(which.elements()) for what, which in found.items() if which}


# --- one message, read independently ------------------------------------------------------------------------------


def parsed(raw: bytes) -> Message:
    return message_from_bytes(raw)


def message_id(message: Message) -> str | None:
    """None where the header is not what RFC 5322 says."""
    found = re.findall(r"<([^<>\s]+)>", str(message.get("Message-ID", "")))
    return found[0] if len(found) == 1 else None


def subject(message: Message) -> str | None:
    """None where the standard library cannot tell."""
    value = message.get("Subject", "")
    if not isinstance(value, str) or not value.isascii():
        return None
    try:
        text = str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        return None
    return squeezed(text)


def squeezed(text: str) -> str:
    """White space is what folding makes of it."""
    return " ".join(text.split())


def attachments(message: Message) -> Counter[str] | None:
    """Digest of each part that says it is an attachment; None where the message has defects or carries messages."""
    parts = list(message.walk())
    if any(part.defects or part.get_content_maintype() == "message" for part in parts):
        return None
    leaves = [part for part in parts if not part.is_multipart() and part.get_content_disposition() == "attachment"]
    return Counter(digest(part.get_payload(decode=True)) for part in leaves)


def digest(content: Any) -> str:
    """Line ends of text are the transport's business."""
    return hashlib.sha256(bytes(content).replace(b"\r\n", b"\n")).hexdigest()
