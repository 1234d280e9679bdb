"""Graph's messages as records.

Called by `provider`. The mail itself comes as MIME, so that one parser reads every provider's mail; its state comes
from a small JSON form, the summary. Promised: a message that is there is never dropped: what Exchange cannot give as
MIME, or only as more than is taken, comes as an outline of its headers and text, marked as truncated.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from email_sync.parsing.text import one_line
from email_sync.records import DRAFTS, RemoteMessage, RemoteState
from integrations.providers.graph.answers import Json, child, identifier, moment, objects, text

SUMMARY = "id,isRead,flag,isDraft,parentFolderId,receivedDateTime,conversationId"
OUTLINE = (
    "id,internetMessageId,internetMessageHeaders,subject,from,toRecipients,ccRecipients,bccRecipients,sentDateTime,body"
)
MAX_VALUE = 4_000
MAX_THREAD_ID = 255
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OF_THE_PARTS = ("content-", "mime-version")


def is_whole(item: Json) -> bool:
    """Whether an object has all a state needs. In a change a property may be missing, which does not mean empty
    (reference 8.36)."""
    placed = bool(text(item, "parentFolderId"))
    return placed and isinstance(item.get("isRead"), bool) and "flagStatus" in child(item, "flag")


def state_of(item: Json, role: str) -> RemoteState:
    """The neutral state; `role` is the folder's. A draft lying in a folder without a role is a draft all the same."""
    folder_id = identifier(item, "parentFolderId")
    if not role and item.get("isDraft") is True:
        role = DRAFTS
    return RemoteState(
        remote_id=identifier(item),
        folder_ids=(folder_id,),
        roles=frozenset({role} if role else ()),
        is_read=item.get("isRead") is True,
        is_starred=text(child(item, "flag"), "flagStatus") == "flagged",
        stream=folder_id,
    )


def message_of(item: Json, role: str, raw: bytes, *, truncated: bool = False) -> RemoteMessage:
    """A message by its summary and its MIME."""
    thread = text(item, "conversationId")
    return RemoteMessage(
        state=state_of(item, role),
        received_at=moment(item, "receivedDateTime") or EPOCH,
        size=len(raw),
        thread_remote_id=thread if len(thread) <= MAX_THREAD_ID else "",
        raw=raw,
        truncated=truncated,
    )


def outline(item: Json) -> bytes:
    """A mail made from the JSON form: its headers as they came, completed, and its text. Without its attachments."""
    headers = list(_headers(item))
    given = {name.lower() for name, _ in headers}
    headers += [(name, value) for name, value in _known(item) if value and name.lower() not in given]
    body = child(item, "body")
    kind = "html" if text(body, "contentType").lower() == "html" else "plain"
    headers.append(("Content-Type", f"text/{kind}; charset=utf-8"))
    lines = [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", text(body, "content")]).encode("utf-8", "replace")


def _headers(item: Json) -> Iterator[tuple[str, str]]:
    for header in objects(item, "internetMessageHeaders"):
        name, value = one_line(text(header, "name"), 100), one_line(text(header, "value"), MAX_VALUE)
        if name and ":" not in name and not name.lower().startswith(_OF_THE_PARTS):
            yield name, value


def _known(item: Json) -> Iterator[tuple[str, str]]:
    """Headers by their properties: drafts and sent mail carry no others."""
    yield "Message-ID", one_line(text(item, "internetMessageId"), MAX_VALUE)
    yield "Subject", one_line(text(item, "subject"), MAX_VALUE)
    yield "From", _mailbox(child(item, "from"))
    for name in ("to", "cc", "bcc"):
        people = [_mailbox(person) for person in objects(item, f"{name}Recipients")]
        yield name.capitalize(), ", ".join(filter(None, people))
    sent = moment(item, "sentDateTime")
    yield "Date", f"{sent:%d %b %Y %H:%M:%S} +0000" if sent else ""


def _mailbox(person: Json) -> str:
    address = child(person, "emailAddress")
    email, name = one_line(text(address, "address"), 320), one_line(text(address, "name"), 320)
    quoted = name.replace("\\", "").replace('"', "")
    return f'"{quoted}" <{email}>' if email else ""
