"""The one writer of events. Everything a page brings is written by `write`, inside the caller's transaction.

Idempotent: the same page again changes nothing. A changed event keeps its row and its id; a removal is a tombstone,
and first of all a question (`settling`): what left one calendar may have moved to another.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection as database
from django.db.models import Q
from django.utils import timezone

from calendar_sync.models import MAX_REMOTE_ID, Attendee, Calendar, CalendarEvent, Occurrence
from calendar_sync.records import RemoteEvent, RemoteResource
from calendar_sync.services import columns, occurrences
from integrations.models import Connection

KEPT = frozenset({"id", "connection", "calendar", "remote_id", "recurrence_key", "created_at"})
"""What an update never touches."""
WRITTEN = [column.name for column in CalendarEvent._meta.concrete_fields if column.name not in KEPT]


@dataclass(slots=True)
class Written:
    """What a page came to, by the ids people know: of series and single events."""

    added: list[uuid.UUID] = field(default_factory=list)
    changed: list[uuid.UUID] = field(default_factory=list)
    removed: list[uuid.UUID] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    """Remote ids of what the user wrote since the provider was asked, and which it told of otherwise: whichever is the
    newer, it has to be asked again (ADR 0030)."""


def etags(calendar: Calendar, remote_ids: Iterable[str]) -> dict[str, str]:
    """What is stored of these and not gone, by remote id."""
    rows = CalendarEvent.objects.present().filter(calendar=calendar, remote_id__in=set(remote_ids))
    return dict(rows.filter(leaving_at__isnull=True).values_list("remote_id", "etag"))


def clock() -> datetime:
    """The database's, which all workers share: to tell what was written after the provider had been asked."""
    with database.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
        return moment


def lock(calendar: Calendar) -> None:
    """Inside a transaction: nobody else writes events of this calendar until it ends."""
    Calendar.objects.select_for_update(no_key=True).get(pk=calendar.pk)


def write(
    *,
    calendar: Calendar,
    resources: Sequence[RemoteResource] = (),
    removed: Sequence[str] = (),
    cause: str = "deleted",
    seen_in: uuid.UUID | None = None,
    as_of: datetime | None = None,
    written_at: datetime | None = None,
) -> Written:
    """Write one page of a calendar. `removed` are remote ids that left it, for this cause; `seen_in` is the complete
    listing that the resources come from. `as_of` is when the provider was asked: what the user wrote since is newer
    and stays. `written_at`: it is the user who writes."""
    lock(calendar)
    usable = {one.remote_id: one for one in resources if 0 < len(one.remote_id) <= MAX_REMOTE_ID}
    page = _Page(calendar, seen_in, as_of, written_at)
    page.load([*usable, *removed])
    for resource in usable.values():
        page.take(resource)
    page.leave([remote_id for remote_id in removed if remote_id not in usable], cause)
    page.save()
    return page.written


def mark_seen(calendar: Calendar, remote_ids: Sequence[str], seen_in: uuid.UUID) -> None:
    """A complete listing named these."""
    rows = CalendarEvent.objects.filter(calendar=calendar, remote_id__in=set(remote_ids))
    rows.exclude(seen_in=seen_in, seen_in__isnull=False).update(seen_in=seen_in)


