"""One Gmail mailbox: messages, labels, threads, drafts and the history that `history.list` replays.

Used by `gmail` on behalf of API callers and by `control` behind the hub's back; both change it through `add`, `remove`
and `relabel` only, so every change gets its history record and its history id, whoever made it.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from simulator.mime import HeaderFacts, base_subject, read_facts

SYSTEM_LABELS = (
    "INBOX", "SENT", "DRAFT", "TRASH", "SPAM", "UNREAD", "STARRED", "IMPORTANT", "CHAT",
    "CATEGORY_PERSONAL", "CATEGORY_SOCIAL", "CATEGORY_PROMOTIONS", "CATEGORY_UPDATES", "CATEGORY_FORUMS",
)  # fmt: skip
HIDDEN = {"TRASH", "SPAM"}
THREAD_LIMIT = 100


@dataclass
class StoredMessage:
    id: str
    thread_id: str
    raw: bytes
    labels: set[str]
    internal_date: int
    """Milliseconds since 1970."""
    history_id: int
    facts: HeaderFacts

    @property
    def position(self) -> tuple[int, str]:
        """Where it stands in the mailbox: by date, then id."""
        return self.internal_date, self.id

    def label_ids(self) -> list[str]:
        return sorted(self.labels)


@dataclass(frozen=True)
class HistoryRecord:
    """One change of one message. `labels` are the message's labels after it."""

    id: int
    message_id: str
    thread_id: str
    labels: tuple[str, ...]
    kinds: dict[str, tuple[str, ...]]
    """messageAdded, messageDeleted (both without labels), labelAdded, labelRemoved → the labels concerned."""


@dataclass
class Label:
    id: str
    name: str
    system: bool
    settings: dict[str, Any] = field(default_factory=dict)


