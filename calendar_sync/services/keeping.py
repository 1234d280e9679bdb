"""What a provider answered to a write of its user, stored and told once, whatever a sync does meanwhile.

A sync may have asked before the write and store after it, or the other way round. What it asked for before the user
wrote is older (`store.write(as_of=…)`); here, what a sync stored since the provider was asked is never written over:
the provider is asked again instead.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from django.db import transaction

from calendar_sync.models import Calendar, CalendarEvent
from calendar_sync.providers.base import CalendarProvider
from calendar_sync.records import RemoteCalendar, RemoteResource
from calendar_sync.services import settling, store, telling
from integrations.models import SyncCursor
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User

ATTEMPTS = 3
ABSENT = "\0"
"""No version: it is not stored."""
CREATED, UPDATED, DELETED, ANSWERED = (
    f"calendar.event_{verb}" for verb in ("created", "updated", "deleted", "answered")
)


def remote_calendar(calendar: Calendar) -> RemoteCalendar:
    """The calendar as its provider knows it."""
    return RemoteCalendar(
        calendar.remote_id, calendar.name, calendar.color, calendar.time_zone, calendar.read_only, calendar.is_primary
    )


def versions(calendar: Calendar, remote_ids: Sequence[str]) -> dict[str, str]:
    """What is stored of these, to be given to `keep` after the provider was asked."""
    stored = store.etags(calendar, remote_ids)
    return {remote_id: stored.get(remote_id, ABSENT) for remote_id in remote_ids}


def keep(
    provider: CalendarProvider,
    calendar: Calendar,
    resources: Sequence[RemoteResource],
    before: Mapping[str, str],
    *,
    action: str = "",
    by: User | None = None,
) -> None:
    """Store these, and tell what is new in them. `before` is what was stored when the provider was asked. With `action`
    the audit trail says who wrote."""
    for _ in range(ATTEMPTS):
        ids = [one.remote_id for one in resources]
        with transaction.atomic():
            store.lock(calendar)
            now = versions(calendar, ids)
            known = all(now[one.remote_id] in (before.get(one.remote_id, ABSENT), one.etag[:500]) for one in resources)
            if known:
                _write(calendar, [one for one in resources if not one.etag or now[one.remote_id] != one.etag[:500]])
                if action:
                    _audit(calendar, ids, action, by)
        if known:
            return
        before = now
        resources = list(provider.fetch(remote_calendar(calendar), ids))


def _write(calendar: Calendar, resources: Sequence[RemoteResource]) -> None:
    written = store.write(
        calendar=calendar, resources=resources, seen_in=_pass_under_way(calendar), written_at=store.clock()
    )
    connection = calendar.connection
    fresh = store.without_copies(connection, calendar, written.added)
    telling.tell(connection, created=fresh, updated=written.changed)


def _pass_under_way(calendar: Calendar) -> uuid.UUID | None:
    """The complete listing that is under way: it may have passed the place where a new event would stand."""
    own = SyncCursor.objects.filter(connection=calendar.connection_id, type="calendar", stream=str(calendar.pk))
    token = own.values_list("backfill_token", flat=True).first()
    return uuid.UUID(json.loads(token)["pass"]) if token else None


def drop(calendar: Calendar, remote_ids: Sequence[str], *, action: str = "", by: User | None = None) -> None:
    """The provider no longer has these."""
    with transaction.atomic():
        store.lock(calendar)
        there = CalendarEvent.objects.present().filter(calendar=calendar, remote_id__in=set(remote_ids))
        rows = list(there.select_for_update(of=("self",)).order_by("id"))
        if action:
            _audit(calendar, remote_ids, action, by)
        telling.tell(calendar.connection, deleted=settling.remove(rows, store.clock()))


def _audit(calendar: Calendar, remote_ids: Sequence[str], action: str, by: User | None) -> None:
    rows = CalendarEvent.objects.filter(calendar=calendar, remote_id__in=set(remote_ids), series__isnull=True)
    for row in rows.order_by("id"):
        audit.record(by=by, workspace=calendar.connection.workspace, action=action, target=row)
