"""How long the history of syncs is kept: runs and comparisons as long as the operator says, runs that found nothing for
three days.

Called by the tick; what one call does not get done the next one does. Promised: what is under way stays, and whatever
is old that a connection's status shows, the last run of each kind and its last comparisons; any number of workers may
call it at once; a transaction holds its locks for a fraction of a second; the cost follows what goes and the number of
connections, not how much is kept.
"""

from __future__ import annotations

import time
import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now

from core.ids import oldest_kept
from core.work import ACTIVE
from integrations.models import CoverageCheck, SyncRun
from integrations.services.standing import CHECKS_SHOWN

QUIET_DAYS = 3
"""Runs that began by themselves and found nothing: nearly all of them, and after a weekend nobody asks for one."""
CHUNK = 5000
SLICE_SECONDS = 20.0


def forget_old(*, seconds: float = SLICE_SECONDS) -> int:
    """Remove what is over its time; how many rows of any kind."""
    keep: int = settings.SYNC_HISTORY_KEEP_DAYS
    if keep <= 0:
        return 0
    deadline = time.monotonic() + seconds
    quiet = _ended(SyncRun.objects.quiet(), min(keep, QUIET_DAYS))
    return sum(_forget(rows, deadline) for rows in (quiet, _ended(SyncRun.objects.all(), keep), _old_checks(keep)))


def _ended(runs: QuerySet[Any], days: int) -> QuerySet[Any]:
    """Those of them that ended so long ago, without the last run of each kind. Old ones are found by their ids; a first
    sync may have ended long after it was made."""
    same = SyncRun.objects.filter(connection=OuterRef("connection"), type=OuterRef("type"))
    last = same.order_by("-created_at", "-id").values("pk")[:1]  # as `standing.of` finds it; one look in its index
    ended = runs.exclude(status__in=ACTIVE).filter(finished_at__lt=Now() - timedelta(days=days))
    return ended.filter(~Q(pk=Subquery(last)), id__lt=oldest_kept(days))


def _old_checks(days: int) -> QuerySet[Any]:
    """Comparisons that ended so long ago, without the last ones of each kind."""
    ended = CoverageCheck.objects.filter(ended_at__isnull=False)
    same = ended.filter(connection=OuterRef("connection"), type=OuterRef("type"))
    last = same.order_by("-began_at", "-id").values("pk")[:CHECKS_SHOWN]
    old = ended.filter(ended_at__lt=Now() - timedelta(days=days), id__lt=oldest_kept(days))
    return old.filter(~Q(pk__in=Subquery(last)))


def _forget(old: QuerySet[Any], deadline: float) -> int:
    """In portions along the ids, so that what stays is passed over once; what another worker is at is left to it."""
    gone, place = 0, uuid.UUID(int=0)
    while time.monotonic() < deadline:
        with transaction.atomic():
            rows = old.filter(id__gt=place).order_by("id").select_for_update(skip_locked=True)
            ids = list(rows.values_list("pk", flat=True)[:CHUNK])
            gone += old.model._default_manager.filter(pk__in=ids).delete()[0]
        if len(ids) < CHUNK:
            break
        place = ids[-1]
    return gone
