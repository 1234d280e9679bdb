"""Threads from the header graph: which messages belong together by Message-ID, References and In-Reply-To.

Pure functions; `services.threads` calls them with what the database knows. Promises: never by subject, never across
mailboxes (the caller passes one mailbox's keys), the same partition whatever the order of arrival, bounded work for
hostile headers (reference 7.1, 8 item 67).
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

from email_sync.records import ParsedMessage

ThreadId = TypeVar("ThreadId")

MAX_REFERENCES = 200
"""Of a longer list the first and the last half of this many count: roots and parents are at the ends."""


_PREFIX = re.compile(
    r"(?:re|fwd?|aw|wg|sv|vs|vb|res|enc|tr|antw|odp|pd|rv|rif|ynt|vá|回复|答复|转发|轉寄|回覆|返信|답장)"
    r"\s{0,3}(?:[\[(]\d{1,3}[\])])?\s{0,3}[:：]\s*",
    re.IGNORECASE,
)
_TRAILING_FORWARD = re.compile(r"\s*\(fwd\)$", re.IGNORECASE)


def base_subject(subject: str) -> str:
    """A subject without the marks of replies and forwards, in the usual languages (RFC 5256 2.1 knows only English
    ones). A list's "[tag]" stays. For showing and answering; threads are never joined by it."""
    subject = " ".join(subject.split())
    position = 0
    while match := _PREFIX.match(subject, position):
        position = match.end()
    return _TRAILING_FORWARD.sub("", subject[position:])


@lru_cache(maxsize=8192)
def message_id_key(message_id: str) -> uuid.UUID:
    """A digest that stands for a Message-ID: ids of several kilobytes exist. Case matters (RFC 5322 3.6.4). Remembered:
    the mails of a thread name each other."""
    return uuid.UUID(bytes=hashlib.sha256(message_id.strip().strip("<>").encode("utf-8", "replace")).digest()[:16])


@dataclass(frozen=True, slots=True)
class Links:
    """What ties a message to others: its own key first, where it has a Message-ID, then those it refers to."""

    keys: tuple[uuid.UUID, ...]


def links(message: ParsedMessage) -> Links:
    """The keys of a message. A message without any Message-ID has none and is a thread of its own.

    In-Reply-To counts only where References is missing: it may hold anything (RFC 5256 3, step 1).
    """
    related = bounded(message.references) if message.references else message.in_reply_to[:1]
    ids = [message.message_id, *related]
    return Links(tuple(dict.fromkeys(message_id_key(message_id) for message_id in ids if message_id.strip())))


def bounded(references: Sequence[str]) -> list[str]:
    """At most MAX_REFERENCES ids, from both ends."""
    half = MAX_REFERENCES // 2
    return list(references) if len(references) <= MAX_REFERENCES else [*references[:half], *references[-half:]]


@dataclass(frozen=True, slots=True)
class Group(Generic[ThreadId]):
    """Messages that belong together."""

    members: tuple[int, ...]
    """Positions in what was given to `group`, ascending."""
    keys: tuple[uuid.UUID, ...]
    threads: tuple[ThreadId, ...]
    """Threads already known by one of the keys: none means a new one, several means a merge."""


def group(messages: Sequence[Links], known: Mapping[uuid.UUID, ThreadId]) -> list[Group[ThreadId]]:
    """The messages of a batch by what they belong to, in the order of their first member. Two keys of the same known
    thread join as if they were one."""
    stored = {key.int: thread for key, thread in known.items()}  # a UUID's own hash is several times slower
    forest, first = Forest(), dict[object, int]()
    for index, message in enumerate(messages):
        forest.add(index)
        for key in message.keys:
            for tie in (key.int, ("thread", stored[key.int])) if key.int in stored else (key.int,):
                if (earlier := first.setdefault(tie, index)) != index:
                    forest.join(earlier, index)
    members: dict[object, list[int]] = {}
    for index in range(len(messages)):
        members.setdefault(forest.root(index), []).append(index)
    return [_group(found, messages, stored) for found in members.values()]


def _group(members: Sequence[int], messages: Sequence[Links], stored: Mapping[int, ThreadId]) -> Group[ThreadId]:
    keys = messages[members[0]].keys
    if len(members) > 1:
        keys = tuple({key.int: key for index in members for key in messages[index].keys}.values())
    threads = tuple(dict.fromkeys(stored[key.int] for key in keys if key.int in stored))
    return Group(tuple(members), keys, threads)


class Forest:
    """Union-find with path halving; nodes are any hashable values."""

    def __init__(self) -> None:
        self._parent: dict[object, object] = {}

    def add(self, node: object) -> None:
        self._parent.setdefault(node, node)

    def root(self, node: object) -> object:
        self.add(node)
        while self._parent[node] != node:
            self._parent[node] = node = self._parent[self._parent[node]]
        return node

    def join(self, left: object, right: object) -> None:
        self._parent[self.root(right)] = self.root(left)
