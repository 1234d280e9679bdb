"""Gmail's history as a ChangePage (reference 2.3).

A cursor is a history id, or `<start>:<until>:<page token>` in the middle of several pages: `start` is where they begin
and `until` the id to go on from after the last one. `until` comes with the first page, so that what happens while the
pages are read is read again rather than missed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from core.errors import CursorExpired
from email_sync.providers.gmail.answers import Json, child, children, history_id, identifier, identifiers, next_page
from email_sync.providers.gmail.messages import state_of
from email_sync.records import ChangePage, RemoteState

_CURSOR = re.compile(r"(?P<start>[0-9]{1,40})(?::(?P<until>[0-9]{1,40}):(?P<token>.+))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a reading of the history stands."""

    start: str
    until: str = ""
    page_token: str = ""

    @classmethod
    def read(cls, cursor: str) -> Cursor:
        """CursorExpired where it is none of ours."""
        found = _CURSOR.fullmatch(cursor)
        if found is None:
            raise CursorExpired("This is no cursor of Gmail.")
        return cls(found["start"], found["until"] or "", found["token"] or "")

    def after(self, answer: Json) -> tuple[str, bool]:
        """The cursor after a page, and whether there are more pages."""
        until = self.until or history_id(answer)
        token = next_page(answer, self.page_token)
        return (f"{self.start}:{until}:{token}", True) if token else (until, False)


def change_page(cursor: Cursor, answer: Json) -> ChangePage:
    """What a page of the history says, each message once, by its last record."""
    outcome: dict[str, RemoteState | bool] = {}
    for remote_id, change in _changes(answer):
        if isinstance(change, RemoteState) and outcome.get(remote_id) is True:
            continue  # it is fetched anyway
        outcome.pop(remote_id, None)
        outcome[remote_id] = change
    following, more = cursor.after(answer)
    return ChangePage(
        cursor=following,
        added=tuple(remote_id for remote_id, change in outcome.items() if change is True),
        updated=tuple(change for change in outcome.values() if isinstance(change, RemoteState)),
        removed=tuple(remote_id for remote_id, change in outcome.items() if change is False),
        more=more,
    )


def _changes(answer: Json) -> Iterator[tuple[str, RemoteState | bool]]:
    """Message by message in order: True to be fetched, False removed, else its new state.

    `messages` repeats what the typed lists say and is left alone. A page may have a next one and no history at all.
    """
    for record in children(answer, "history"):
        for item in children(record, "messagesAdded"):
            yield identifier(child(item, "message")), True
        for key in ("labelsAdded", "labelsRemoved"):
            for item in children(record, key):
                yield _relabelled(child(item, "message"))
        for item in children(record, "messagesDeleted"):
            yield identifier(child(item, "message")), False


def _relabelled(message: Json) -> tuple[str, RemoteState | bool]:
    """The labels after the change; they are missing where none is left, and then nobody knows whether they were left
    out: it is fetched."""
    remote_id = identifier(message)
    labels = identifiers(message, "labelIds")
    return remote_id, state_of(remote_id, labels) if labels else True
