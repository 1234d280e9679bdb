"""me/messages: list, get, MIME, change, move, copy, delete; and the translation of ids."""

from __future__ import annotations

import re
from typing import Any

from simulator.errors import graph_error
from simulator.exchange import EVERYWHERE, Item
from simulator.exchange_mime import regenerated
from simulator.graph.access import CONTEXT, Call, Handler, bad_request, created
from simulator.graph.query import listing
from simulator.graph.resource import etag, selected, show
from simulator.wire import Response, json_response

EXPAND = re.compile(r"attachments(?:\((.*)\))?", re.DOTALL)
FLAG_STATES = ("notFlagged", "complete", "flagged")
IMPORTANCES = ("low", "normal", "high")
# What may be changed in a message that is no draft.
ALWAYS = {"isRead", "flag", "categories", "importance", "inferenceClassification"}
ID_TYPES = ("restId", "restImmutableEntryId", "ewsId", "entryId", "immutableEntryId")
MAX_IDS = 1000


def expanded(call: Call) -> str | None:
    """The $select inside `$expand=attachments($select=…)`: None when attachments are not asked for."""
    text = call.request.argument("$expand")
    found = EXPAND.fullmatch(text.strip())
    if text and found is None:
        raise bad_request(f"Could not find a property named '{text}' to expand.", "RequestBroker--ParseUri")
    if found is None:
        return None
    return re.sub(r"^\$select=", "", found[1] or "")


def _list(call: Call, folder_id: str) -> dict[str, Any]:
    names, attachments = selected(call.request.argument("$select")), expanded(call)
    answer = listing(call, folder_id, lambda item: show(call, item, names, attachments=attachments))
    return {"@odata.context": f"{CONTEXT}users('{call.account.subject}')/messages"} | answer


def list_all(call: Call) -> dict[str, Any]:
    """Of every folder, Deleted Items and Junk Email included."""
    return _list(call, EVERYWHERE)


def list_folder(call: Call) -> dict[str, Any]:
    return _list(call, call.folder().id)


def count_all(call: Call) -> Response:
    return Response(200, str(call.mailbox.count()).encode(), {}, "text/plain")


def count_folder(call: Call) -> Response:
    return Response(200, str(call.mailbox.count(call.folder().id)).encode(), {}, "text/plain")


def shown(call: Call, item: Item) -> dict[str, Any]:
    """With the context line that a single message has."""
    return {"@odata.context": f"{CONTEXT}users('{call.account.subject}')/messages/$entity"} | show(call, item)


def get(call: Call) -> Response:
    item = call.item()
    value = show(call, item, selected(call.request.argument("$select")), attachments=expanded(call))
    applied = 'IdType="ImmutableId"' if call.immutable else ""
    return json_response(value, 200, {"Preference-Applied": applied} if applied else None)


def value(call: Call) -> Response:
    return Response(200, regenerated(call.item().raw), {}, "text/plain")


def check_version(call: Call, item: Item) -> None:
    wanted = call.request.headers.get("if-match", "")
    if wanted and wanted not in ("*", etag(item)):
        message = (
            "The send or update operation could not be performed because the change key passed in the request does not "
            "match the current change key for the item."
        )
        raise graph_error(412, "ErrorIrresolvableConflict", message)


def state_of(body: dict[str, Any]) -> dict[str, Any]:
    """The fields of Item that a body changes, checked as Graph checks them."""
    state: dict[str, Any] = {}
    if "isRead" in body:
        if not isinstance(body["isRead"], bool):
            raise bad_request("Cannot convert the literal to the expected type 'Edm.Boolean'.", "RequestBodyRead")
        state["is_read"] = body["isRead"]
    if "flag" in body:
        status = (body["flag"] or {}).get("flagStatus")
        if status not in FLAG_STATES:
            raise bad_request(f"Requested value '{status}' was not found.", "RequestBodyRead")
        state["flag"] = {"flagStatus": status}
    if "categories" in body:
        state["categories"] = [str(name) for name in body["categories"]]
    if "importance" in body:
        if body["importance"] not in IMPORTANCES:
            raise bad_request(f"Requested value '{body['importance']}' was not found.", "RequestBodyRead")
        state["importance"] = body["importance"]
    if "inferenceClassification" in body:
        state["focused"] = body["inferenceClassification"] == "focused"
    return state


