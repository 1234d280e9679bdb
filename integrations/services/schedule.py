"""What the beat tick does: starts runs that are due and finds those nobody works on.

Rows are the truth: a lost message, a flushed broker or a killed worker only means that a run is rung again here.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from core.work import WorkStatus
from integrations.models import BY_ITSELF, Connection, SyncRun, SyncState
from integrations.services.sync_runs import engines, supported_types

RING_AGAIN_SECONDS = 30
"""A run that was rung is not rung again before this: the broker may only be busy."""
PUSH_GAP_SECONDS = 2.0
"""Notifications begin no second run of an account before this; the tick does."""
STORM = ((6, 30.0, 5.0), (8, 120.0, 15.0), (10, 300.0, 30.0))
"""(Runs, within so many seconds, seconds from the last one to the next): notifications that do not stop are answered
every 2 s at first, then every 5, 15 and 30 s. A few mails in a row are no storm: each is seen at once."""
OF_THE_INTERVAL = 0.8
"""No spacing is longer than this share of the interval, which asks by itself."""


def start_due(limit: int = 1000) -> int:
    """Queue a run for every connection whose time has come; how many."""
    started = 0
    for type in engines():
        started += len(_start_due_of(type, limit, _wanting(type)))
    return started


def soon(*, connection: Connection, type: str) -> None:
    """Something changed there that we know of: the next tick asks, not the next interval. What fails keeps its wait."""
    waiting = SyncState.objects.filter(connection=connection, type=type, failures=0, next_sync_at__gt=Now())
    waiting.update(next_sync_at=Now())


def heard(*, connection_ids: Collection[uuid.UUID], type: str) -> list[SyncRun]:
    """Providers told that something changed in these accounts: the runs to ring. An account whose run is under way, or
    began just now, is marked to be looked at once more, after it: however many come while a run works, they write one
    mark and make one further run, later and later while they do not stop (`STORM`). What fails keeps its wait. Unknown,
    paused and disconnected accounts are passed over."""
    began_since = SyncRun.objects.filter(
        connection=OuterRef("connection"),
        type=type,
        status=WorkStatus.RUNNING,
        started_at__gte=OuterRef("next_sync_at"),
    )
    states = SyncState.objects.filter(connection__in=connection_ids, type=type, failures=0)
    states.filter(Q(next_sync_at__gt=Now()) | Exists(began_since)).update(next_sync_at=Now())
    just_now = SyncRun.objects.filter(
        connection=OuterRef("connection"), type=type, created_at__gt=Now() - timedelta(seconds=PUSH_GAP_SECONDS)
    )
    wanting = _syncing(type).filter(pk__in=connection_ids).values("pk")
    return _start_due_of(type, len(connection_ids), wanting, Q(~Exists(just_now), failures=0), trigger="push")


def _start_due_of(
    type: str, limit: int, wanting: QuerySet[Connection, Any], only: Q | None = None, *, trigger: str = "schedule"
) -> list[SyncRun]:
    """Those that were created, and any that somebody else was quicker with."""
    under_way = SyncRun.objects.active().filter(connection=OuterRef("connection"), type=type)
    with transaction.atomic():
        due = list(
            SyncState.objects.select_for_update(of=("self",), skip_locked=True)
            .filter(only or Q(), ~Exists(under_way), ~_storming(type), type=type)
            .filter(next_sync_at__lte=Now(), connection__in=wanting)
            .order_by("next_sync_at")[:limit]
        )
        runs = [SyncRun(connection_id=state.connection_id, type=type, trigger=trigger) for state in due]
        SyncRun.objects.bulk_create(runs, ignore_conflicts=True)
        for state in due:
            state.next_sync_at = Now() + timedelta(seconds=_interval())
        SyncState.objects.bulk_update(due, ["next_sync_at"], batch_size=500)
    return runs


def _storming(type: str) -> Q:
    """Looked at so often just now that the next look waits. What is due stays due."""
    runs = SyncRun.objects.filter(connection=OuterRef("connection"), type=type, trigger__in=BY_ITSELF).order_by()
    longest = settings.SYNC_INTERVAL_SECONDS * OF_THE_INTERVAL
    found = Q()
    for count, window, spacing in STORM:
        lately = runs.filter(created_at__gt=Now() - timedelta(seconds=window))[count - 1 : count]
        just_now = runs.filter(created_at__gt=Now() - timedelta(seconds=min(spacing, longest)))
        found |= Q(Exists(just_now) & Exists(lately))
    return found


def _wanting(type: str) -> QuerySet[Connection, Any]:
    """Connections that sync this type by themselves."""
    providers = Connection.objects.syncing().order_by().values_list("provider", flat=True).distinct()
    return (
        _syncing(type).filter(provider__in=[name for name in providers if type in supported_types(name)]).values("pk")
    )


def _syncing(type: str) -> QuerySet[Connection, Any]:
    """Connections on which this type is not switched off."""
    connections = Connection.objects.syncing()
    if any(field.name == f"sync_{type}" for field in Connection._meta.fields):
        connections = connections.filter(**{f"sync_{type}": True})
    return connections


def _interval() -> float:
    """The interval ± 10 %: connections made together must not poll together."""
    return settings.SYNC_INTERVAL_SECONDS * (0.9 + 0.2 * random.random())  # noqa: S311 - jitter, not a secret


def take_unattended(limit: int = 1000) -> list[uuid.UUID]:
    """Runs to ring: due and not rung lately, or running under a lease that ran out. Marks them as rung."""
    quiet = Q(rung_at__isnull=True) | Q(rung_at__lt=Now() - timedelta(seconds=RING_AGAIN_SECONDS))
    with transaction.atomic():
        ids = list(
            SyncRun.objects.due()
            .filter(quiet)
            .select_for_update(skip_locked=True)
            .order_by("next_attempt_at")
            .values_list("pk", flat=True)[:limit]
        )
        SyncRun.objects.filter(pk__in=ids).update(rung_at=Now())
    return ids


def lag_seconds() -> float:
    """How long the oldest due run has waited; 0 where none waits."""
    oldest = SyncRun.objects.due().order_by("next_attempt_at").annotate(late=Now() - F("next_attempt_at")).first()
    return oldest.late.total_seconds() if oldest else 0.0
