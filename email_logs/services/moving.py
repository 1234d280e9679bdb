"""Moving entries forward by what was told of them: any number of them in one statement.

Called by `delivery_events` and `mailbox_log`, which hold the entries' locks. A mail to several people shows the
furthest that was told of any of them, and whom its error is about.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from django.db import connection as database

from core.addresses import exact
from core.redaction import clean_words
from email_logs.models import DeliveryEvent, EmailLogEntry
from email_logs.states import ORDER, State, is_forward

NEEDED = ("id", "workspace_id", "table_id", "to", "cc", "bcc", "state", "state_at", "error", "message_id")
"""Columns of an entry that this reads."""
TROUBLE = frozenset({State.DEFERRED, State.FAILED, State.BOUNCED, State.COMPLAINED})
"""States whose words are an error."""
PASSING = frozenset({State.QUEUED, State.UNKNOWN, State.DEFERRED})
"""States whose error is over with the next one."""
TAKEN = frozenset({State.ACCEPTED, State.DELIVERED})
"""States whose words, where there are any, say what the sender left out."""
MAX_ERROR = 500
MOVE = """
    UPDATE email_logs_emaillogentry AS entry
    SET state = moved.state, state_at = moved.at, error = moved.error,
        message_id = CASE entry.message_id WHEN '' THEN moved.message_id ELSE entry.message_id END,
        transaction = pg_current_xact_id()::text::bigint
    FROM unnest(%(ids)s::uuid[], %(states)s::text[], %(times)s::timestamptz[], %(errors)s::text[], %(messages)s::text[])
        AS moved (id, state, at, error, message_id)
    WHERE entry.id = moved.id AND (
        array_position(%(order)s::text[], entry.state::text) < array_position(%(order)s::text[], moved.state)
        OR (entry.state = moved.state AND entry.error <> moved.error)
    )
"""


@dataclass(slots=True)
class _Course:
    """Where an entry stands while its events are gone through."""

    entry: EmailLogEntry
    state: str
    at: datetime
    error: str
    message_id: str

    def follow(self, row: DeliveryEvent) -> bool:
        """Whether this event moved it forward."""
        several = len(recipients(self.entry)) > 1
        forward = row.kind in State.values and is_forward(self.state, row.kind)
        if row.kind in TROUBLE and (forward or (several and row.kind != State.DEFERRED)):
            self.error = self._said(row, several=several) or self.error
        elif forward and (self.state in PASSING or (self.state == State.FAILED and not several)):
            self.error = ""
        if forward:
            self.state, self.at = row.kind, row.at
            self.message_id = self.message_id or row.message_id
        return forward

    def _said(self, row: DeliveryEvent, *, several: bool) -> str:
        """Of several, who. What was said of others of them, or when it was taken, stays."""
        about = ", ".join(row.recipients) if several else ""
        words = ": ".join(filter(None, (about, row.words)))
        stays = self.state in TAKEN or (several and self.state not in PASSING)
        before = self.error if stays else ""
        parts = (before, "" if words in before else words)
        return clean_words("; ".join(filter(None, parts)), MAX_ERROR)

    @property
    def changed(self) -> bool:
        return self.state != self.entry.state or self.error != self.entry.error


def move(
    entries: Mapping[uuid.UUID, EmailLogEntry], rows: Iterable[DeliveryEvent]
) -> Sequence[tuple[EmailLogEntry, str]]:
    """Move locked entries by new events, in the order in which they happened; each entry with each state that it came
    to. The entries given are not changed."""
    courses: dict[uuid.UUID, _Course] = {}
    came: list[tuple[EmailLogEntry, str]] = []
    for row in sorted(rows, key=attrgetter("at")):
        entry = entries.get(row.entry_id) if row.entry_id else None
        if entry is None:
            continue
        new = _Course(entry, entry.state, entry.state_at, entry.error, entry.message_id)
        if courses.setdefault(entry.pk, new).follow(row):
            came.append((entry, row.kind))
    _write([course for course in courses.values() if course.changed])
    return came


def _write(courses: Sequence[_Course]) -> None:
    if not courses:
        return
    values: dict[str, Any] = {
        "ids": [course.entry.pk for course in courses],
        "states": [course.state for course in courses],
        "times": [course.at for course in courses],
        "errors": [course.error for course in courses],
        "messages": [course.message_id for course in courses],
        "order": [state.value for state in ORDER],
    }
    with database.cursor() as cursor:
        cursor.execute(MOVE, values)


def recipients(entry: EmailLogEntry) -> frozenset[str]:
    """Everybody it was sent to, in the compared form."""
    lists = (entry.to, entry.cc, entry.bcc)
    return frozenset(exact(address) for text in lists for address in text.split(", ") if address)


def concerned(entry: EmailLogEntry, row: DeliveryEvent) -> frozenset[str]:
    """Whom of its recipients an event is about, in the compared form; nobody where that cannot be told."""
    everybody = recipients(entry)
    if row.recipients:
        return everybody & {exact(address) for address in row.recipients}
    return everybody if len(everybody) == 1 else frozenset()
