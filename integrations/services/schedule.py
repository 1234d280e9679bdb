"""What the beat tick does: starts runs that are due and finds those nobody works on.

Rows are the truth: a lost message, a flushed broker or a killed worker only means that a run is rung again here.
"""

from __future__ import annotations

import random
import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from core.work import WorkStatus
from integrations.models import Connection, SyncRun, SyncState
from integrations.services.sync_runs import engines, supported_types

RING_AGAIN_SECONDS = 30
"""A run that was rung is not rung again before this: the broker may only be busy."""


def start_due(limit: int = 1000) -> int:
    """Queue a run for every connection whose time has come; how many."""
    started = 0
    for type in engines():
        started += _start_due_of(type, limit)
    return started


def soon(*, connection: Connection, type: str) -> None:
    """Something changed there that we know of: the next tick asks, not the next interval. What fails keeps its wait."""
    waiting = SyncState.objects.filter(connection=connection, type=type, failures=0, next_sync_at__gt=Now())
    waiting.update(next_sync_at=Now())


def _start_due_of(type: str, limit: int) -> int:
    under_way = SyncRun.objects.active().filter(connection=OuterRef("connection"), type=type)
    with transaction.atomic():
        due = list(
            SyncState.objects.select_for_update(of=("self",), skip_locked=True)
            .filter(
                ~Exists(under_way),
                type=type,
                next_sync_at__lte=Now(),
                connection__in=_wanting(type),
            )
            .order_by("next_sync_at")[:limit]
        )
        SyncRun.objects.bulk_create(
            [SyncRun(connection_id=state.connection_id, type=type) for state in due], ignore_conflicts=True
        )
        for state in due:
            state.next_sync_at = Now() + timedelta(seconds=_interval())
        SyncState.objects.bulk_update(due, ["next_sync_at"], batch_size=500)
    return len(due)


def _wanting(type: str) -> QuerySet[Connection, Any]:
    """Connections that sync this type by themselves."""
    connections = Connection.objects.syncing()
    if any(field.name == f"sync_{type}" for field in Connection._meta.fields):
        connections = connections.filter(**{f"sync_{type}": True})
    providers = Connection.objects.syncing().order_by().values_list("provider", flat=True).distinct()
    return connections.filter(provider__in=[name for name in providers if type in supported_types(name)]).values("pk")


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


def forget_old_runs(keep_days: int = 30) -> int:
    """Runs that ended long ago, except the last of each kind; how many went."""
    newer = SyncRun.objects.filter(
        connection=OuterRef("connection"), type=OuterRef("type"), created_at__gt=OuterRef("created_at")
    )
    old = SyncRun.objects.filter(
        Exists(newer),
        status__in=(WorkStatus.DONE, WorkStatus.FAILED),
        finished_at__lt=Now() - timedelta(days=keep_days),
    )
    return old.delete()[0]


def lag_seconds() -> float:
    """How long the oldest due run has waited; 0 where none waits."""
    oldest = SyncRun.objects.due().order_by("next_attempt_at").annotate(late=Now() - F("next_attempt_at")).first()
    return oldest.late.total_seconds() if oldest else 0.0
