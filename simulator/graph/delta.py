"""me/mailFolders/{id}/messages/delta: everything in the folder, then its changes, as a chain of absolute links into
which the first request's parameters are baked.

A round walks the folder newest first, then goes on with what changed since it began (so an item can come twice, and a
removal can come in the very first round), and ends in a delta link. What the settings `graph_delta_…` add: empty pages
with more to follow, items twice and out of order, replays, replication lag.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from simulator.errors import Refusal, graph_error
from simulator.exchange import Change, Folder, Item
from simulator.graph.access import CONTEXT, Call, Handler, bad_request, prefer
from simulator.graph.query import read_filter
from simulator.graph.resource import etag, selected, show
from simulator.wire import json_response

DEFAULT_PAGE = 10
FILTERED_LIMIT = 5_000
KINDS = {"created", "updated", "deleted"}
TOKENS = {"$skiptoken", "$deltatoken"}


def encode(**state: Any) -> str:
    """A token: opaque to the caller."""
    return base64.urlsafe_b64encode(json.dumps(state, separators=(",", ":")).encode()).decode().rstrip("=")


def decode(token: str) -> dict[str, Any]:
    try:
        state = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except ValueError as error:
        raise bad_request("Badly formed token.", "syncStateInvalid") from error
    if not isinstance(state, dict) or not {"s", "g"} <= set(state):
        raise bad_request("Badly formed token.", "syncStateInvalid")
    return state


def token_link(call: Call, *, skip: str = "", delta: str = "") -> str:
    name, value = ("$skiptoken", skip) if skip else ("$deltatoken", delta)
    return f"{call.origin}{call.request.path}?{name}={value}"


def check_room(call: Call) -> None:
    """A full mailbox refuses deltas while everything else reads."""
    if call.account.email in call.world.settings.graph_full_mailboxes:
        raise graph_error(403, "ErrorQuotaExceeded", "The mailbox has exceeded its quota.")


def check_generation(call: Call, place: str, generation: int) -> None:
    """Raises the refusal of a sync state that the server has forgotten."""
    if generation != call.mailbox.generations.get(place, 0):
        raise gone(call, *call.mailbox.refusals[place])


def gone(call: Call, status: int, code: str) -> Refusal:
    """410 comes with the address to begin again at; a 4xx only with its code."""
    refusal = graph_error(status, code, "The sync state generation is not found; the sync must begin again.")
    if status == 410:
        refusal.response.headers["Location"] = f"{call.origin}{call.request.path}?$deltatoken="
    return refusal


def delta(call: Call) -> object:
    check_room(call)
    folder = call.folder()
    state = _state(call, folder)
    if state["e"] > 0:
        empty = encode(**(state | {"e": state["e"] - 1}))
        return _answer(call, [], token_link(call, skip=empty), "")
    size = _page_size(call, state)
    if state["p"] is not None:
        return _enumerate(call, folder, state, size)
    return _replay(call, folder, state, size)


def _state(call: Call, folder: Folder) -> dict[str, Any]:
    """Where the walk stands. s: seq up to which changes are known · p: position in the first walk (None: over) ·
    n: given so far · e: empty pages still to come ·
    q: parameters of the first request · f: the folder · g: its generation of sync states."""
    token = call.request.argument("$skiptoken") or call.request.argument("$deltatoken")
    empty = call.world.settings.graph_delta_empty_pages
    if not token:
        start = {"s": _horizon(call), "g": call.mailbox.generations.get(folder.id, 0), "f": folder.id}
        return start | {"p": [1 << 60, 0], "n": 0, "e": empty, "q": _parameters(call)}
    state = decode(token)
    if state.get("f") != folder.id:
        raise bad_request("The token belongs to another collection.", "syncStateInvalid")
    check_generation(call, folder.id, int(state["g"]))
    if "$deltatoken" in call.request.query:
        state["e"] = empty
        state["s"] = max(0, state["s"] - call.world.settings.graph_delta_replays)
    return state


def _horizon(call: Call) -> int:
    """The last change that has been replicated."""
    lag = call.world.settings.graph_delta_lag_seconds
    if not lag:
        return call.mailbox.seq
    settled = [change.seq for change in call.mailbox.changes if change.time <= call.now - lag]
    return max(settled, default=0)


def _parameters(call: Call) -> dict[str, str]:
    given = {name: values[0] for name, values in call.request.query.items()}
    if "$search" in given or "$skip" in given:
        raise bad_request("This query option is not supported with change tracking.", "ErrorInvalidUrlQuery")
    selected(given.get("$select", ""))
    for name, _ in read_filter(given.get("$filter", "")):
        if name != "receivedDateTime":
            raise bad_request("Change tracking can be filtered by receivedDateTime only.", "ErrorInvalidUrlQueryFilter")
    if given.get("$orderby", "receivedDateTime desc").lower() != "receiveddatetime desc":
        raise bad_request("Change tracking can be sorted by receivedDateTime desc only.", "ErrorInvalidUrlQuery")
    if set(filter(None, given.get("changeType", "").split(","))) - KINDS:
        raise bad_request("changeType must be created, updated or deleted.")
    return {name: given[name] for name in ("$select", "$filter", "$top", "changeType", "$expand") if name in given}


def _page_size(call: Call, state: dict[str, Any]) -> int:
    text = prefer(call.request, "odata.maxpagesize") or state["q"].get("$top", "")
    return max(1, min(int(text), 1000)) if text.isdigit() else DEFAULT_PAGE


def _enumerate(call: Call, folder: Folder, state: dict[str, Any], size: int) -> object:
    """The first walk, newest first."""
    tests = [test for _, test in read_filter(state["q"].get("$filter", ""))]
    before = (int(state["p"][0]), int(state["p"][1]))
    horizon = call.now - call.world.settings.graph_delta_lag_seconds
    items = (item for item in call.mailbox.newest_first(folder.id, before) if item.created <= horizon)
    left = FILTERED_LIMIT - state["n"] if tests else size + 1
    found = list(islice((item for item in items if all(test(item) for test in tests)), min(size, left) + 1))
    more = len(found) > size and left > size
    found = found[: min(size, left)]
    value = [_full(call, item, state) for item in found] if "created" in _kinds(state) else []
    if more:
        state = state | {"p": list(found[-1].position), "n": state["n"] + len(found)}
        return _answer(call, value, token_link(call, skip=encode(**state)), "")
    return _answer(call, value, *_after(call, folder, state | {"p": None}))


def _after(call: Call, folder: Folder, state: dict[str, Any]) -> tuple[str, str]:
    """Next link and delta link once everything up to the state's seq is told: one of them is empty."""
    until = call.now - call.world.settings.graph_delta_lag_seconds
    if call.mailbox.changes_after(folder.id, state["s"], until):
        return token_link(call, skip=encode(**state)), ""
    state = state | {"s": max(state["s"], _horizon(call))}
    return "", token_link(call, delta=encode(**state))


