"""Which run a worker may take now, so that one bad account never slows the others (reference R8).

Called for every wake-up. Three shares of the workers are kept: accounts that failed get half of them; one server that
says nothing holds half of them at most; and no workspace has all of them while another one waits.
A run that has to wait goes back to its queue for a few seconds, which costs a few milliseconds. Workers are those of
`WORKER_CONCURRENCY`: with more machines the shares are smaller, never larger.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection as database
from django.db import transaction
from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now

from core import holder
from core.work import WorkStatus
from integrations.models import SyncRun, SyncState
from integrations.oauth import CONNECTION_PROVIDERS

SILENT_SECONDS = 5.0
"""A worker that has heard nothing for this long probably waits for a server that hangs."""
AGAIN_SECONDS = 4.0


def take(run_id: object, *, lease_seconds: float) -> SyncRun | None:
    """Claim a run. None where another worker has it, or it must wait for its turn."""
    forget_dead(run_id=run_id)
    with transaction.atomic():
        with database.cursor() as cursor:  # one worker decides at a time, so the shares hold
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('sync admission', 0))")
        run = _with_standing(SyncRun.objects.due()).filter(pk=run_id).first()
        if run is None:
            return None
        if _must_wait(run, lease_seconds):
            later = timedelta(seconds=AGAIN_SECONDS * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret
            queued = SyncRun.objects.filter(pk=run.pk, status=WorkStatus.QUEUED)
            queued.update(next_attempt_at=Now() + later, rung_at=None)
            return None
        claimed: SyncRun | None = SyncRun.objects.claim(run_id, lease_seconds=lease_seconds, holder=holder.me())
    return claimed


def forget_dead(*, run_id: object = None) -> int:
    """End the leases of processes that this machine's kernel no longer has; how many. The fence stays: whoever takes
    such a run raises it."""
    which = {} if run_id is None else {"pk": run_id}
    held = SyncRun.objects.filter(status=WorkStatus.RUNNING, lease_until__gt=Now(), **which).exclude(holder="")
    dead = [run for run in held.filter(holder__startswith=holder.mine()) if holder.is_dead(run.holder)]
    for run in dead:
        still = SyncRun.objects.filter(pk=run.pk, fence=run.fence, status=WorkStatus.RUNNING)
        still.update(lease_until=Now(), rung_at=None)
    return len(dead)


def others_wait(run: SyncRun) -> bool:
    """Whether other accounts' runs are due: this one should not keep its worker for long."""
    due = SyncRun.objects.filter(status=WorkStatus.QUEUED, next_attempt_at__lte=Now())
    return due.exclude(connection=run.connection_id).exists()


def _with_standing(runs: QuerySet[Any]) -> QuerySet[Any]:
    state = SyncState.objects.filter(connection=OuterRef("connection"), type=OuterRef("type"))
    return runs.select_related("connection").annotate(failures=Subquery(state.values("failures")[:1]))


def _must_wait(run: Any, lease_seconds: float) -> bool:
    at_work = SyncRun.objects.filter(status=WorkStatus.RUNNING, lease_until__gt=Now()).exclude(pk=run.pk)
    heard = F("lease_until") - timedelta(seconds=lease_seconds)
    running = list(_with_standing(at_work).annotate(heard=heard, now=Now()))
    half = max(1, settings.WORKER_CONCURRENCY // 2)
    unproven = [other for other in running if other.attempts > 0]
    if _is_doubtful(run) and sum(map(_is_doubtful, unproven)) >= half:
        return True
    silent = [o for o in unproven if (o.now - o.heard).total_seconds() > SILENT_SECONDS and _server(o) == _server(run)]
    return len(silent) >= half or _has_its_share(run, running)


def _is_doubtful(run: Any) -> bool:
    """It failed lately, so it may hang. A new account is not doubtful: its log-in was checked a moment ago."""
    return run.attempts > (run.status == WorkStatus.RUNNING) or bool(run.failures)


def _server(run: Any) -> str:
    return CONNECTION_PROVIDERS.get(run.connection.provider).server(run.connection.options)


def _has_its_share(run: Any, running: Sequence[Any]) -> bool:
    """Its workspace has all the workers but one, and another workspace waits."""
    own = [other for other in running if other.connection.workspace_id == run.connection.workspace_id]
    if len(own) < max(1, settings.WORKER_CONCURRENCY - 1):
        return False
    waiting = Q(status=WorkStatus.QUEUED, next_attempt_at__lte=Now())
    return SyncRun.objects.filter(waiting).exclude(connection__workspace=run.connection.workspace_id).exists()
