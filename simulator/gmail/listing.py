"""Lists of messages and threads share their filters and their paging: newest first, from a position on, so that a page
costs the same at any depth and mail that arrives meanwhile shifts nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from simulator.errors import google_error
from simulator.gmail.access import Call, page_size
from simulator.gmail.query import Query, read_query, visible
from simulator.google_access import flag, invalid, opaque, reveal
from simulator.mailbox import StoredMessage


def matching(call: Call, extra_labels: Iterable[str] = ()) -> Iterator[StoredMessage]:
    """Messages that fit labelIds (all of them), q and includeSpamTrash, from the page token on."""
    request = call.request
    labels = {*request.query.get("labelIds", []), *extra_labels}
    unknown = sorted(labels - call.mailbox.labels.keys())
    if unknown:
        raise invalid(f"Invalid label: {unknown[0]}")
    text = request.argument("q")
    if text and call.limited_to_metadata():
        raise google_error(403, "Metadata scope does not support 'q' parameter", "forbidden")
    query = read_query(text, call.mailbox)
    hidden_too = flag(request, "includeSpamTrash") or query.hidden_too or bool(labels & {"SPAM", "TRASH"})
    for message in _candidates(call, query):
        if labels <= message.labels and visible(message, hidden_too) and query.accepts(message):
            yield message


def _candidates(call: Call, query: Query) -> Iterable[StoredMessage]:
    token = call.request.argument("pageToken")
    position = _position(token) if token else None
    if query.message_id:
        known = call.mailbox.by_message_id
        ids = [*known.get(f"<{query.message_id}>", []), *known.get(query.message_id, [])]
        return (call.mailbox.messages[identity] for identity in ids)
    return call.mailbox.newest_first(position)


def _position(token: str) -> tuple[int, str]:
    match reveal(token):
        case [int(date), str(identity)]:
            return date, identity
    raise invalid("Invalid pageToken")


def page(call: Call, messages: Iterator[StoredMessage]) -> tuple[list[StoredMessage], dict[str, object]]:
    """One page of messages and the fields every list answer has; an empty list has no list at all."""
    size = page_size(call.request)
    found = list(islice(messages, size + 1))
    rest: dict[str, object] = {"resultSizeEstimate": len(found)}
    if len(found) > size:
        rest = {"nextPageToken": opaque(found[size - 1].position), "resultSizeEstimate": 201}
    return found[:size], rest
