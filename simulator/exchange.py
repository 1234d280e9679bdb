"""One Exchange mailbox: folders, items that live in exactly one folder, and the changes that Graph's delta replays.

Used by `graph` on behalf of API callers and by `graph.control` behind the hub's back; both change it through `add`,
`move`, `update`, `rewrite` and `remove` only, so every change gets its place in the folder's stream, whoever made it.
"""

from __future__ import annotations

import base64
import bisect
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from simulator.mime import HeaderFacts, read_facts

ROOT = "msgfolderroot"
# Well-known name → display name in English, in the order in which a new mailbox shows them.
WELL_KNOWN = {
    "archive": "Archive",
    "conversationhistory": "Conversation History",
    "deleteditems": "Deleted Items",
    "drafts": "Drafts",
    "inbox": "Inbox",
    "junkemail": "Junk Email",
    "outbox": "Outbox",
    "sentitems": "Sent Items",
    "recoverableitemsdeletions": "Deletions",
}
HIDDEN = {"recoverableitemsdeletions"}
EVERYWHERE = ""
TREE = "folders"
DAY = 86_400


@dataclass
class Folder:
    id: str
    name: str
    parent_id: str
    well_known: str = ""
    hidden: bool = False


@dataclass
class Item:
    """`id` changes whenever the item moves; `immutable_id` never does."""

    key: int
    id: str
    immutable_id: str
    folder_id: str
    raw: bytes
    facts: HeaderFacts
    received: int
    """Whole seconds since 1970, as precise as Graph is."""
    conversation_id: str
    created: int = 0
    modified: int = 0
    is_read: bool = False
    is_draft: bool = False
    flag: dict[str, Any] = field(default_factory=lambda: {"flagStatus": "notFlagged"})
    categories: list[str] = field(default_factory=list)
    importance: str = "normal"
    focused: bool = True
    version: int = 0
    lost_in: str = ""
    """The folder whose delta forgot this item for callers with immutable ids: it left and came back."""

    @property
    def position(self) -> tuple[int, int]:
        """Where it stands in a folder: by time received, then in order of arrival."""
        return self.received, self.key


@dataclass(frozen=True)
class Change:
    """One step in a folder's stream. `id` is the mutable id the item had there."""

    seq: int
    time: float
    folder_id: str
    key: int
    id: str
    immutable_id: str
    kind: str
    """added, changed or removed."""
    properties: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class FolderChange:
    seq: int
    folder_id: str
    removed: bool = False


@dataclass(frozen=True)
class PendingSend:
    """A mail accepted whose copy is not in Sent Items yet; `key` is the draft it was, 0 when it was none."""

    due: float
    key: int
    raw: bytes
    save: bool
    conversation_id: str = ""
    """Of the copy; empty: its references choose."""


