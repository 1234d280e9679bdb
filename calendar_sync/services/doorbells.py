"""Doorbells of calendars: one for each calendar that is shown and one for their list, or one for the account, as its
provider has them (`integrations.services.doorbells` says what is promised).

`ensure` is called by a task for what `due` names: soon after a connect or a selection, then a day after each renewal,
which is long before the end; and once more for what is no longer wanted. What arrives is heard through `BELLS` by the
views.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from calendar_sync.models import Calendar, CalendarChannel
from calendar_sync.providers.doorbells import CALENDAR_DOORBELLS
from calendar_sync.services.accounts import ACCOUNTS
from integrations.models import Connection, SyncRun
from integrations.services.doorbells import LEASE_SECONDS, Doorbells

BELLS = Doorbells(
    sync_type="calendar",
    registry=CALENDAR_DOORBELLS,
    rows=CalendarChannel,
    route="calendar-push",
    accounts=ACCOUNTS,
)


def _wanting(providers: list[str]) -> QuerySet[Connection, Connection]:
    """Connections whose calendars are synced."""
    return Connection.objects.syncing().filter(sync_calendar=True, provider__in=providers, sync_states__type="calendar")


def due(limit: int = 200) -> list[uuid.UUID]:
    """Doorbells that are to be set up, renewed or ended now."""
    providers = BELLS.possible()
    if not providers:
        return []
    _register(providers)
    _give_up()
    BELLS.move()
    now = CalendarChannel.objects.filter(next_attempt_at__lte=Now())
    alive = now.filter(connection__in=_wanting(providers).values("pk"))
    return list(alive.order_by("next_attempt_at").values_list("pk", flat=True)[:limit])


def _register(providers: list[str]) -> None:
    """A row for everything that has none."""
    each = [key for key in providers if CALENDAR_DOORBELLS.get(key).per_calendar]
    own = CalendarChannel.objects.filter(connection=OuterRef("pk"), calendar=None)
    rows = [
        CalendarChannel(connection_id=pk, via=CALENDAR_DOORBELLS.get(provider).via)
        for pk, provider in _wanting(providers).filter(~Exists(own)).values_list("pk", "provider")
    ]
    calendars = Calendar.objects.shown().filter(connection__in=_wanting(each).values("pk"), channels__isnull=True)
    rows += [
        CalendarChannel(connection_id=owner, calendar_id=pk, via=CALENDAR_DOORBELLS.get(provider).via)
        for pk, owner, provider in calendars.order_by().values_list("pk", "connection", "connection__provider")
    ]
    CalendarChannel.objects.bulk_create(rows, ignore_conflicts=True)


def _give_up() -> None:
    """What is about a calendar that is no longer shown comes next."""
    away = Q(calendar__selected=False) | Q(calendar__removed_at__isnull=False)
    rests = Q(next_attempt_at__gt=Now() + timedelta(seconds=LEASE_SECONDS))  # not those that a worker has
    CalendarChannel.objects.filter(away, rests).update(next_attempt_at=Now())


def ensure(channel_id: uuid.UUID | str) -> list[SyncRun]:
    """Set up or renew a doorbell; the runs to ring. One whose calendar is no longer shown is ended."""
    channel = CalendarChannel.objects.select_related("connection", "calendar").filter(pk=channel_id).first()
    if channel is None or not _wanting(BELLS.possible()).filter(pk=channel.connection_id).exists():
        return []
    if channel.calendar is None or Calendar.objects.shown().filter(pk=channel.calendar.pk).exists():
        return BELLS.attend(channel)
    BELLS.end(channel)
    return []


def stop(connection: Connection, held: Mapping[str, str]) -> None:
    """What `settings.DISCONNECT_STEPS` names."""
    BELLS.stop(connection, held)
