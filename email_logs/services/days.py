"""How many mails stood where on each day, for charts and the dashboard: never counted while somebody waits.

The task calls `count_changed`: days that changed entries are of are counted anew, so a wrong count mends itself and
nobody who sends waits for a counter. A day is that of `sent_at` in UTC. Entries that retention removed stay counted.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Count, F, Sum

from core.ids import made_at
from email_logs.models import DayCount, EmailLogDay, EmailLogEntry, EmailLogTable
from email_logs.services import following
from email_logs.services.following import CHUNK, START, Place
from email_logs.states import State

if TYPE_CHECKING:
    from workspaces.models import Workspace

SLICE_SECONDS = 20.0
MAX_DAYS = 366
PAGES_TOGETHER = 20

Counts = Mapping[str, int]
"""State → how many."""


# --- counting -----------------------------------------------------------------------------------------------------


def count_changed(*, seconds: float = SLICE_SECONDS) -> int:
    """Count the days anew whose entries changed since the last look; how many. What is left comes next time."""
    deadline = time.monotonic() + seconds
    done = 0
    done += _recount_queued()
    for table_id in EmailLogTable.objects.order_by("pk").values_list("pk", flat=True):
        while time.monotonic() < deadline:
            counted, more = _follow(table_id)
            done += counted
            if not more:
                break
    return done


def _recount_queued() -> int:
    """Mail that waits may move to the log of another provider, which says nothing to the log it leaves."""
    cells = EmailLogDay.objects.filter(state=State.QUEUED, count__gt=0).values_list("table_id", "day")
    return sum(_recount(table_id, [day], START) for table_id, day in cells)


def _follow(table_id: uuid.UUID) -> tuple[int, bool]:
    """Some changes of one table: how many days they were of, and whether there are more. Many are looked through before
    a day is counted, so that catching up counts each day a few times and not once per page."""
    standing = DayCount.objects.filter(table_id=table_id).first()
    place = begin = Place(standing.transaction, standing.entry_id) if standing else START
    if standing is not None and following.is_of_another_database(place):
        _move(standing, START)
        return 0, True
    days: set[date] = set()
    more = True
    for _ in range(PAGES_TOGETHER):
        rows = following.after(place, table_id=table_id).values_list("transaction", "id", "sent_at")[:CHUNK]
        for number, pk, sent_at in rows:
            place = Place(number, pk)
            days |= {sent_at.astimezone(UTC).date(), made_at(pk).date()}  # it may have been of another day before
        more = len(rows) == CHUNK
        if not more:
            break
    return _recount(table_id, days, place) if place != begin else 0, more


def _recount(table_id: uuid.UUID, days: Iterable[date], place: Place) -> int:
    """The days' counts with the place up to which they were followed, or nothing of it. Of two who count at once one
    waits and then sees what the other saw, or more."""
    with transaction.atomic():
        DayCount.objects.bulk_create([DayCount(table_id=table_id)], ignore_conflicts=True)
        standing = DayCount.objects.select_for_update().get(table_id=table_id)
        open_days = [day for day in sorted(days) if standing.final_before is None or day >= standing.final_before]
        for day in open_days:
            _write(table_id, day)
        if place > (standing.transaction, standing.entry_id):
            _move(standing, place)
    return len(open_days)


def _move(standing: DayCount, place: Place) -> None:
    DayCount.objects.filter(pk=standing.pk).update(transaction=place.transaction, entry_id=place.entry_id)


def _write(table_id: uuid.UUID, day: date) -> None:
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = EmailLogEntry.objects.filter(table_id=table_id, sent_at__gte=begin, sent_at__lt=begin + timedelta(days=1))
    counts = dict(rows.order_by().values_list("state").annotate(count=Count("pk")))
    cells = [EmailLogDay(table_id=table_id, day=day, state=state, count=count) for state, count in counts.items()]
    EmailLogDay.objects.filter(table_id=table_id, day=day).exclude(state__in=counts).delete()
    EmailLogDay.objects.bulk_create(
        cells, update_conflicts=True, unique_fields=["table", "day", "state"], update_fields=["count"]
    )


def close(*, table_id: uuid.UUID, before: date) -> None:
    """Days before keep their counts from now on: their entries are about to be removed. What changed until now is
    counted first."""
    while _follow(table_id)[1]:
        pass
    DayCount.objects.bulk_create([DayCount(table_id=table_id)], ignore_conflicts=True)
    with transaction.atomic():
        standing = DayCount.objects.select_for_update().get(table_id=table_id)
        if standing.final_before is None or standing.final_before < before:
            DayCount.objects.filter(pk=standing.pk).update(final_before=before)


# --- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Series:
    """Mails by day and state, oldest day first, with a row for each day that had none."""

    days: Mapping[date, Counts]
    tables: Mapping[EmailLogTable, Counts]

    @property
    def states(self) -> Counts:
        """Over all days."""
        found: dict[str, int] = {}
        for counts in self.tables.values():
            for state, count in counts.items():
                found[state] = found.get(state, 0) + count
        return found


def series(*, workspace: Workspace | uuid.UUID, days: int, table_id: uuid.UUID | None = None) -> Series:
    """The last `days` days, today included. Two queries however many mails there are."""
    tables = EmailLogTable.objects.in_workspace(workspace).select_related("integration")
    if table_id is not None:
        tables = tables.filter(pk=table_id)
    found: dict[uuid.UUID, tuple[EmailLogTable, dict[str, int]]] = {row.pk: (row, {}) for row in tables}
    today = datetime.now(UTC).date()
    by_day: dict[date, dict[str, int]] = {today - timedelta(days=back): {} for back in reversed(range(days))}
    cells = EmailLogDay.objects.filter(table__in=list(found), day__gt=today - timedelta(days=days), day__lte=today)
    for table_pk, day, state, count in cells.values_list("table_id", "day", "state", "count"):
        for counts in (by_day[day], found[table_pk][1]):
            counts[state] = counts.get(state, 0) + count
    return Series(by_day, dict(found.values()))


def estimate(table_ids: Iterable[uuid.UUID]) -> int:
    """About how many entries there are, as of the last count; those that retention removed are in it no more."""
    rows = EmailLogDay.objects.filter(table__in=list(table_ids))
    kept = rows.exclude(table__day_count__final_before__gt=F("day"))
    return int(kept.aggregate(total=Sum("count"))["total"] or 0)
