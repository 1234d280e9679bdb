"""users.drafts. A draft keeps its id; each new content is a new message, so its message id changes."""

from __future__ import annotations

from typing import Any

from simulator.gmail.access import Call, Handler, not_found
from simulator.gmail.listing import matching, page
from simulator.gmail.messages import outline, show
from simulator.gmail.sending import read_message, read_upload, send
from simulator.google_access import invalid
from simulator.mailbox import StoredMessage
from simulator.mime import read_facts


def _draft(call: Call, draft_id: str) -> StoredMessage:
    if draft_id not in call.mailbox.drafts:
        raise not_found()
    return call.mailbox.messages[call.mailbox.drafts[draft_id]]


def _store(call: Call, draft_id: str, old: StoredMessage | None = None) -> dict[str, Any]:
    """Files the content of the request under this draft id; new content stays in the old one's thread."""
    resource, raw = _content(call)
    wanted = str(resource.get("threadId") or "")
    if wanted and wanted not in call.mailbox.threads:
        raise not_found()
    joins = wanted and call.mailbox.belongs_to(read_facts(raw), wanted)
    thread_id = wanted if joins else old.thread_id if old else ""
    message = call.mailbox.add(raw, {"DRAFT"}, int(call.world.now() * 1000), thread_id, join=False)
    call.mailbox.drafts[draft_id] = message.id
    return {"id": draft_id, "message": outline(message)}


def _content(call: Call) -> tuple[dict[str, Any], bytes]:
    if call.request.path.startswith("/upload/"):
        return read_message(call)
    message = call.body().get("message")
    return read_message(call, message if isinstance(message, dict) else {})


def list_drafts(call: Call) -> dict[str, Any]:
    names = {message_id: draft_id for draft_id, message_id in call.mailbox.drafts.items()}
    drafts = (message for message in matching(call, ["DRAFT"]) if message.id in names)
    found, answer = page(call, drafts)
    if found:
        answer["drafts"] = [
            {"id": names[item.id], "message": {"id": item.id, "threadId": item.thread_id}} for item in found
        ]
    return answer


def create(call: Call) -> dict[str, Any]:
    answer = _store(call, call.mailbox.new_draft_id())
    call.changed("draft.created", id=answer["id"])
    return answer


def get(call: Call) -> dict[str, Any]:
    draft_id = call.request.params["id"]
    return {"id": draft_id, "message": show(call, _draft(call, draft_id))}


def update(call: Call) -> dict[str, Any]:
    draft_id = call.request.params["id"]
    old = _draft(call, draft_id)
    answer = _store(call, draft_id, old)
    call.mailbox.remove(old)
    call.changed("draft.changed", id=draft_id)
    return answer


def delete(call: Call) -> None:
    draft_id = call.request.params["id"]
    call.mailbox.remove(_draft(call, draft_id))
    call.changed("draft.deleted", id=draft_id)


def send_draft(call: Call) -> dict[str, Any]:
    """Sends a stored draft (its id in the body), with new content if some is given."""
    if call.request.path.startswith("/upload/"):
        resource, raw = read_upload(call.request)
    else:
        resource, raw = call.body(), b""
    draft_id = str(resource.get("id") or "")
    if not draft_id:
        raise invalid("Missing draft id")
    draft = _draft(call, draft_id)
    content = resource.get("message")
    if not raw and isinstance(content, dict) and content.get("raw"):
        raw = read_message(call, content)[1]
    others = len(call.mailbox.threads[draft.thread_id]) > 1
    sent = send(call, raw or draft.raw, draft.thread_id if others else "")
    call.mailbox.remove(draft)
    return outline(sent)


HANDLERS: dict[str, Handler] = {
    "gmail.users.drafts.list": list_drafts,
    "gmail.users.drafts.create": create,
    "gmail.users.drafts.get": get,
    "gmail.users.drafts.update": update,
    "gmail.users.drafts.delete": delete,
    "gmail.users.drafts.send": send_draft,
}
