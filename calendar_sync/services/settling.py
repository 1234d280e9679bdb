"""What became of events that left their calendar: moved to another one of the account, or gone.

A move is told as a removal here and an addition there, in any order (reference 8, 79), so a removal is only noted
(`store`), and settled here at the end of a run, when every calendar has been looked at. What moved keeps its row, its
id and all that hangs on it; what is gone becomes a tombstone with its cause.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from calendar_sync.models import Attendee, Calendar, CalendarEvent, Occurrence
from calendar_sync.services import occurrences, telling
from calendar_sync.services.store import WRITTEN
from integrations.models import Connection

AT_ONCE = 200
RECENT = timedelta(days=1)
"""A copy that was there longer is a copy and no move."""
STAYS = frozenset({"removed_at", "removed_cause", "leaving_at"})


def settle(connection: Connection, hold: Callable[[], None]) -> int:
    """Settle everything that is leaving; how many events were removed. `hold` proves the run's fence in each
    transaction."""
    removed = 0
    while True:
        with transaction.atomic():
            hold()
            leaving = CalendarEvent.objects.present().filter(connection=connection, leaving_at__isnull=False)
            rows = list(leaving.select_for_update(of=("self",)).order_by("id")[:AT_ONCE])
            if not rows:
                return removed
            twins = _twins(connection, rows)
            moved = [row for row in rows if row.pk in twins]
            for row in moved:
                _take_over(row, twins[row.pk])
            gone = [row for row in rows if row.pk not in twins]
            removed += len(gone)
            telling.tell(connection, updated=[row.pk for row in moved], deleted=_remove(gone))


def _twins(connection: Connection, rows: Sequence[CalendarEvent]) -> dict[uuid.UUID, CalendarEvent]:
    """The same event, new in another calendar of the account, by the id of the one that is leaving."""
    wanted = {row.meeting: row for row in rows if row.uid and row.series_id is None}
    there = CalendarEvent.objects.readable().filter(
        connection=connection, meeting__in=wanted, leaving_at__isnull=True, series__isnull=True,
        calendar__removed_at__isnull=True,
    )  # fmt: skip
    found: dict[uuid.UUID, CalendarEvent] = {}
    for twin in there.select_for_update(of=("self",)).order_by("created_at"):
        row = wanted[twin.meeting]
        is_new = row.leaving_at is not None and twin.created_at > max(row.created_at, row.leaving_at - RECENT)
        if twin.calendar_id != row.calendar_id and twin.recurrence_key == row.recurrence_key and is_new:
            found[row.pk] = twin
    return found


def _take_over(row: CalendarEvent, twin: CalendarEvent) -> None:
    """The older row stands for the event where it is now; what came with the newer one is its own."""
    Occurrence.objects.filter(event=row).delete()
    CalendarEvent.objects.filter(series=row).delete()
    Attendee.objects.filter(event=row).delete()
    for name in (*WRITTEN, "calendar", "remote_id"):
        if name not in STAYS:
            setattr(row, name, getattr(twin, name))
    row.leaving_at, row.removed_at, row.removed_cause = None, None, ""
    # The twin's place is taken only when it is free.
    CalendarEvent.objects.filter(pk=twin.pk).update(remote_id=str(twin.pk))
    row.save()
    CalendarEvent.objects.filter(series=twin).update(series=row)
    Attendee.objects.filter(event=twin).update(event=row)
    Occurrence.objects.filter(event=twin).update(event=row)
    Occurrence.objects.filter(source=twin).update(source=row)
    CalendarEvent.objects.filter(pk=twin.pk).delete()


def remove(rows: Sequence[CalendarEvent], written_at: datetime) -> list[uuid.UUID]:
    """Their user deleted them from here, in the caller's transaction. The ids of what people knew as events."""
    ids = [row.pk for row in rows]
    CalendarEvent.objects.filter(pk__in=ids).update(removed_cause="deleted", written_at=written_at)
    return _remove(rows)


def _remove(rows: Sequence[CalendarEvent]) -> list[uuid.UUID]:
    """Tombstones. A series takes its changed occurrences along; a changed occurrence that goes alone gives its time
    back to its series. The ids of what people knew as events of their own."""
    now = timezone.now()
    ids = [row.pk for row in rows]
    CalendarEvent.objects.filter(pk__in=ids).update(removed_at=now, leaving_at=None)
    CalendarEvent.objects.present().filter(series__in=ids).update(
        removed_at=now, leaving_at=None, removed_cause="series"
    )
    Occurrence.objects.filter(event__in=ids).delete()
    series = CalendarEvent.objects.readable().filter(pk__in=[row.series_id for row in rows if row.series_id])
    series = series.exclude(pk__in=ids)
    if bereft := list(series.select_for_update()):
        occurrences.refresh(bereft, Calendar.objects.in_bulk({row.calendar_id for row in bereft}))
    return [row.pk for row in rows if row.series_id is None and not row.problem]


def forget_old(keep_days: int = 30) -> int:
    """Delete tombstones for good, some at a time; how many rows. Called by the schedule until nothing is left."""
    old = CalendarEvent.objects.filter(removed_at__lt=timezone.now() - timedelta(days=keep_days))
    ids = list(old.order_by("removed_at").values_list("pk", flat=True)[: 10 * AT_ONCE])
    return CalendarEvent.objects.filter(pk__in=ids, removed_at__isnull=False).delete()[0]


def leave(calendar: Calendar, cause: str) -> None:
    """A calendar is gone: so is what was in it, unless it turns up in another one. In the caller's transaction."""
    there = CalendarEvent.objects.present().filter(calendar=calendar, leaving_at__isnull=True)
    there.update(leaving_at=timezone.now(), removed_cause=cause, updated_at=F("updated_at"))
