"""Attachments of a message, and the upload sessions that carry the large ones into a draft."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from simulator.errors import graph_error
from simulator.exchange import Item
from simulator.exchange_mime import File
from simulator.graph.access import CONTEXT, Call, Handler, bad_request, created, item_not_found, stamped
from simulator.graph.content import Attachment, read_content
from simulator.graph.drafts import MAX_INLINE_BYTES, file_of, files_of, recompose, refuse_large
from simulator.graph.resource import attachment_id, show_attachment, stamp
from simulator.routing import Router
from simulator.state import World
from simulator.wire import Request, Response, json_response

MAX_BYTES = 150 * 1024 * 1024
MAX_RANGE = 4 * 1024 * 1024
SESSION_SECONDS = 3600
RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
UPLOAD_PATH = "/upload/AttachmentSessions/{session}"


@dataclass
class UploadSession:
    """Bytes on their way to a draft, put in order; whoever has the address may write."""

    call: Call
    key: int
    file: File
    size: int
    expires_at: float
    data: bytearray = field(default_factory=bytearray)


def _attachment(call: Call, item: Item) -> Attachment:
    """The one named in the path; its id begins with the id of the message under which it was listed."""
    wanted = call.request.params["attachment"]
    for attachment in read_content(item.raw).attachments:
        if wanted.endswith("ABIAEAA" + attachment.number):
            return attachment
    raise item_not_found()


def list_attachments(call: Call) -> dict[str, Any]:
    item, select = call.item(), call.request.argument("$select")
    shown = [show_attachment(call, item, attachment, select) for attachment in read_content(item.raw).attachments]
    return {"@odata.context": f"{CONTEXT}users('{call.account.subject}')/messages/attachments", "value": shown}


def get(call: Call) -> dict[str, Any]:
    item = call.item()
    return show_attachment(call, item, _attachment(call, item), call.request.argument("$select"))


def value(call: Call) -> Response:
    """The bytes; of a message inside the message, its MIME."""
    attachment = _attachment(call, call.item())
    return Response(200, attachment.data, {}, attachment.content_type or "message/rfc822")


def _draft(call: Call) -> Item:
    item = call.item()
    if not item.is_draft:
        raise bad_request("Attachments can be added to drafts only.", "ErrorInvalidRequest")
    return item


def add(call: Call, item: Item, file: File) -> Attachment:
    before = {found.number for found in read_content(item.raw).attachments}
    recompose(call, item, {}, [*files_of(item), file], ("hasAttachments",))
    found = read_content(item.raw).attachments
    return next((one for one in found if one.number not in before), found[-1])


def create(call: Call) -> Response:
    item, file = _draft(call), file_of(call.body())
    refuse_large(len(file.data))
    attachment = add(call, item, file)
    call.changed("attachment.created", id=item.immutable_id, size=len(file.data))
    return created(show_attachment(call, item, attachment))


def delete(call: Call) -> None:
    item = _draft(call)
    gone = _attachment(call, item)
    files = [file for file, found in zip(files_of(item), read_content(item.raw).attachments, strict=True)
             if found.number != gone.number]  # fmt: skip
    recompose(call, item, {}, files, ("hasAttachments",))
    call.changed("attachment.deleted", id=item.immutable_id)


def create_session(call: Call) -> Response:
    item, body = _draft(call), call.body()
    wanted = body.get("AttachmentItem", body.get("attachmentItem"))
    if not isinstance(wanted, dict) or not isinstance(wanted.get("size"), int) or not wanted.get("name"):
        raise bad_request("AttachmentItem with attachmentType, name and size is needed.", "ErrorInvalidRequest")
    size = int(wanted["size"])
    if size < MAX_INLINE_BYTES:
        message = "The attachment size is less than the minimum size of an upload session."
        raise bad_request(message, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize")
    if size > MAX_BYTES:
        raise graph_error(413, "ErrorMessageSizeExceeded", "The attachment is larger than 150 MB.")
    kind = str(wanted.get("contentType") or "application/octet-stream")
    file = File(str(wanted["name"]), kind, b"", str(wanted.get("contentId") or ""), bool(wanted.get("isInline")))
    name = call.mailbox.random.randbytes(18).hex()
    session = UploadSession(call, item.key, file, size, call.now + SESSION_SECONDS)
    call.world.uploads[name] = session
    path = UPLOAD_PATH.replace("{session}", name)
    return created(
        {
            "@odata.context": f"{CONTEXT}microsoft.graph.uploadSession",
            "uploadUrl": f"{call.origin}{path}?authtoken={call.world.authority.secret_text('ey', 40)}",
            "expirationDateTime": stamp(session.expires_at),
            "nextExpectedRanges": ["0-"],
        }
    )


class Upload:
    """PUT on an upload address: a range at a time, in order, without an Authorization header."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, request: Request) -> Response:
        session = self.world.uploads.get(request.params["session"])
        if session is None or session.expires_at <= self.world.now():
            raise graph_error(404, "ErrorItemNotFound", "The upload session was not found.")
        request.account = session.call.account.email
        if "authorization" in request.headers:
            raise graph_error(401, "InvalidAuthenticationToken", "An upload address takes no Authorization header.")
        start, end = self._range(request, session)
        if end - start + 1 != len(request.body) or len(request.body) > MAX_RANGE:
            raise graph_error(400, "ErrorInvalidRequest", "The range does not fit the body, or is larger than 4 MB.")
        session.data += request.body
        request.effect = {"kind": "upload.range", "start": start, "end": end}
        if len(session.data) < session.size:
            return stamped(self.world, request, json_response(_progress(session)))
        return self._finish(request, session)

    def _range(self, request: Request, session: UploadSession) -> tuple[int, int]:
        found = RANGE.fullmatch(request.headers.get("content-range", ""))
        if found is None or int(found[3]) != session.size:
            raise graph_error(400, "ErrorInvalidRequest", "Content-Range is missing or does not fit the session.")
        if int(found[1]) != len(session.data):
            raise graph_error(416, "ErrorInvalidRange", f"The next range begins at {len(session.data)}.")
        return int(found[1]), int(found[2])

    def _finish(self, request: Request, session: UploadSession) -> Response:
        call, item = session.call, session.call.mailbox.items.get(session.key)
        if item is None or not item.is_draft:
            raise graph_error(404, "ErrorItemNotFound", "The specified object was not found in the store.")
        file = session.file
        whole = File(file.name, file.content_type, bytes(session.data), file.content_id, file.inline)
        attachment = add(call, item, whole)
        del self.world.uploads[request.params["session"]]
        identity = attachment_id(call, item, attachment)
        request.effect = {"kind": "attachment.created", "id": item.immutable_id, "size": session.size}
        path = f"{call.origin}/v1.0/me/messages/{call.id_of(item)}/attachments/{identity}"
        return Response(201, b"", {"Location": path})


def _progress(session: UploadSession) -> dict[str, Any]:
    return {
        "@odata.context": f"{CONTEXT}microsoft.graph.uploadSession",
        "expirationDateTime": stamp(session.expires_at),
        "nextExpectedRanges": [str(len(session.data))],
    }


def register_upload(router: Router, world: World) -> None:
    router.add("PUT", UPLOAD_PATH, "microsoft", "graph.upload", Upload(world))


HANDLERS: dict[str, Handler] = {
    "graph.messages.attachments.list": list_attachments,
    "graph.messages.attachments.create": create,
    "graph.messages.attachments.createUploadSession": create_session,
    "graph.messages.attachments.get": get,
    "graph.messages.attachments.value": value,
    "graph.messages.attachments.delete": delete,
}
