"""How calendars stand, for whoever looks at many of them: the state of each, and how much it holds.

Counting is bounded where it is for a list: its cost follows the page and not the calendars.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection as database
from django.db.models import TextChoices

from calendar_sync.models import Calendar, EventQuerySet
from calendar_sync.records import NO_EVENT
from integrations.models import SyncCursor

MOST = 1000
"""A list counts so far."""


class State(TextChoices):
    """Of a calendar."""

    SYNCED = "synced", "Synced"
    COMING = "coming", "First sync under way"
    HELD = "held", "Removals held back"
    REFUSED = "refused", "Refused by the provider"
    DESELECTED = "deselected", "Not selected"
    GONE = "gone", "Gone at the provider"


@dataclass(frozen=True, slots=True)
class Count:
    """How many, or more than that."""

    number: int
    is_exact: bool = True

    @property
    def words(self) -> str:
        return f"{self.number:,}" if self.is_exact else f"over {self.number:,}"


@dataclass(frozen=True, slots=True)
class Standing:
    """One calendar."""

    state: State
    events: Count
    """Series and single events that are there and understood."""
    unreadable: Count
    cut: Count
    error: str = ""
    """Why it does not sync, in the provider's words."""
    held: str = ""
    """Which removals wait for its user's word."""
    checked_at: datetime | None = None


def unreadable(events: EventQuerySet) -> EventQuerySet:
    """Of these, those that are there and nobody could understand; tasks and notes are not missed."""
    return events.present().exclude(problem="").exclude(problem=NO_EVENT)


def cut_off(events: EventQuerySet) -> EventQuerySet:
    """Of these, the series of which not every occurrence is shown."""
    return events.readable().exclude(cut="")


_COUNTS = """
    SELECT asked.id,
        (SELECT count(*) FROM (SELECT FROM calendar_sync_calendarevent WHERE calendar_id = asked.id
            AND removed_at IS NULL AND problem = '' AND series_id IS NULL LIMIT %(most)s) AS found),
        (SELECT count(*) FROM (SELECT FROM calendar_sync_calendarevent WHERE calendar_id = asked.id
            AND removed_at IS NULL AND NOT problem = '' AND NOT problem = %(none)s LIMIT %(most)s) AS found),
        (SELECT count(*) FROM (SELECT FROM calendar_sync_calendarevent WHERE calendar_id = asked.id
            AND removed_at IS NULL AND problem = '' AND NOT cut = '' LIMIT %(most)s) AS found)
    FROM unnest(%(ids)s::uuid[]) AS asked (id)
"""


def of(calendars: Iterable[Calendar], *, most: int | None = MOST) -> dict[uuid.UUID, Standing]:
    """By calendar. Two statements. Counts stop at `most`; None counts to the end."""
    rows = list(calendars)
    own = {"connection__in": {row.connection_id for row in rows}, "type": "calendar"}
    cursors = {one.stream: one for one in SyncCursor.objects.filter(stream__in=[str(row.pk) for row in rows], **own)}
    with database.cursor() as cursor:
        limit = None if most is None else most + 1
        cursor.execute(_COUNTS, {"ids": [row.pk for row in rows], "most": limit, "none": NO_EVENT})
        counted = {pk: [_count(number, most) for number in numbers] for pk, *numbers in cursor.fetchall()}
    return {row.pk: _standing(row, cursors.get(str(row.pk)), counted[row.pk]) for row in rows}


def _count(number: int, most: int | None) -> Count:
    return Count(number) if most is None or number <= most else Count(most, is_exact=False)


def _standing(row: Calendar, cursor: SyncCursor | None, counts: list[Count]) -> Standing:
    events, unread, cut = counts
    if cursor is None:
        return Standing(_state(row, None), events, unread, cut)
    state = _state(row, cursor)
    return Standing(state, events, unread, cut, cursor.last_error, cursor.held_reason, cursor.checked_at)


def _state(row: Calendar, cursor: SyncCursor | None) -> State:
    if row.removed_at is not None:
        return State.GONE
    if not row.selected:
        return State.DESELECTED
    if cursor is None or not cursor.backfill_done:
        return State.REFUSED if cursor is not None and cursor.last_error else State.COMING
    if cursor.last_error:
        return State.REFUSED
    return State.HELD if cursor.held_reason else State.SYNCED
