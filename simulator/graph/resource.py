"""A message as Graph's JSON: each property is a function, so that $select costs what it shows."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable
from typing import Any

from simulator.exchange import Item
from simulator.graph.access import Call, bad_request, prefer
from simulator.graph.content import Attachment, Content, preview, read_content, recipient, safe, sent_at

# Shown only when $select names them.
ON_DEMAND = {"internetMessageHeaders", "uniqueBody"}
MEETINGS = {"REQUEST": "meetingRequest", "CANCEL": "meetingCancelled", "REPLY": "meetingAccepted"}
SENTINEL = "0001-01-01T00:00:00Z"

Property = Callable[[Call, Item, Content], Any]


def stamp(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    except (ValueError, OverflowError, OSError):
        return SENTINEL


def etag(item: Item) -> str:
    return f'W/"{change_key(item)}"'


def change_key(item: Item) -> str:
    return "CQAAABYA" + base64.b64encode(f"{item.key:012}{item.version:012}".encode()).decode()


def _body(call: Call, item: Item, content: Content) -> dict[str, str]:
    body = content.body(prefer(call.request, "outlook.body-content-type").lower())
    if "outlook.allow-unsafe-html" not in call.request.headers.get("prefer", "").lower() and item.is_draft is False:
        body["content"] = safe(body["content"])
    return body


def _one(content: Content, name: str) -> dict[str, Any] | None:
    return next(iter(content.recipients(name)), None)


def _headers(content: Content) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in content.headers]


PROPERTIES: dict[str, Property] = {
    "createdDateTime": lambda call, item, content: stamp(item.created),
    "lastModifiedDateTime": lambda call, item, content: stamp(item.modified),
    "changeKey": lambda call, item, content: change_key(item),
    "categories": lambda call, item, content: list(item.categories),
    "receivedDateTime": lambda call, item, content: stamp(item.received),
    "sentDateTime": lambda call, item, content: stamp(sent_at(content, item.received)),
    "hasAttachments": lambda call, item, content: content.has_attachments(),
    "internetMessageId": lambda call, item, content: item.facts.message_id or None,
    "subject": lambda call, item, content: content.first("subject"),
    "bodyPreview": lambda call, item, content: preview(item.raw),
    "importance": lambda call, item, content: item.importance,
    "parentFolderId": lambda call, item, content: item.folder_id,
    "conversationId": lambda call, item, content: item.conversation_id,
    "conversationIndex": lambda call, item, content: base64.b64encode(item.conversation_id[-30:].encode()).decode(),
    "isDeliveryReceiptRequested": lambda call, item, content: False if item.is_draft else None,
    "isReadReceiptRequested": lambda call, item, content: bool(content.first("disposition-notification-to")),
    "isRead": lambda call, item, content: item.is_read,
    "isDraft": lambda call, item, content: item.is_draft,
    "webLink": lambda call, item, content: f"https://outlook.office365.com/owa/?ItemID={item.id}&exvsurl=1",
    "inferenceClassification": lambda call, item, content: "focused" if item.focused else "other",
    "body": _body,
    "sender": lambda call, item, content: _one(content, "sender") or _one(content, "from"),
    "from": lambda call, item, content: _one(content, "from"),
    "toRecipients": lambda call, item, content: content.recipients("to"),
    "ccRecipients": lambda call, item, content: content.recipients("cc"),
    "bccRecipients": lambda call, item, content: content.recipients("bcc"),
    "replyTo": lambda call, item, content: content.recipients("reply-to"),
    "flag": lambda call, item, content: dict(item.flag),
    "uniqueBody": _body,
    "internetMessageHeaders": lambda call, item, content: _headers(content),
}
EVERYTHING = tuple(name for name in PROPERTIES if name not in ON_DEMAND)
# Mail.ReadBasic shows neither text nor attachments.
CONTENT_PROPERTIES = {"body", "uniqueBody", "bodyPreview", "internetMessageHeaders", "attachments"}


def selected(text: str) -> tuple[str, ...]:
    """The names in $select; everything when it is empty. An unknown name is 400, `id` comes anyway."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {name.lower(): name for name in PROPERTIES}
    for name in names:
        if name.lower() not in known and name.lower() not in ("id", "*", "@odata.type"):
            message = f"Could not find a property named '{name}' on type 'microsoft.graph.message'."
            raise bad_request(message, "RequestBroker--ParseUri")
    if not names or "*" in names:
        return EVERYTHING
    return tuple(known[name.lower()] for name in names if name.lower() in known)


def show(
    call: Call, item: Item, names: Iterable[str] = EVERYTHING, *, attachments: str | None = None
) -> dict[str, Any]:
    """A message with these properties; `attachments` is the $select inside $expand=attachments(...)."""
    content = read_content(item.raw)
    basic = not {"mail.read", "mail.readwrite"} & {scope.lower() for scope in call.token.scopes}
    shown: dict[str, Any] = {"@odata.etag": etag(item), "id": call.id_of(item)}
    if content.meeting in MEETINGS:
        shown = {"@odata.type": "#microsoft.graph.eventMessageRequest"} | shown
        shown["meetingMessageType"] = MEETINGS[content.meeting]
    for name in names:
        if not basic or name not in CONTENT_PROPERTIES:
            shown[name] = PROPERTIES[name](call, item, content)
    if attachments is not None and not basic:
        shown["attachments"] = [show_attachment(call, item, found, attachments) for found in content.attachments]
    return shown


def attachment_id(call: Call, item: Item, attachment: Attachment) -> str:
    """The message's id with a tail; so it changes when the message's id does."""
    return call.id_of(item).rstrip("=") + "ABIAEAA" + attachment.number


def show_attachment(call: Call, item: Item, attachment: Attachment, select: str = "") -> dict[str, Any]:
    shown = {
        "@odata.type": f"#microsoft.graph.{attachment.kind}Attachment",
        "@odata.mediaContentType": attachment.content_type or "message/rfc822",
        "id": attachment_id(call, item, attachment),
        "lastModifiedDateTime": stamp(item.modified),
        "name": attachment.name,
        "contentType": attachment.content_type or None,
        # Exchange counts the attachment's own properties, too.
        "size": len(attachment.data) + 300,
        "isInline": attachment.inline,
    }
    if attachment.kind == "file":
        shown |= {"contentId": attachment.content_id or None, "contentLocation": None}
        shown["contentBytes"] = base64.b64encode(attachment.data).decode()
    names = {name.strip().lower() for name in select.split(",") if name.strip()}
    wanted = {name.rpartition("/")[2] for name in names}
    if not wanted:
        return shown
    return {
        name: value for name, value in shown.items() if name.startswith("@") or name == "id" or name.lower() in wanted
    }


def own_address(call: Call) -> dict[str, Any]:
    return recipient(call.account.name, call.account.email)