class Mailbox:
    def __init__(self, email: str, seed: int) -> None:
        self.email = email
        self.random = random.Random(f"{seed}/{email}")
        self.messages: dict[str, StoredMessage] = {}
        self.threads: dict[str, list[str]] = {}
        self.labels = {name: Label(name, name, True) for name in SYSTEM_LABELS}
        self.drafts: dict[str, str] = {}
        """Draft id → message id; the draft's id stays when its content is replaced."""
        self.by_message_id: dict[str, list[str]] = {}
        self.history: list[HistoryRecord] = []
        self.history_id = self.random.randrange(200_000, 900_000)
        self.history_floor = self.history_id
        """A start id below this one is too old."""
        self._positions: list[tuple[int, str]] = []
        self._next_label = 1
        self._last_number = 0

    # Changes

    def add(
        self, raw: bytes, labels: Iterable[str], internal_date: int, thread_id: str = "", *, join: bool = True
    ) -> StoredMessage:
        """Files a message; `join` lets its headers choose the thread when none is named."""
        facts = read_facts(raw)
        identity = self._new_id(internal_date)
        if not thread_id and join:
            thread_id = self.thread_for(facts)
        message = StoredMessage(identity, thread_id or identity, raw, set(labels), internal_date, 0, facts)
        self.messages[identity] = message
        self.threads.setdefault(message.thread_id, []).append(identity)
        self.by_message_id.setdefault(facts.message_id, []).append(identity)
        bisect.insort(self._positions, message.position)
        self._record(message, {"messageAdded": ()})
        return message

    def remove(self, message: StoredMessage) -> None:
        del self.messages[message.id]
        self.threads[message.thread_id].remove(message.id)
        if not self.threads[message.thread_id]:
            del self.threads[message.thread_id]
        self.by_message_id[message.facts.message_id].remove(message.id)
        self._positions.pop(bisect.bisect_left(self._positions, message.position))
        for draft_id in [draft for draft, owner in self.drafts.items() if owner == message.id]:
            del self.drafts[draft_id]
        self._record(message, {"messageDeleted": ()})

    def relabel(self, message: StoredMessage, add: Iterable[str] = (), remove: Iterable[str] = ()) -> bool:
        """Whether anything changed; a change that changes nothing leaves no history."""
        added = sorted(set(add) - message.labels)
        removed = sorted(set(remove) & message.labels)
        message.labels = (message.labels | set(added)) - set(removed)
        kinds = {"labelAdded": tuple(added), "labelRemoved": tuple(removed)}
        kinds = {kind: labels for kind, labels in kinds.items() if labels}
        if kinds:
            self._record(message, kinds)
        return bool(kinds)

    def add_label(self, name: str, **settings: Any) -> Label:
        label = Label(f"Label_{self._next_label}", name, False, settings)
        self._next_label += 1
        self.labels[label.id] = label
        return label

    def remove_label(self, label: Label) -> None:
        for message in [item for item in self.messages.values() if label.id in item.labels]:
            self.relabel(message, remove=[label.id])
        del self.labels[label.id]

    def forget_history(self) -> None:
        """Every start id handed out so far becomes too old."""
        self.history_id += self.random.randrange(2, 40)
        self.history_floor = self.history_id
        self.history.clear()

    def new_draft_id(self) -> str:
        return f"r{self.random.randrange(10**18, 9 * 10**18)}"

    def _record(self, message: StoredMessage, kinds: dict[str, tuple[str, ...]]) -> None:
        self.history_id += self.random.randrange(1, 40)
        message.history_id = self.history_id
        labels = tuple(message.label_ids())
        self.history.append(HistoryRecord(self.history_id, message.id, message.thread_id, labels, kinds))

    def _new_id(self, internal_date: int) -> str:
        """16 hexadecimal digits that rise with time, as Gmail's do; within a millisecond, in order of arrival."""
        number = (max(internal_date, 1 << 40) << 20) | self.random.getrandbits(20)
        if number >> 20 == self._last_number >> 20:
            number = self._last_number + self.random.randrange(1, 64)
        while f"{number:016x}" in self.messages:
            number += 1
        self._last_number = number
        return f"{number:016x}"

    # Questions

    def thread_for(self, facts: HeaderFacts) -> str:
        """The thread incoming mail joins: one it refers to, with the same subject, that is not full."""
        subject = base_subject(facts.subject)
        for reference in reversed(facts.references):
            for identity in self.by_message_id.get(reference, []):
                parent = self.messages[identity]
                full = len(self.threads[parent.thread_id]) >= THREAD_LIMIT
                if base_subject(parent.facts.subject) == subject and not full:
                    return parent.thread_id
        return ""

    def belongs_to(self, facts: HeaderFacts, thread_id: str) -> bool:
        """Whether a message sent with this thread id may join it: it must refer to it and keep the subject."""
        members = [self.messages[identity] for identity in self.threads[thread_id]]
        known = {member.facts.message_id for member in members}
        subjects = {base_subject(member.facts.subject) for member in members}
        return bool(known & set(facts.references)) and base_subject(facts.subject) in subjects

    def newest_first(self, before: tuple[int, str] | None = None) -> Iterator[StoredMessage]:
        """Messages by date, newest first, from after a position on."""
        end = len(self._positions) if before is None else bisect.bisect_left(self._positions, before)
        for index in range(end - 1, -1, -1):
            yield self.messages[self._positions[index][1]]

    def thread(self, thread_id: str) -> list[StoredMessage]:
        """A thread's messages, oldest first; empty when there is no such thread."""
        members = [self.messages[identity] for identity in self.threads.get(thread_id, [])]
        return sorted(members, key=lambda message: message.position)

    def history_after(self, start: int) -> list[HistoryRecord]:
        index = bisect.bisect_right(self.history, start, key=lambda record: record.id)
        return self.history[index:]

    def label_named(self, name: str) -> Label | None:
        folded = name.casefold()
        return next((label for label in self.labels.values() if label.name.casefold() == folded), None)

    def counters(self, label_id: str) -> dict[str, int]:
        messages = [message for message in self.messages.values() if label_id in message.labels]
        unread = [message for message in messages if "UNREAD" in message.labels]
        return {
            "messagesTotal": len(messages),
            "messagesUnread": len(unread),
            "threadsTotal": len({message.thread_id for message in messages}),
            "threadsUnread": len({message.thread_id for message in unread}),
        }