def _place(call: Call) -> str:
    body = call.body()
    destination = body.get("destinationId", body.get("DestinationId"))
    if not isinstance(destination, str) or not destination:
        raise bad_request("The value of the parameter 'DestinationId' is empty.", "ErrorInvalidRequest")
    return call.folder_named(destination).id


def move(call: Call) -> Response:
    item, folder_id = call.item(), _place(call)
    reason = "changed" if folder_id == call.mailbox.place("deleteditems").id else "deleted"
    call.mailbox.move(item, folder_id, call.now, reason)
    call.changed("message.moved", id=item.immutable_id, folder=call.mailbox.folders[folder_id].name)
    return created(shown(call, item))


def copy(call: Call) -> Response:
    """Another item with the same content, read state and flag."""
    item, folder_id = call.item(), _place(call)
    twin = call.mailbox.add(
        item.raw, folder_id, item.received, call.now, conversation_id=item.conversation_id, is_read=item.is_read,
        flag=dict(item.flag), categories=list(item.categories), importance=item.importance, is_draft=item.is_draft,
    )  # fmt: skip
    call.changed("message.copied", id=twin.immutable_id, of=item.immutable_id)
    return created(shown(call, twin))


def delete(call: Call) -> None:
    """To Deleted Items; from there, for good."""
    item, bin_ = call.item(), call.mailbox.place("deleteditems")
    check_version(call, item)
    if item.folder_id == bin_.id:
        call.mailbox.remove(item, call.now)
    else:
        call.mailbox.move(item, bin_.id, call.now, "changed")
    call.changed("message.deleted", id=item.immutable_id)


def delete_for_good(call: Call) -> None:
    """An action that takes the same condition as DELETE does."""
    item = call.item()
    check_version(call, item)
    call.mailbox.remove(item, call.now)
    call.changed("message.purged", id=item.immutable_id)


def translate(call: Call) -> dict[str, Any]:
    """Between the two kinds of ids. Those of the other formats are not kept here and come back as errors."""
    body = call.body()
    ids, target = body.get("inputIds"), body.get("targetIdType")
    if not isinstance(ids, list) or not ids or len(ids) > MAX_IDS:
        raise bad_request("The number of ids must be between 1 and 1000.", "ErrorInvalidRequest")
    if target not in ID_TYPES or body.get("sourceIdType") not in ID_TYPES:
        raise bad_request("The id type is not valid.", "ErrorInvalidRequest")
    return {
        "@odata.context": f"{CONTEXT}Collection(microsoft.graph.convertIdResult)",
        "value": [_translated(call, str(identity), str(target)) for identity in ids],
    }


def _translated(call: Call, identity: str, target: str) -> dict[str, Any]:
    item = call.mailbox.item(identity)
    if item is None or target not in ID_TYPES[:2]:
        detail = {"code": "ErrorItemNotFound", "message": "The specified object was not found in the store."}
        return {"sourceId": identity, "errorDetails": detail}
    return {"sourceId": identity, "targetId": item.id if target == "restId" else item.immutable_id}


HANDLERS: dict[str, Handler] = {
    "graph.mailFolders.messages.list": list_folder,
    "graph.mailFolders.messages.count": count_folder,
    "graph.messages.list": list_all,
    "graph.messages.count": count_all,
    "graph.messages.get": get,
    "graph.messages.value": value,
    "graph.messages.delete": delete,
    "graph.messages.permanentDelete": delete_for_good,
    "graph.messages.move": move,
    "graph.messages.copy": copy,
    "graph.translateExchangeIds": translate,
}