def without_copies(connection: Connection, calendar: Calendar, added: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """Of new events those whose meeting no other calendar of the account has: a move is not told as a new event."""
    if not added:
        return []
    new = dict(CalendarEvent.objects.filter(pk__in=added).values_list("pk", "meeting"))
    elsewhere = CalendarEvent.objects.present().filter(connection=connection, meeting__in=set(new.values()))
    copied = set(elsewhere.exclude(calendar=calendar).values_list("meeting", flat=True))
    return [pk for pk, meeting in new.items() if meeting not in copied]


def _each_once(events: Sequence[RemoteEvent]) -> list[RemoteEvent]:
    """Without what a resource says twice, which nobody may write and servers take: the later version of an occurrence
    stays, the first of equals."""
    kept: dict[str, RemoteEvent] = {}
    for event in events:
        if (known := kept.get(event.recurrence_key)) is None or event.sequence > known.sequence:
            kept[event.recurrence_key] = event
    return list(kept.values())


class _Page:
    """The rows of one page while they are put together."""

    def __init__(
        self, calendar: Calendar, seen_in: uuid.UUID | None, as_of: datetime | None, written_at: datetime | None
    ) -> None:
        self.calendar = calendar
        self.seen_in = seen_in
        self.as_of = as_of
        self.written_at = written_at
        self.stored: dict[str, dict[str, CalendarEvent]] = {}
        self.new: list[CalendarEvent] = []
        self.changed: list[CalendarEvent] = []
        self.events: dict[uuid.UUID, RemoteEvent] = {}
        self.dropped: list[uuid.UUID] = []
        self.touched: dict[uuid.UUID, CalendarEvent] = {}
        """Series and single events whose occurrences are to be written anew."""
        self.written = Written()

    def load(self, remote_ids: Sequence[str]) -> None:
        rows = CalendarEvent.objects.filter(calendar=self.calendar, remote_id__in=set(remote_ids))
        for row in rows.select_for_update().order_by("id"):
            self.stored.setdefault(row.remote_id, {})[row.recurrence_key] = row

    # --- what is there ----------------------------------------------------------------------------------------

    def take(self, resource: RemoteResource) -> None:
        """Write a resource over what is stored of it."""
        before = self.stored.get(resource.remote_id, {})
        if self._is_newer(before):
            if not resource.etag or any(row.etag != resource.etag[:500] for row in before.values()):
                self.written.passed_over.append(resource.remote_id)
            return
        events: Sequence[RemoteEvent | None] = _each_once(resource.events) or (None,)
        rows = [self._row(before, resource, event, number == 0) for number, event in enumerate(events)]
        keys = {row.recurrence_key for row in rows}
        self.dropped += [row.pk for key, row in before.items() if key not in keys]
        master = rows[0]
        for row in rows[1:]:
            row.series = master
        if not any(row.recurrence_key == "" for row in rows):
            self._without_master(rows)
        self._note(master, is_new=not before or all(row.removed_at for row in before.values()))
        for row in rows:
            row.removed_at, row.removed_cause, row.leaving_at, row.seen_in = None, "", None, self.seen_in or row.seen_in
            row.written_at = self.written_at or row.written_at

    def _is_newer(self, rows: dict[str, CalendarEvent]) -> bool:
        """The user wrote it after the provider was asked."""
        written = [row.written_at for row in rows.values() if row.written_at is not None]
        return self.as_of is not None and any(moment > self.as_of for moment in written)

    def _row(
        self, before: dict[str, CalendarEvent], resource: RemoteResource, event: RemoteEvent | None, first: bool
    ) -> CalendarEvent:
        key = event.recurrence_key if event else ""
        row = before.get(key)
        if row is None:
            row = CalendarEvent(
                connection_id=self.calendar.connection_id, calendar=self.calendar, remote_id=resource.remote_id,
                recurrence_key=key,
            )  # fmt: skip
            self.new.append(row)
        else:
            self.changed.append(row)
        given: dict[str, Any] = {
            "etag": resource.etag[:500],
            "raw": resource.raw if first else "",
            "series_remote_id": resource.series_remote_id,
        }
        if event is None:
            given |= columns.unreadable_columns(resource.problem)
        else:
            given |= columns.event_columns(event, self.calendar)
            self.events[row.pk] = event
        for name, value in given.items():
            setattr(row, name, value)
        row.meeting = columns.meeting_of(row.uid, row.pk)
        return row

    def _without_master(self, rows: Sequence[CalendarEvent]) -> None:
        """Occurrences of a series that is stored apart, or of one this account was not invited to."""
        for row in rows:
            row.series = self._series(row.series_remote_id) if row.series_remote_id else None
            if row.series is None:
                self.touched[row.pk] = row

    def _series(self, remote_id: str) -> CalendarEvent | None:
        masters = [*self.new, *self.changed]
        here = next((row for row in masters if row.remote_id == remote_id and not row.recurrence_key), None)
        if here is not None:
            return here
        own = CalendarEvent.objects.filter(calendar=self.calendar, remote_id=remote_id, recurrence_key="")
        return own.first()

    def _note(self, row: CalendarEvent, *, is_new: bool) -> None:
        """Whose occurrences change by it, and what is told of it."""
        shown = row.series or row
        self.touched[shown.pk] = shown
        if row.problem:
            return
        told = self.written.added if is_new and shown is row else self.written.changed
        told.append(shown.pk)

    # --- what is not ------------------------------------------------------------------------------------------

    def leave(self, remote_ids: Sequence[str], cause: str) -> None:
        """Those that are stored, and not known to be leaving, are leaving now."""
        now = timezone.now()
        for remote_id in remote_ids:
            stored = self.stored.get(remote_id, {})
            rows = [row for row in stored.values() if row.removed_at is None]
            if rows and self._is_newer(stored):
                self.written.passed_over.append(remote_id)
                continue
            for row in rows:
                if row.leaving_at is None:
                    row.leaving_at, row.removed_cause = now, cause
                    self.changed.append(row)
                    self.written.removed.append(row.pk)

    # --- saving -----------------------------------------------------------------------------------------------

    def save(self) -> None:
        """A statement per kind of row, whatever the number of events."""
        new = {row.pk for row in self.new}
        CalendarEvent.objects.bulk_create(self.new, batch_size=500)
        if self.changed:  # an upsert by id: a bulk update of thirty columns is a hundred times slower
            CalendarEvent.objects.bulk_create(
                self.changed, batch_size=500, update_conflicts=True, unique_fields=["id"], update_fields=WRITTEN
            )
            rewritten = [row.pk for row in self.changed if row.pk in self.events]
            Attendee.objects.filter(event__in=rewritten).delete()
        invited = [
            person
            for row in (*self.new, *self.changed)
            if row.pk in self.events
            for person in columns.people(row, self.events[row.pk])
        ]
        Attendee.objects.bulk_create(invited, batch_size=2000)
        CalendarEvent.objects.filter(pk__in=self.dropped).delete()
        self._adopt()
        calendars = {self.calendar.pk: self.calendar}
        fresh = [row for pk, row in self.touched.items() if pk in new]
        occurrences.refresh(fresh, calendars, fresh=True)
        occurrences.refresh([row for pk, row in self.touched.items() if pk not in new], calendars)

    def _adopt(self) -> None:
        """Occurrences that came before their series belong to it now."""
        masters = {
            row.remote_id: row for row in (*self.new, *self.changed) if row.recurrence and not row.recurrence_key
        }
        orphans = CalendarEvent.objects.filter(
            ~Q(series_remote_id=""), calendar=self.calendar, series__isnull=True, series_remote_id__in=masters
        )
        for row in orphans if masters else ():
            Occurrence.objects.filter(event=row).delete()
            CalendarEvent.objects.filter(pk=row.pk).update(series=masters[row.series_remote_id])
            self.touched.pop(row.pk, None)
