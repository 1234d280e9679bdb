"""Drafts: created from JSON or MIME, as replies and forwards, changed by PATCH, given attachments."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from simulator.errors import graph_error
from simulator.exchange import Item
from simulator.exchange_mime import File, compose
from simulator.graph.access import Call, Handler, bad_request, created
from simulator.graph.content import Attachment, read_content
from simulator.graph.messages import ALWAYS, check_version, shown, state_of
from simulator.graph.resource import own_address
from simulator.mime import MESSAGE_ID
from simulator.wire import Response, json_response

# Properties of a draft that become its MIME.
CONTENT = {"subject", "body", "from", "sender", "toRecipients", "ccRecipients", "bccRecipients", "replyTo"}
CONTENT |= {"internetMessageId", "internetMessageHeaders", "importance", "attachments"}
READ_ONLY = {"@odata.type", "@odata.etag", "@odata.context", "id"}
MAX_CUSTOM_HEADERS = 5
MAX_INLINE_BYTES = 3 * 1024 * 1024
KEPT_HEADERS = ("References", "In-Reply-To")


def mime_of(call: Call) -> bytes | None:
    """The MIME of a text/plain body, None when the body is JSON."""
    if not call.request.headers.get("content-type", "").lower().startswith("text/plain"):
        return None
    try:
        raw = base64.b64decode("".join(call.request.body.decode("ascii").split()), validate=True)
    except (ValueError, binascii.Error) as error:
        message = "Invalid base64 string for MIME content."
        raise bad_request(message, "ErrorMimeContentInvalidBase64String") from error
    if b":" not in raw.split(b"\n", 1)[0]:
        raise bad_request("The MIME content is invalid.", "ErrorMimeContentInvalid")
    return raw


def new_message_id(call: Call) -> str:
    token = base64.b32encode(call.mailbox.random.randbytes(15)).decode()
    return f"<SIM{token}@SIM0000001.eurprd00.prod.outlook.com>"


def custom_headers(content: dict[str, Any]) -> dict[str, str]:
    """Only names that begin with x-; Graph refuses all others, References among them."""
    found = {str(item.get("name")): str(item.get("value")) for item in content.get("internetMessageHeaders") or []}
    for name, value in found.items():
        if not name.lower().startswith("x-") or not name.isascii() or "\n" in value or "\r" in value:
            message = f"The internet message header name '{name}' should start with 'x-' or 'X-'."
            raise bad_request(message, "InvalidInternetMessageHeader")
    if len(found) > MAX_CUSTOM_HEADERS:
        raise bad_request("Maximum number of headers in one message should be less than or equal to 5.",
                          "InvalidInternetMessageHeaderCollection")  # fmt: skip
    return found


def file_of(value: dict[str, Any]) -> File:
    """A fileAttachment in JSON; the other kinds are not imitated when writing."""
    kind = str(value.get("@odata.type", "")).lower().lstrip("#")
    if kind != "microsoft.graph.fileattachment":
        raise bad_request("The attachment must be a #microsoft.graph.fileAttachment.", "ErrorInvalidRequest")
    try:
        data = base64.b64decode(str(value.get("contentBytes") or ""), validate=True)
    except ValueError as error:
        raise bad_request("Cannot convert the value to type 'Edm.Binary'.", "RequestBodyRead") from error
    return File(
        str(value.get("name") or "attachment"), str(value.get("contentType") or "application/octet-stream"), data,
        str(value.get("contentId") or "").strip("<>"), bool(value.get("isInline")),
    )  # fmt: skip


def raw_of(call: Call, content: dict[str, Any], headers: dict[str, str] | None = None) -> bytes:
    """The MIME of a message in JSON, with whatever Exchange adds."""
    unknown = set(content) - CONTENT - ALWAYS - READ_ONLY - {"isDraft", "hasAttachments"}
    if any(not name.startswith("@") for name in unknown):
        name = sorted(unknown)[0]
        message = f"The property '{name}' does not exist on type 'microsoft.graph.message' or cannot be written."
        raise bad_request(message, "RequestBodyRead")
    files = [file_of(item) for item in content.get("attachments") or []]
    whole = {"from": own_address(call), "internetMessageId": new_message_id(call)}
    whole |= {name: value for name, value in content.items() if value is not None}
    return compose(whole, files, custom_headers(content) | (headers or {}), call.now)


def content_of(item: Item) -> dict[str, Any]:
    """A draft's MIME as the JSON it could have been made from."""
    read = read_content(item.raw)
    body = read.body("")
    return {
        "subject": read.first("subject"),
        "body": body,
        "from": next(iter(read.recipients("from")), None),
        "toRecipients": read.recipients("to"),
        "ccRecipients": read.recipients("cc"),
        "bccRecipients": read.recipients("bcc"),
        "replyTo": read.recipients("reply-to"),
        "internetMessageId": item.facts.message_id,
        "importance": item.importance,
    }


def files_of(item: Item) -> list[File]:
    return [as_file(attachment) for attachment in read_content(item.raw).attachments]


def as_file(attachment: Attachment) -> File:
    kind = attachment.content_type or "message/rfc822"
    return File(attachment.name, kind, attachment.data, attachment.content_id, attachment.inline)


def recompose(call: Call, item: Item, change: dict[str, Any], files: list[File], properties: tuple[str, ...]) -> None:
    """A draft's MIME anew: what it said, with `change` over it and these attachments."""
    read = read_content(item.raw)
    headers = {name: read.first(name.lower()) for name in KEPT_HEADERS if read.first(name.lower())}
    custom = {name: value for name, value in read.headers if name.lower().startswith("x-")}
    content = {name: value for name, value in (content_of(item) | change).items() if name in CONTENT}
    raw = compose(content, files, custom | custom_headers(change) | headers, call.now)
    call.mailbox.rewrite(item, raw, call.now, properties)


