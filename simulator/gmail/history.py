"""users.history.list: what changed since a history id, in order; 404 when that id is too old."""

from __future__ import annotations

from typing import Any

from simulator.gmail.access import Call, Handler, not_found, page_size
from simulator.google_access import invalid, opaque, reveal
from simulator.mailbox import HistoryRecord

FIELDS = {
    "messageAdded": "messagesAdded",
    "messageDeleted": "messagesDeleted",
    "labelAdded": "labelsAdded",
    "labelRemoved": "labelsRemoved",
}


def list_history(call: Call) -> dict[str, Any]:
    request = call.request
    records = call.mailbox.history_after(_start(call))
    wanted = set(request.query.get("historyTypes", [])) or set(FIELDS)
    if wanted - set(FIELDS):
        raise invalid("Invalid value at 'history_types'")
    label = request.argument("labelId")
    # A label filter looks at the labels after the change, so the loss of that label itself stays unseen.
    records = [record for record in records if wanted & set(record.kinds) and (not label or label in record.labels)]
    size = page_size(request)
    answer: dict[str, Any] = {"historyId": str(call.mailbox.history_id)}
    if records:
        answer["history"] = [_show(record, wanted) for record in records[:size]]
    if len(records) > size:
        answer["nextPageToken"] = opaque(records[size - 1].id)
    return answer


def _start(call: Call) -> int:
    """The id to list from: a page token goes on where the page before ended."""
    text = call.request.argument("startHistoryId")
    if not text:
        raise invalid("Missing required parameter: startHistoryId", "required")
    if not text.isdigit() or int(text) >= 1 << 64:
        raise invalid(f"Invalid value at 'start_history_id' (TYPE_UINT64), \"{text}\"")
    start = int(text)
    if not call.mailbox.history_floor <= start <= call.mailbox.history_id:
        raise not_found()
    token = call.request.argument("pageToken")
    after = reveal(token) if token else start
    if not isinstance(after, int):
        raise invalid("Invalid pageToken")
    return after


def _show(record: HistoryRecord, wanted: set[str]) -> dict[str, Any]:
    """The typed arrays, and beside them the `messages` array that repeats them (and is to be ignored)."""
    identity = {"id": record.message_id, "threadId": record.thread_id}
    shown: dict[str, Any] = {"id": str(record.id), "messages": [identity]}
    for kind, labels in record.kinds.items():
        if kind not in wanted:
            continue
        entry: dict[str, Any] = {"message": identity | ({"labelIds": list(record.labels)} if record.labels else {})}
        if labels:
            entry["labelIds"] = list(labels)
        shown[FIELDS[kind]] = [entry]
    return shown


HANDLERS: dict[str, Handler] = {"gmail.users.history.list": list_history}