class ExchangeMailbox:
    def __init__(self, email: str, seed: int, names: dict[str, str] | None = None) -> None:
        """`names`: display names by well-known name, for a mailbox in another language."""
        self.email = email
        self.random = random.Random(f"{seed}/exchange/{email}")
        self.folders: dict[str, Folder] = {}
        self.items: dict[int, Item] = {}
        self.keys: dict[str, int] = {}
        """Both kinds of ids → key. The id of a place an item has left is not in it."""
        self.by_message_id: dict[str, list[int]] = {}
        self.changes: list[Change] = []
        self.streams: dict[str, list[Change]] = {}
        self.folder_changes: list[FolderChange] = []
        self.seq = 1
        self.generations: dict[str, int] = {}
        """Folder id → how often its sync states were forgotten; one of an older generation is refused."""
        self.refusals: dict[str, tuple[int, str]] = {}
        """Folder id → status and code with which such a state is refused."""
        self.pending: list[PendingSend] = []
        self._order: dict[str, list[tuple[int, int]]] = {EVERYWHERE: []}
        self._next_key = 1
        root = self._new_folder("Top of Information Store", "", ROOT)
        for well_known, name in WELL_KNOWN.items():
            self._new_folder((names or {}).get(well_known, name), root.id, well_known, well_known in HIDDEN)

    # Folders

    def _new_folder(self, name: str, parent_id: str, well_known: str = "", hidden: bool = False) -> Folder:
        folder = Folder(self._new_id("AQMkAD", 60), name, parent_id, well_known, hidden)
        self.folders[folder.id] = folder
        self.streams[folder.id] = []
        self._order[folder.id] = []
        return folder

    def add_folder(self, name: str, parent_id: str, *, hidden: bool = False) -> Folder:
        folder = self._new_folder(name, parent_id, "", hidden)
        self._note_folder(folder)
        return folder

    def change_folder(self, folder: Folder, *, name: str = "", parent_id: str = "") -> None:
        folder.name, folder.parent_id = name or folder.name, parent_id or folder.parent_id
        self._note_folder(folder)

    def remove_folder(self, folder: Folder, now: float) -> None:
        """With everything in it, for good."""
        for child in self.children(folder.id, hidden_too=True):
            self.remove_folder(child, now)
        for item in list(self.newest_first(folder.id)):
            self.remove(item, now)
        del self.folders[folder.id], self.streams[folder.id], self._order[folder.id]
        self._note_folder(folder, removed=True)

    def _note_folder(self, folder: Folder, *, removed: bool = False) -> None:
        self.seq += 1
        self.folder_changes.append(FolderChange(self.seq, folder.id, removed))

    def folder(self, name: str) -> Folder | None:
        """By id or well-known name (which is not case-sensitive; ids are)."""
        found = self.folders.get(name)
        if found:
            return found
        return next(
            (item for item in self.folders.values() if item.well_known and item.well_known == name.lower()), None
        )

    def place(self, well_known: str) -> Folder:
        """A well-known folder, which always exists."""
        return next(folder for folder in self.folders.values() if folder.well_known == well_known)

    def named(self, name: str) -> Folder | None:
        """By display name, for the control API."""
        folded = name.casefold()
        return next((folder for folder in self.folders.values() if folder.name.casefold() == folded), None)

    def children(self, parent_id: str, *, hidden_too: bool) -> list[Folder]:
        found = [folder for folder in self.folders.values() if folder.parent_id == parent_id]
        return [folder for folder in found if hidden_too or not folder.hidden]

    def counts(self, folder_id: str) -> tuple[int, int, int]:
        """Items, unread ones, bytes."""
        items = [self.items[key] for _, key in self._order[folder_id]]
        return len(items), sum(not item.is_read for item in items), sum(len(item.raw) for item in items)

    # Items

    def add(self, raw: bytes, folder_id: str, received: int, now: float, **state: Any) -> Item:
        """Files a message; `state` sets fields of Item. Its references choose the conversation."""
        facts = read_facts(raw)
        key, self._next_key = self._next_key, self._next_key + 1
        conversation = state.pop("conversation_id", "") or self._conversation(facts)
        item = Item(
            key, self._new_id("AAMkAG", 108), self._new_id("AAkALg", 66), folder_id, raw, facts, received, conversation,
            created=int(now), modified=int(now), **state,
        )  # fmt: skip
        self.items[key] = item
        self.keys[item.id] = self.keys[item.immutable_id] = key
        self.by_message_id.setdefault(facts.message_id, []).append(key)
        bisect.insort(self._order[EVERYWHERE], item.position)
        bisect.insort(self._order[folder_id], item.position)
        self._note(item, "added", now)
        return item

    def move(self, item: Item, folder_id: str, now: float, reason: str = "deleted") -> None:
        """Into another folder: a new mutable id, a removal here and an arrival there. In practice a move shows as
        reason `deleted`, too; what goes to Deleted Items shows as `changed`."""
        if folder_id == item.folder_id:
            return
        self._leave(item, now, reason)
        item.lost_in = ""
        item.folder_id, item.id = folder_id, self._new_id("AAMkAG", 108)
        self.keys[item.id] = item.key
        bisect.insort(self._order[folder_id], item.position)
        item.modified = int(now)
        self._note(item, "added", now)

    def update(self, item: Item, now: float, **state: Any) -> bool:
        """Whether anything changed; the names are those of Item, the stream keeps those of Graph."""
        changed = [name for name, value in state.items() if getattr(item, name) != value]
        for name in changed:
            setattr(item, name, state[name])
        if changed:
            item.modified = int(now)
            self._note(item, "changed", now, tuple(GRAPH_NAMES[name] for name in changed))
        return bool(changed)

    def rewrite(self, item: Item, raw: bytes, now: float, properties: tuple[str, ...]) -> None:
        """New content, which only drafts get."""
        self.by_message_id[item.facts.message_id].remove(item.key)
        item.raw, item.facts, item.modified = raw, read_facts(raw), int(now)
        self.by_message_id.setdefault(item.facts.message_id, []).append(item.key)
        self._note(item, "changed", now, properties)

    def redate(self, item: Item, received: int) -> None:
        """What a draft gets when it is sent."""
        for place in (EVERYWHERE, item.folder_id):
            order = self._order[place]
            order.pop(bisect.bisect_left(order, item.position))
        item.received = received
        for place in (EVERYWHERE, item.folder_id):
            bisect.insort(self._order[place], item.position)

    def remove(self, item: Item, now: float) -> None:
        """For good."""
        self._leave(item, now, "deleted")
        order = self._order[EVERYWHERE]
        order.pop(bisect.bisect_left(order, item.position))
        del self.items[item.key], self.keys[item.immutable_id]
        self.by_message_id[item.facts.message_id].remove(item.key)

    def settle(self, now: float) -> None:
        """Mails sent whose time has come appear in Sent Items."""
        due, self.pending = [mail for mail in self.pending if mail.due <= now], [
            mail for mail in self.pending if mail.due > now
        ]  # fmt: skip
        for mail in due:
            self._finish(mail, now)

    def _finish(self, mail: PendingSend, now: float) -> None:
        item, sent = self.items.get(mail.key), self.place("sentitems").id
        if item is not None and mail.save:
            self.redate(item, int(mail.due))
            item.is_draft, item.is_read = False, True
            self.move(item, sent, now)
        elif item is not None:
            self.remove(item, now)
        elif mail.save and not mail.key:
            self.add(mail.raw, sent, int(mail.due), now, is_read=True, conversation_id=mail.conversation_id)

    def _leave(self, item: Item, now: float, reason: str) -> None:
        order = self._order[item.folder_id]
        order.pop(bisect.bisect_left(order, item.position))
        self._note(item, "removed", now, (), reason)
        del self.keys[item.id]

    def _note(self, item: Item, kind: str, now: float, properties: tuple[str, ...] = (), reason: str = "") -> None:
        self.seq += 1
        item.version = self.seq
        change = Change(
            self.seq, now, item.folder_id, item.key, item.id, item.immutable_id, kind, properties, reason
        )  # fmt: skip
        self.changes.append(change)
        self.streams[item.folder_id].append(change)

    def _conversation(self, facts: HeaderFacts) -> str:
        for reference in reversed(facts.references):
            for key in self.by_message_id.get(reference, []):
                return self.items[key].conversation_id
        return self.new_conversation()

    def new_conversation(self) -> str:
        return self._new_id("AAQkAG", 60)

    def _new_id(self, prefix: str, size: int) -> str:
        """base64url with padding, as Graph's: case matters."""
        return prefix + base64.urlsafe_b64encode(self.random.randbytes(size) + b"\0").decode()

    # Questions

    def item(self, identity: str) -> Item | None:
        """By either kind of id."""
        key = self.keys.get(identity)
        return None if key is None else self.items[key]

    def newest_first(self, folder_id: str = EVERYWHERE, before: tuple[int, int] | None = None) -> Iterator[Item]:
        """Of a folder, or of all folders, by time received, from after a position on."""
        order = self._order[folder_id]
        end = len(order) if before is None else bisect.bisect_left(order, before)
        for index in range(end - 1, -1, -1):
            yield self.items[order[index][1]]

    def count(self, folder_id: str = EVERYWHERE) -> int:
        return len(self._order[folder_id])

    def changes_after(self, folder_id: str, seq: int, until: float) -> list[Change]:
        """A folder's stream behind `seq`, up to the moment `until`: younger changes have not been replicated yet."""
        stream = self.streams[folder_id]
        index = bisect.bisect_right(stream, seq, key=lambda change: change.seq)
        found = stream[index:]
        return [change for change in found if change.time <= until] if found and found[-1].time > until else found

    def expire(self, place: str, status: int, code: str) -> None:
        """The sync states of a folder (or of the folder tree, TREE) are refused from now on with status and code."""
        self.generations[place] = self.generations.get(place, 0) + 1
        self.refusals[place] = (status, code)

    def forget_changes(self) -> None:
        """As if everything had always been there: for generated mail, which leaves no trace in the streams."""
        self.changes.clear()
        for stream in self.streams.values():
            stream.clear()
        for place in (TREE, *self.folders):
            self.expire(place, 410, "syncStateNotFound")


# Fields of Item that change → the property Graph shows.
GRAPH_NAMES = {
    "is_read": "isRead",
    "flag": "flag",
    "categories": "categories",
    "importance": "importance",
    "focused": "inferenceClassification",
    "is_draft": "isDraft",
}
