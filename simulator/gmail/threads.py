"""users.threads: list, get, modify."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from simulator.gmail.access import Call, Handler, is_id, not_found
from simulator.gmail.listing import matching, page
from simulator.gmail.messages import label_change, outline, relabel, show
from simulator.google_access import invalid
from simulator.mailbox import StoredMessage
from simulator.mime import snippet


def _members(call: Call) -> list[StoredMessage]:
    identity = call.request.params["id"]
    if not is_id(identity):
        raise invalid("Invalid id value")
    members = call.mailbox.thread(identity)
    if not members:
        raise not_found()
    return members


def _newest_of_threads(messages: Iterator[StoredMessage], call: Call) -> Iterator[StoredMessage]:
    """One message per thread: the one that is the thread's newest, so that a thread comes once over all pages."""
    for message in messages:
        if call.mailbox.thread(message.thread_id)[-1] is message:
            yield message


def list_threads(call: Call) -> dict[str, Any]:
    found, answer = page(call, _newest_of_threads(matching(call), call))
    if found:
        answer["threads"] = [
            {"id": message.thread_id, "snippet": snippet(message.raw), "historyId": _history_id(call, message)}
            for message in found
        ]
    return answer


def _history_id(call: Call, message: StoredMessage) -> str:
    return str(max(member.history_id for member in call.mailbox.thread(message.thread_id)))


def get(call: Call) -> dict[str, Any]:
    members = _members(call)
    return {
        "id": members[0].thread_id,
        "historyId": _history_id(call, members[0]),
        "messages": [show(call, member) for member in members],
    }


def modify(call: Call) -> dict[str, Any]:
    members = _members(call)
    add, remove = label_change(call, call.body())
    for member in members:
        relabel(call, member, add, remove)
    call.changed("thread.modified", id=members[0].thread_id, add=add, remove=remove)
    return {"id": members[0].thread_id, "messages": [outline(member) for member in members]}


HANDLERS: dict[str, Handler] = {
    "gmail.users.threads.list": list_threads,
    "gmail.users.threads.get": get,
    "gmail.users.threads.modify": modify,
}
