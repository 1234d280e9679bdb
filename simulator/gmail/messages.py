"""users.getProfile, users.messages (all but send), attachments and settings.sendAs."""

from __future__ import annotations

import json
from typing import Any

from simulator.errors import google_error
from simulator.gmail.access import Call, Handler, not_found
from simulator.gmail.listing import matching, page
from simulator.google_access import invalid
from simulator.mailbox import StoredMessage
from simulator.mime import Part, decode_base64url, encode_base64url, find_part, parse, render, snippet

FORMATS = ("full", "raw", "metadata", "minimal")
# Gmail's attachment ids are some 400 characters long and differ from one get to the next.
ATTACHMENT_ID_BYTES = 300


def profile(call: Call) -> dict[str, Any]:
    return {
        "emailAddress": call.account.email,
        "messagesTotal": len(call.mailbox.messages),
        "threadsTotal": len(call.mailbox.threads),
        "historyId": str(call.mailbox.history_id),
    }


def list_messages(call: Call) -> dict[str, Any]:
    found, answer = page(call, matching(call))
    if found:
        answer["messages"] = [{"id": message.id, "threadId": message.thread_id} for message in found]
    return answer


def get(call: Call) -> dict[str, Any]:
    return show(call, call.message())


def show(call: Call, message: StoredMessage) -> dict[str, Any]:
    """A message in the `format` the request asks for."""
    form = call.request.argument("format", "full").lower()
    if form not in FORMATS:
        raise invalid(f"Invalid value at 'format' (type.googleapis.com/MessageFormat), \"{form}\"")
    if form in ("full", "raw") and call.limited_to_metadata():
        raise google_error(403, f"Metadata scope doesn't allow format {form.upper()}", "forbidden")
    shown = outline(message) | {
        "snippet": snippet(message.raw),
        "historyId": str(message.history_id),
        "internalDate": str(message.internal_date),
        "sizeEstimate": len(message.raw),
    }
    if form == "raw":
        shown["raw"] = encode_base64url(message.raw)
    elif form == "full":
        shown["payload"] = render(parse(message.raw), lambda part: attachment_id(call, message, part))
    elif form == "metadata":
        shown["payload"] = _metadata(call, parse(message.raw))
    return shown


def outline(message: StoredMessage) -> dict[str, Any]:
    """What the changing calls and history answer with; a message without labels has no labelIds."""
    shown: dict[str, Any] = {"id": message.id, "threadId": message.thread_id}
    if message.labels:
        shown["labelIds"] = message.label_ids()
    return shown


def _metadata(call: Call, part: Part) -> dict[str, Any]:
    wanted = {name.lower() for name in call.request.query.get("metadataHeaders", [])}
    headers = [header for header in part.headers if not wanted or header["name"].lower() in wanted]
    return {"mimeType": part.mime_type, "headers": headers}


def attachment_id(call: Call, message: StoredMessage, part: Part) -> str:
    nonce = call.mailbox.random.getrandbits(64)
    text = json.dumps([message.id, part.part_id, nonce]).encode()
    return "ANGjdJ" + encode_base64url(text.ljust(ATTACHMENT_ID_BYTES))


def attachment(call: Call) -> dict[str, Any]:
    message = call.message("messageId")
    try:
        owner, part_id, _ = json.loads(decode_base64url(call.request.params["id"].removeprefix("ANGjdJ")))
    except (ValueError, TypeError) as error:
        raise invalid("Invalid attachment token") from error
    part = find_part(parse(message.raw), part_id) if owner == message.id else None
    if part is None or part.data is None:
        raise not_found()
    return {"size": len(part.data), "data": encode_base64url(part.data)}


def label_change(call: Call, body: dict[str, Any]) -> tuple[list[str], list[str]]:
    """addLabelIds and removeLabelIds of a body, checked as Gmail checks them."""
    add, remove = body.get("addLabelIds") or [], body.get("removeLabelIds") or []
    if not add and not remove:
        raise invalid("No label add or removes specified")
    if len(add) > 100 or len(remove) > 100:
        raise invalid("Too many labels to add or remove")
    for label in [*add, *remove]:
        if label in ("SENT", "DRAFT", "CHAT"):
            raise invalid(f"Invalid label: {label}")
        if label not in call.mailbox.labels:
            raise invalid("labelId not found")
    if set(add) & set(remove):
        raise invalid("Cannot both add and remove the same label")
    return add, remove


def relabel(call: Call, message: StoredMessage, add: list[str], remove: list[str]) -> None:
    """Applies a change; what goes to trash or spam leaves the inbox."""
    if set(add) & {"TRASH", "SPAM"}:
        remove = [*remove, "INBOX"]
    call.mailbox.relabel(message, add, remove)


def modify(call: Call) -> dict[str, Any]:
    message = call.message()
    add, remove = label_change(call, call.body())
    relabel(call, message, add, remove)
    call.changed("message.modified", id=message.id, add=add, remove=remove)
    return outline(message)


def _ids(body: dict[str, Any]) -> list[str]:
    ids = body.get("ids") or []
    if not ids:
        raise invalid("No message ids specified")
    if len(ids) > 1000:
        raise invalid("Too many message ids")
    return list(ids)


def batch_modify(call: Call) -> None:
    """Changes those that exist; never tells which did not."""
    body = call.body()
    ids = _ids(body)
    add, remove = label_change(call, body)
    for message in [call.mailbox.messages[identity] for identity in ids if identity in call.mailbox.messages]:
        relabel(call, message, add, remove)
    call.changed("message.modified", ids=ids, add=add, remove=remove)


def trash(call: Call) -> dict[str, Any]:
    message = call.message()
    relabel(call, message, ["TRASH"], [])
    call.changed("message.trashed", id=message.id)
    return outline(message)


def untrash(call: Call) -> dict[str, Any]:
    message = call.message()
    call.mailbox.relabel(message, remove=["TRASH"])
    call.changed("message.untrashed", id=message.id)
    return outline(message)


def delete(call: Call) -> None:
    message = call.message()
    call.mailbox.remove(message)
    call.changed("message.deleted", id=message.id)


def batch_delete(call: Call) -> None:
    ids = _ids(call.body())
    for message in [call.mailbox.messages[identity] for identity in ids if identity in call.mailbox.messages]:
        call.mailbox.remove(message)
    call.changed("message.deleted", ids=ids)


def send_as(call: Call) -> dict[str, Any]:
    primary = {
        "sendAsEmail": call.account.email,
        "displayName": call.account.name,
        "replyToAddress": "",
        "signature": "",
        "isPrimary": True,
        "isDefault": True,
    }
    aliases = [
        {
            "sendAsEmail": alias,
            "displayName": call.account.name,
            "replyToAddress": "",
            "signature": "",
            "treatAsAlias": True,
            "verificationStatus": "accepted",
        }
        for alias in call.account.aliases
    ]
    return {"sendAs": [primary, *aliases]}


HANDLERS: dict[str, Handler] = {
    "gmail.users.getProfile": profile,
    "gmail.users.messages.list": list_messages,
    "gmail.users.messages.get": get,
    "gmail.users.messages.attachments.get": attachment,
    "gmail.users.messages.modify": modify,
    "gmail.users.messages.batchModify": batch_modify,
    "gmail.users.messages.trash": trash,
    "gmail.users.messages.untrash": untrash,
    "gmail.users.messages.delete": delete,
    "gmail.users.messages.batchDelete": batch_delete,
    "gmail.users.settings.sendAs.list": send_as,
}