def _replay(call: Call, folder: Folder, state: dict[str, Any], size: int) -> object:
    """Changes since the state's seq: one entry per item, each page as many items as fit."""
    until = call.now - call.world.settings.graph_delta_lag_seconds
    stream = call.mailbox.changes_after(folder.id, state["s"], until)
    groups: dict[str, list[Change]] = {}
    seq = state["s"]
    for change in stream:
        identity = change.immutable_id if call.immutable else change.id
        if identity not in groups and len(groups) == size:
            break
        groups.setdefault(identity, []).append(change)
        seq = change.seq
    entries = [entry for identity, group in groups.items() for entry in _entries(call, folder, identity, group, state)]
    return _answer(call, entries, *_after(call, folder, state | {"s": seq}))


def _entries(
    call: Call, folder: Folder, identity: str, group: list[Change], state: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """What the stream says of one item."""
    kinds, item = _kinds(state), call.mailbox.items.get(group[0].key)
    last, bug = group[-1], call.world.settings.graph_lost_item_bug
    here = item is not None and item.folder_id == folder.id and identity in (item.id, item.immutable_id)
    if call.immutable and bug and item is not None:
        if _came_back(group):
            # Out and in again between two calls: told as removed, and never heard of again
            # (microsoft-graph-docs-contrib issue 72).
            item.lost_in = folder.id
            last = next(change for change in reversed(group) if change.kind == "removed")
        elif item.lost_in == folder.id and last.kind != "removed":
            return
    if last.kind == "removed" or not here or item is None:
        if "deleted" in kinds:
            yield {"id": identity, "@removed": {"reason": last.reason or "deleted"}}
    elif any(change.kind == "added" for change in group):
        if "created" in kinds and _passes(item, state):
            yield _full(call, item, state)
    elif "updated" in kinds and _passes(item, state):
        yield _partial(call, item, group, state)


def _came_back(group: list[Change]) -> bool:
    """Removed, later added: the item had been here before the first of these changes."""
    return (
        group[0].kind != "added" and group[-1].kind != "removed" and any(change.kind == "removed" for change in group)
    )


def _kinds(state: dict[str, Any]) -> set[str]:
    return set(filter(None, state["q"].get("changeType", "").split(","))) or KINDS


def _passes(item: Item, state: dict[str, Any]) -> bool:
    return all(test(item) for _, test in read_filter(state["q"].get("$filter", "")))


def _full(call: Call, item: Item, state: dict[str, Any]) -> dict[str, Any]:
    expand = "" if state["q"].get("$expand", "").startswith("attachments") else None
    return {"@odata.type": "#microsoft.graph.message"} | show(
        call, item, selected(state["q"].get("$select", "")), attachments=expand
    )


def _partial(call: Call, item: Item, group: list[Change], state: dict[str, Any]) -> dict[str, Any]:
    """Only what changed: a property that is not there has not become null."""
    if not call.world.settings.graph_delta_partial:
        return _full(call, item, state)
    changed = {name for change in group for name in change.properties}
    names = [name for name in selected(state["q"].get("$select", "")) if name in changed]
    return {"@odata.type": "#microsoft.graph.message", "@odata.etag": etag(item)} | show(call, item, names)


def _answer(call: Call, value: list[dict[str, Any]], next_link: str, delta_link: str) -> object:
    if call.world.settings.graph_delta_repeats and value:
        value = [*reversed(value), *value]
    answer: dict[str, Any] = {"@odata.context": f"{CONTEXT}Collection(message)", "value": value}
    answer["@odata.nextLink" if next_link else "@odata.deltaLink"] = next_link or delta_link
    applied = prefer(call.request, "odata.maxpagesize")
    return json_response(answer, 200, {"Preference-Applied": f"odata.maxpagesize={applied}"} if applied else None)


HANDLERS: dict[str, Handler] = {"graph.mailFolders.messages.delta": delta}
