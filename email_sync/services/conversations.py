"""One conversation seen by several members: which threads of different mailboxes hold the same message.

For showing only; threads of two mailboxes are never stored as one. Two threads are joined where they hold copies of one
message: the same Message-ID, sender, date and subject (`fingerprints`), and texts that begin alike as far as they are
kept. References and In-Reply-To join nothing here. Bounded: of a hostile flood of copies too little is joined, and
nothing is hidden. Called by `timelines` and by decisions about a conversation.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

from django.db import connection as database

from email_sync import arrays
from email_sync.fingerprints import opening
from email_sync.threading import Forest

MESSAGES_OF_A_THREAD = 100
COPIES_OF_A_MESSAGE = 50
Copy = tuple[uuid.UUID, str | None]
"""What two copies of a message have in common: its fingerprint and the beginning of its text; None where a mailbox
keeps no texts."""

_SHOWN = "removed_at IS NULL AND NOT (in_drafts OR in_trash OR in_spam)"
_TEXT = "CASE WHEN NOT body_withheld THEN left(snippet, 120) END"
_HELD = f"""
    SELECT message.* FROM {{threads}} AS wanted (thread_id) CROSS JOIN LATERAL (
        SELECT thread_id, fingerprint, {_TEXT} FROM email_sync_message
        WHERE thread_id = wanted.thread_id AND fingerprint IS NOT NULL AND {_SHOWN}
        ORDER BY received_at DESC LIMIT %(messages)s
    ) AS message
"""  # noqa: S608 - our own constants
_COPIES = f"""
    SELECT copy.* FROM {{fingerprints}} AS one (fingerprint) CROSS JOIN LATERAL (
        SELECT thread_id, fingerprint, {_TEXT} FROM email_sync_message
        WHERE fingerprint = one.fingerprint AND connection_id = ANY(%(mailboxes)s::uuid[]) AND {_SHOWN}
        LIMIT %(copies)s
    ) AS copy
"""  # noqa: S608 - our own constants
_LOOK = f"""
    WITH held AS ({_HELD.format(threads="unnest(%(threads)s::uuid[])")}),
    copies AS ({_COPIES.format(fingerprints="(SELECT DISTINCT fingerprint FROM held)")}),
    theirs AS ({
    _HELD.format(threads="(SELECT thread_id FROM copies WHERE %(further)s EXCEPT SELECT unnest(%(threads)s::uuid[]))")
}),
    others AS ({_COPIES.format(fingerprints="(SELECT fingerprint FROM theirs EXCEPT SELECT fingerprint FROM held)")}),
    looked AS (SELECT * FROM held UNION ALL SELECT * FROM theirs)
    SELECT *, true FROM looked
    UNION ALL
    SELECT *, false FROM (SELECT * FROM copies UNION SELECT * FROM others EXCEPT SELECT * FROM looked) AS seen
"""  # noqa: S608 - our own constants


@dataclass
class Held:
    """Which messages threads hold, as far as was looked."""

    copies: defaultdict[uuid.UUID, set[Copy]] = field(default_factory=lambda: defaultdict(set))

    def groups(self) -> list[list[uuid.UUID]]:
        """The threads that belong together."""
        forest = Forest()
        for thread, copies in self._settled.items():
            forest.add(thread)
            for copy in copies:
                forest.join(copy, thread)
        groups: dict[object, list[uuid.UUID]] = {}
        for thread in self.copies:
            groups.setdefault(forest.root(thread), []).append(thread)
        return list(groups.values())

    def repeats(self, threads: Iterable[uuid.UUID]) -> int:
        """How many of these threads' messages are copies of others among them."""
        every = [copy for thread in threads for copy in self._settled.get(thread, ())]
        return len(every) - len(set(every))

    @cached_property
    def _settled(self) -> dict[uuid.UUID, set[Copy]]:
        """A copy whose text is not kept is one of the copy that is, where there is only one such. Asked once all that
        was found is noted."""
        texts: defaultdict[uuid.UUID, set[str]] = defaultdict(set)
        for fingerprint, text in chain.from_iterable(self.copies.values()):
            if text is not None:
                texts[fingerprint].add(text)
        only = {fingerprint: next(iter(known)) for fingerprint, known in texts.items() if len(known) == 1}
        return {
            thread: {(fingerprint, only.get(fingerprint) if text is None else text) for fingerprint, text in copies}
            for thread, copies in self.copies.items()
        }


def look(thread_ids: Collection[uuid.UUID], mailboxes: Collection[uuid.UUID]) -> Held:
    """What these threads hold, and the threads of these mailboxes that hold some of it too: from a thread to its
    copies, to theirs, to theirs. At most two queries."""
    held = Held()
    for thread in thread_ids:
        held.copies[thread]  # one without a Message-ID is a conversation too
    if len(mailboxes) < 2:
        return held
    asked: set[uuid.UUID] = set()
    for further in (True, False):  # two steps and one
        fresh = held.copies.keys() - asked
        if not fresh:
            break
        asked |= fresh
        for thread, fingerprint, text, is_looked in _look(fresh, mailboxes, further=further):
            held.copies[thread].add((fingerprint, None if text is None else opening(text)))
            if is_looked:
                asked.add(thread)
    return held


def _look(
    thread_ids: Collection[uuid.UUID], mailboxes: Collection[uuid.UUID], *, further: bool
) -> list[tuple[uuid.UUID, uuid.UUID, str | None, bool]]:
    """Of each message of these threads and of its copies, and with `further` of the threads of these too: its thread,
    fingerprint and text, and whether all that this thread holds is among them."""
    bounds = {"messages": MESSAGES_OF_A_THREAD, "copies": COPIES_OF_A_MESSAGE, "further": further}
    with database.cursor() as cursor:
        cursor.execute(_LOOK, {"threads": arrays.of_ids(thread_ids), "mailboxes": arrays.of_ids(mailboxes), **bounds})
        return list(cursor.fetchall())
