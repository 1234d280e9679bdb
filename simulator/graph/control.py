"""The control API's part for Exchange mailboxes: the truth, mail filed, changed, moved and deleted behind the hub's
back, folders, forgotten sync states. `control` finds the account and calls; the same calls as for Gmail, whose labels
are translated."""

from __future__ import annotations

import hashlib
from typing import Any

from simulator.exchange import ROOT, TREE, ExchangeMailbox, Folder, Item

Body = dict[str, Any]

PLACES = {"INBOX": "inbox", "SENT": "sentitems", "DRAFT": "drafts", "TRASH": "deleteditems", "SPAM": "junkemail"}
# The place a message is in when it has several of these labels: the first that fits.
ORDER = ("TRASH", "SPAM", "DRAFT", "INBOX", "SENT")
STATES = {"UNREAD", "STARRED", "IMPORTANT", "CHAT"}


def describe(mailbox: ExchangeMailbox) -> Body:
    """The mailbox as it is: folders, and every message, newest first."""
    return {
        "folders": [describe_folder(mailbox, folder) for folder in mailbox.folders.values()],
        "messages": [outline(mailbox, item) for item in mailbox.newest_first()],
        "pending": len(mailbox.pending),
    }


def describe_folder(mailbox: ExchangeMailbox, folder: Folder) -> Body:
    facts = {"id": folder.id, "name": folder.name, "well_known": folder.well_known, "parent_id": folder.parent_id}
    return facts | {"hidden": folder.hidden, "messages": mailbox.count(folder.id)}


def outline(mailbox: ExchangeMailbox, item: Item) -> Body:
    folder = mailbox.folders[item.folder_id]
    return {
        "id": item.id,
        "immutable_id": item.immutable_id,
        "thread_id": item.conversation_id,
        "folder": folder.well_known or folder.name,
        "folder_id": folder.id,
        "message_id": item.facts.message_id,
        "internal_date": item.received * 1000,
        "is_read": item.is_read,
        "is_draft": item.is_draft,
        "flag": item.flag["flagStatus"],
        "categories": item.categories,
        "size": len(item.raw),
        "sha256": hashlib.sha256(item.raw).hexdigest(),
    }


def folder_of(mailbox: ExchangeMailbox, name: str) -> Folder:
    """By id, well-known name or display name; made when it is not there, `Customers/Acme` as one inside the other."""
    found = mailbox.folder(name) or mailbox.named(name)
    if found is not None:
        return found
    place = mailbox.place(ROOT)
    for piece in name.split("/"):
        children = mailbox.children(place.id, hidden_too=True)
        inside = next((folder for folder in children if folder.name.casefold() == piece.casefold()), None)
        place = inside or mailbox.add_folder(piece, place.id)
    return place


def state_of_labels(mailbox: ExchangeMailbox, labels: list[str]) -> tuple[str, Body]:
    """Gmail's labels as a folder's id and fields of Item: a user label beside a system place is a category, alone it
    is a folder; no place at all is the archive."""
    system = [name for name in ORDER if name in labels]
    others = [name for name in labels if name not in PLACES and name not in STATES and not name.startswith("CATEGORY_")]
    place = PLACES[system[0]] if system else others[0] if others else "archive"
    state = {
        "is_read": "UNREAD" not in labels,
        "flag": {"flagStatus": "flagged" if "STARRED" in labels else "notFlagged"},
        "categories": others if system else others[1:],
        "importance": "high" if "IMPORTANT" in labels else "normal",
        "focused": not any(name.startswith("CATEGORY_") and name != "CATEGORY_PERSONAL" for name in labels),
        "is_draft": "DRAFT" in labels,
    }
    return folder_of(mailbox, place).id, state


def file(mailbox: ExchangeMailbox, item: Body, raw: bytes, internal_date: int, now: float) -> Item:
    """`item` may have labels (as for Gmail), folder, is_read, flag, categories, thread_id."""
    labels = [str(name) for name in (["INBOX", "UNREAD"] if item.get("labels") is None else item["labels"])]
    folder_id, state = state_of_labels(mailbox, labels if not item.get("folder") else [*labels, "INBOX"])
    if item.get("folder"):
        folder_id = folder_of(mailbox, str(item["folder"])).id
    state |= state_of(item)
    if item.get("thread_id"):
        state["conversation_id"] = str(item["thread_id"])
    return mailbox.add(raw, folder_id, internal_date // 1000, now, **state)


def state_of(body: Body) -> Body:
    """Fields of Item among those of a control call."""
    state: Body = {name: body[name] for name in ("is_read", "categories", "is_draft") if name in body}
    if "flag" in body:
        state["flag"] = {"flagStatus": body["flag"]}
    return state


def change(mailbox: ExchangeMailbox, item: Item, body: Body, now: float) -> None:
    """`folder`, `is_read`, `flag`, `categories`; or Gmail's `add` and `remove` of labels."""
    state = state_of(body)
    for names, present in ((body.get("add", []), True), (body.get("remove", []), False)):
        if "UNREAD" in names:
            state["is_read"] = not present
        if "STARRED" in names:
            state["flag"] = {"flagStatus": "flagged" if present else "notFlagged"}
    mailbox.update(item, now, **state)
    place = next((PLACES[name] for name in ORDER if name in body.get("add", [])), "")
    if not place and "INBOX" in body.get("remove", []):
        place = "archive"
    destination = str(body.get("folder") or place)
    if destination:
        target = folder_of(mailbox, destination)
        mailbox.move(item, target.id, now, "changed" if target.well_known == "deleteditems" else "deleted")


def expire_delta(mailbox: ExchangeMailbox, body: Body) -> Body:
    """`folder` (default all, and the folder tree), `status` 410 or a 4xx, `code`."""
    status, code = int(body.get("status", 410)), str(body.get("code", "syncStateNotFound"))
    wanted = str(body.get("folder") or "")
    folder = mailbox.folder(wanted) or mailbox.named(wanted) if wanted else None
    if wanted and folder is None:
        raise ValueError(f"no such folder: {wanted}")
    places = [folder.id] if folder else [TREE, *mailbox.folders]
    for place in places:
        mailbox.expire(place, status, code)
    return {"expired": len(places)}
