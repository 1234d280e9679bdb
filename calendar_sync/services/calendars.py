"""The calendars of an account: kept as the provider lists them, selected by their user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from calendar_sync.models import MAX_REMOTE_ID, Calendar, CalendarEvent
from calendar_sync.records import RemoteCalendar
from calendar_sync.services import settling
from core.errors import ProviderUnavailable
from integrations.models import Connection, SyncCursor
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User

NONE_LEFT = (
    "The provider lists no calendars any more. Nothing was removed. "
    "If this is right, start a sync that accepts removals."
)


def store(connection: Connection, listed: Sequence[RemoteCalendar], *, accept: bool) -> dict[str, Calendar]:
    """The rows of what is listed, by remote id, inside the caller's transaction. A calendar that is gone takes its
    events along; where all are gone that is not believed, unless its user says so (`accept`)."""
    known = {row.remote_id: row for row in Calendar.objects.filter(connection=connection).select_for_update()}
    found: dict[str, Calendar] = {}
    for remote in listed:
        if len(remote.remote_id) <= MAX_REMOTE_ID:
            row = known.get(remote.remote_id) or Calendar(connection=connection, remote_id=remote.remote_id)
            found[remote.remote_id] = _take(row, remote)
    missing = [row for remote_id, row in known.items() if remote_id not in found and row.removed_at is None]
    if missing and not found and not accept:
        raise ProviderUnavailable(NONE_LEFT)
    for row in missing:
        _remove(row)
    return found


def _take(row: Calendar, remote: RemoteCalendar) -> Calendar:
    is_new = row._state.adding
    given = {
        "name": remote.name[:500],
        "color": remote.color[:9],
        "time_zone": remote.time_zone[:200],
        "read_only": remote.read_only,
        "is_primary": remote.is_primary,
        "removed_at": None,
    }
    if is_new:
        row.selected = remote.selected
    moved = not is_new and row.time_zone != given["time_zone"]
    if is_new or any(getattr(row, name) != value for name, value in given.items()):
        for name, value in given.items():
            setattr(row, name, value)
        row.save()
    if moved:  # what floats hangs there: the next comparison reads it anew
        CalendarEvent.objects.filter(calendar=row, zone="", all_day=False).update(etag="")
        SyncCursor.objects.filter(connection=row.connection, type="calendar", stream=str(row.pk)).update(reconcile=True)
    return row


def _remove(row: Calendar) -> None:
    row.removed_at = timezone.now()
    row.save(update_fields=["removed_at", "updated_at"])
    settling.leave(row, "calendar")
    SyncCursor.objects.filter(connection=row.connection, type="calendar", stream=str(row.pk)).delete()


def select(calendar: Calendar, *, selected: bool, by: User) -> bool:
    """Whether its user wants it here; True where that is a change. What is not wanted is kept, not shown and not
    synced."""
    if calendar.selected == selected:
        return False
    with transaction.atomic():
        Calendar.objects.filter(pk=calendar.pk).update(selected=selected)
        calendar.selected = selected
        audit.record(
            by=by, workspace=calendar.connection.workspace, action="calendar.selected", target=calendar,
            changes={"selected": selected},
        )  # fmt: skip
    return True
