"""Is everything here that the provider has? Once a day every calendar is listed and compared, whatever its cursor says.

That finds what servers forget to tell (a sync token that is taken and means nothing, reference 5.2). The engine does
the comparing, as after a lost cursor; here is when, and the figures.
"""

from __future__ import annotations

import random
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from calendar_sync.models import Calendar, CalendarEvent
from calendar_sync.services import standing
from integrations.models import Connection, CoverageCheck, SyncCursor, SyncState

EVERY = timedelta(days=1)
TYPE = "calendar"


def begin(connection: Connection, cursors: QuerySet[SyncCursor]) -> CoverageCheck | None:
    """The check that is under way, or a new one where its time has come: then every calendar is to be compared. In the
    caller's transaction."""
    under_way = CoverageCheck.objects.filter(connection=connection, type=TYPE, ended_at__isnull=True).first()
    if under_way is not None:
        return under_way
    due = SyncState.objects.filter(Q(next_check_at__isnull=True) | Q(next_check_at__lte=Now()), type=TYPE)
    if not due.filter(connection=connection).exists():
        return None
    cursors.filter(backfill_done=True).update(reconcile=True)
    return CoverageCheck.objects.create(connection=connection, type=TYPE)


def end(check: CoverageCheck, connection: Connection) -> None:
    """The figures, for everybody. In the caller's transaction."""
    shown = Calendar.objects.shown().filter(connection=connection)
    cursors = SyncCursor.objects.filter(connection=connection, type=TYPE, stream__in=[str(row.pk) for row in shown])
    remote = sum(cursors.values_list("listed", flat=True))
    there = CalendarEvent.objects.present().filter(calendar__in=shown)
    stored = there.values("calendar", "remote_id").distinct().count()
    missing = max(0, remote - stored)
    CoverageCheck.objects.filter(pk=check.pk).update(remote=remote, stored=stored, missing=missing, ended_at=Now())
    later = EVERY * (0.9 + 0.2 * random.random())  # noqa: S311 - jitter, not a secret
    SyncState.objects.filter(connection=connection, type=TYPE).update(
        coverage_remote=remote, coverage_stored=stored, coverage_missing=missing, coverage_checked_at=Now(),
        next_check_at=Now() + later,
    )  # fmt: skip


def incomplete(connection: Connection) -> int:
    """How many events could not be read: what `settings.INCOMPLETE_COUNTS` names."""
    return standing.unreadable(CalendarEvent.objects.filter(connection=connection)).count()