def store(call: Call, raw: bytes, folder_id: str = "", **state: Any) -> Item:
    """Files a new draft."""
    place = folder_id or call.mailbox.place("drafts").id
    return call.mailbox.add(raw, place, int(call.now), call.now, is_draft=True, is_read=True, **state)


def _with_message_id(call: Call, raw: bytes) -> bytes:
    if any(line.lower().startswith(b"message-id:") for line in raw.split(b"\n\n", 1)[0].splitlines()):
        return raw
    return f"Message-ID: {new_message_id(call)}\r\n".encode() + raw


def create(call: Call) -> Response:
    folder_id = call.folder().id if "folder" in call.request.params else ""
    raw = mime_of(call)
    if raw is not None:
        own = call.mailbox.new_conversation() if call.world.settings.graph_splits_conversations else ""
        item = store(call, _with_message_id(call, raw), folder_id, conversation_id=own)
    else:
        body = call.body()
        state = state_of({name: value for name, value in body.items() if name != "isRead"})
        item = store(call, raw_of(call, body), folder_id, **state)
    call.changed("draft.created", id=item.immutable_id)
    return created(shown(call, item))


def update(call: Call) -> Response:
    """PATCH: state of any message, content of a draft."""
    item, body = call.item(), call.body()
    check_version(call, item)
    content = {name: value for name, value in body.items() if name not in READ_ONLY and name not in ALWAYS}
    if content and not item.is_draft:
        message = "Update operation is invalid for property of a sent message."
        raise bad_request(message, "ErrorInvalidPropertyUpdateSentMessage")
    if set(content) - CONTENT:
        raise bad_request(
            f"The property '{sorted(set(content) - CONTENT)[0]}' cannot be changed.", "ErrorInvalidPropertySet"
        )
    state = state_of(body)
    call.mailbox.update(item, call.now, **state)
    if content:
        recompose(call, item, content, files_of(item), tuple(content))
    call.changed("message.modified", id=item.immutable_id, change=sorted(body))
    return json_response(shown(call, item))


# Replies and forwards


def answer_to(call: Call, item: Item, kind: str) -> Item:
    """The draft of a reply, a reply to all or a forward."""
    raw = mime_of(call)
    if raw is not None:
        return store(call, _with_message_id(call, raw), conversation_id=item.conversation_id)
    body = call.body()
    body = {name[:1].lower() + name[1:]: value for name, value in body.items()}
    message = dict(body.get("message") or {})
    if body.get("comment") is not None and message.get("body") is not None:
        raise bad_request(
            "Either the comment or the body of the message may be given, not both.", "ErrorInvalidRequest"
        )
    if kind == "forward" and body.get("toRecipients"):
        message.setdefault("toRecipients", body["toRecipients"])
    content = _addressed(call, item, kind) | message
    content.setdefault("body", _quoted(item, str(body.get("comment") or "")))
    attachments = list(content.pop("attachments", []))
    kept = files_of(item) if kind == "forward" else []
    draft = store(call, raw_of(call, content, _references(item)), conversation_id=item.conversation_id)
    if kept or attachments:
        recompose(call, draft, {}, [*kept, *(file_of(value) for value in attachments)], ("hasAttachments",))
    return draft


def _references(item: Item) -> dict[str, str]:
    read = read_content(item.raw)
    own = item.facts.message_id
    chain = MESSAGE_ID.findall(read.first("references") or read.first("in-reply-to"))
    return {"In-Reply-To": own, "References": " ".join([*chain, own])} if own else {}


def _addressed(call: Call, item: Item, kind: str) -> dict[str, Any]:
    read = read_content(item.raw)
    subject = read.first("subject")
    prefix = "FW: " if kind == "forward" else "RE: "
    content: dict[str, Any] = {"subject": subject if subject.upper().startswith(prefix) else prefix + subject}
    if kind == "forward":
        return content
    content["toRecipients"] = read.recipients("reply-to") or read.recipients("from")
    if kind == "replyAll":
        own = {call.account.email, *(alias.lower() for alias in call.account.aliases)}
        for name, header in (("toRecipients", "to"), ("ccRecipients", "cc")):
            others = [one for one in read.recipients(header) if one["emailAddress"]["address"].lower() not in own]
            content[name] = [*content.get(name, []), *others]
    return content


def _quoted(item: Item, comment: str) -> dict[str, str]:
    read = read_content(item.raw)
    if read.html is None:
        old = "\r\n".join(f"> {line}" for line in (read.text or "").splitlines())
        return {"contentType": "text", "content": f"{comment}\r\n\r\n________________________________\r\n{old}"}
    return {"contentType": "html", "content": f"<div>{comment}</div><hr>{read.html}"}


def _drafted(kind: str) -> Handler:
    def handle(call: Call) -> Response:
        draft = answer_to(call, call.item(), kind)
        call.changed("draft.created", id=draft.immutable_id)
        return created(shown(call, draft))

    return handle


def refuse_large(data_size: int) -> None:
    if data_size > MAX_INLINE_BYTES:
        message = "The attachment is larger than 3 MB; it needs an upload session."
        raise graph_error(413, "ErrorMessageSizeExceeded", message)


HANDLERS: dict[str, Handler] = {
    "graph.mailFolders.messages.create": create,
    "graph.messages.create": create,
    "graph.messages.update": update,
    "graph.messages.createReply": _drafted("reply"),
    "graph.messages.createReplyAll": _drafted("replyAll"),
    "graph.messages.createForward": _drafted("forward"),
}
