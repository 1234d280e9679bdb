"""me/mailFolders: list, children, create, rename, delete, and the delta of the folder tree."""

from __future__ import annotations

from typing import Any

from simulator.errors import graph_error
from simulator.exchange import ROOT, TREE, Folder
from simulator.graph.access import CONTEXT, Call, Handler, bad_request, created
from simulator.graph.delta import check_generation, check_room, decode, encode, token_link
from simulator.graph.query import page
from simulator.wire import Response


def show(call: Call, folder: Folder) -> dict[str, Any]:
    """v1.0 does not say which well-known folder it is; `displayName` is in the user's language."""
    total, unread, size = call.mailbox.counts(folder.id)
    return {
        "id": folder.id,
        "displayName": folder.name,
        "parentFolderId": folder.parent_id or folder.id,
        "childFolderCount": len(call.mailbox.children(folder.id, hidden_too=False)),
        "unreadItemCount": unread,
        "totalItemCount": total,
        "sizeInBytes": size,
        "isHidden": folder.hidden,
    }


def narrowed(call: Call, shown: dict[str, Any]) -> dict[str, Any]:
    wanted = {name.strip().lower() for name in call.request.argument("$select").split(",") if name.strip()}
    if not wanted:
        return shown
    return {name: value for name, value in shown.items() if name == "id" or name.lower() in wanted}


def _list(call: Call, parent: Folder) -> dict[str, Any]:
    hidden_too = call.request.argument("includeHiddenFolders").lower() == "true"
    children = call.mailbox.children(parent.id, hidden_too=hidden_too)
    answer = page(call, children, lambda folder: narrowed(call, show(call, folder)), lambda: len(children))
    return {"@odata.context": f"{CONTEXT}users('{call.account.subject}')/mailFolders"} | answer


def list_folders(call: Call) -> dict[str, Any]:
    return _list(call, call.mailbox.place(ROOT))


def list_children(call: Call) -> dict[str, Any]:
    return _list(call, call.folder())


def get(call: Call) -> dict[str, Any]:
    return narrowed(call, show(call, call.folder()))


def _create(call: Call, parent: Folder) -> Response:
    body = call.body()
    name = _name(body)
    siblings = call.mailbox.children(parent.id, hidden_too=True)
    if any(folder.name.casefold() == name.casefold() for folder in siblings):
        raise graph_error(409, "ErrorFolderExists", "A folder with the specified name already exists.")
    folder = call.mailbox.add_folder(name, parent.id, hidden=bool(body.get("isHidden")))
    call.changed("folder.created", id=folder.id)
    return created(show(call, folder))


def _name(body: dict[str, Any]) -> str:
    name = str(body.get("displayName") or "").strip()
    if not name:
        raise bad_request("The folder name is missing.", "ErrorInvalidRequest")
    return name


def create(call: Call) -> Response:
    return _create(call, call.mailbox.place(ROOT))


def create_child(call: Call) -> Response:
    return _create(call, call.folder())


def update(call: Call) -> dict[str, Any]:
    folder = call.folder()
    call.mailbox.change_folder(folder, name=_name(call.body()))
    call.changed("folder.changed", id=folder.id)
    return show(call, folder)


def delete(call: Call) -> None:
    """Into Deleted Items; from there, for good. Well-known folders cannot go."""
    folder, bin_ = call.folder(), call.mailbox.place("deleteditems")
    if folder.well_known:
        raise graph_error(400, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted.")
    if folder.parent_id == bin_.id:
        call.mailbox.remove_folder(folder, call.now)
    else:
        call.mailbox.change_folder(folder, parent_id=bin_.id)
    call.changed("folder.deleted", id=folder.id)


def delta(call: Call) -> dict[str, Any]:
    """Every folder below the root, hidden ones not; then those that changed or went."""
    check_room(call)
    token = call.request.argument("$deltatoken")
    mailbox = call.mailbox
    seq = -1
    if token:
        state = decode(token)
        seq = int(state["s"])
        check_generation(call, TREE, int(state["g"]))
    context = f"{CONTEXT}users('{call.account.subject}')/mailFolders/$delta"
    latest = {change.folder_id: change for change in mailbox.folder_changes if change.seq > seq}
    ids = latest if token else dict.fromkeys(mailbox.folders)
    value = [_delta_entry(call, identity) for identity in ids]
    shown = [entry for entry in value if entry]
    after = encode(s=mailbox.seq, g=mailbox.generations.get(TREE, 0))
    return {"@odata.context": context, "value": shown, "@odata.deltaLink": token_link(call, delta=after)}


def _delta_entry(call: Call, identity: str) -> dict[str, Any] | None:
    folder = call.mailbox.folders.get(identity)
    if folder is None:
        return {"id": identity, "@removed": {"reason": "deleted"}}
    return None if folder.hidden or folder.well_known == ROOT else show(call, folder)


HANDLERS: dict[str, Handler] = {
    "graph.mailFolders.list": list_folders,
    "graph.mailFolders.create": create,
    "graph.mailFolders.delta": delta,
    "graph.mailFolders.get": get,
    "graph.mailFolders.update": update,
    "graph.mailFolders.delete": delete,
    "graph.mailFolders.childFolders.list": list_children,
    "graph.mailFolders.childFolders.create": create_child,
}
