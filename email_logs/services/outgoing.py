"""The queue of outbound mail: which mail a worker may send now, and who is woken for it.

`work` is called by workers, `unattended` and the rest by the tick. A row is a log table's mail; its provider's pace is
kept by the budget that the provider object pays from, and a provider that asks to wait makes its table wait. Shares of
the workers are kept: a table has two at most, all mail together half of them, a workspace three quarters of that half;
a slice ends after seconds and goes to the back of the queue, so that one workspace's thousand mails starve nobody's.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection as database
from django.db import transaction
from django.db.models import Exists, F, Min, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.dispatch import Signal

from core import holder
from core.errors import ServiceBusy
from core.work import WorkStatus
from email_logs.models import EmailLogTable, OutgoingEmail
from email_logs.services import attempts, settling
from email_logs.services.settling import LEASE_SECONDS

SLICE_SECONDS = 10.0
PER_TABLE = 2
"""Workers that one provider's mail has."""
RING_AGAIN = timedelta(seconds=30)
"""A worker that was rung is not rung again before this: the broker may only be busy."""
KEEP = timedelta(hours=24)
"""How long the key of a request means the same mail: as long as `workspaces.idempotency` promises."""
AT_ONCE = 500
NEVER_LEFT = "Nothing could be handed over to its provider for a day."

queued = Signal()
"""Sent inside the writer's transaction with `table_id`, for whoever wakes a worker when it is through."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A mail that is ours."""

    work: OutgoingEmail
    crowded: bool
    """More is due in this table, and another worker may help."""


def work(table_id: uuid.UUID, *, call_help: Callable[[], None]) -> bool:
    """Send what is due in this table, for a while. True where there is more to do at once."""
    until = time.monotonic() + SLICE_SECONDS
    while time.monotonic() < until:
        turn = take(table_id)
        if turn is None:
            return False
        if turn.crowded:
            call_help()
        attempts.attempt(turn.work, asked=False)
    return True


# --- turns --------------------------------------------------------------------------------------------------------


def take(table_id: uuid.UUID) -> Turn | None:
    """The next mail of this table. None where nothing is due, or it must wait for its turn."""
    with transaction.atomic():
        with database.cursor() as cursor:  # one worker decides at a time, so the shares hold
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('mail admission', 0))")
        table = _ready().filter(pk=table_id).first()
        if table is None:
            return None
        running = _running()
        if not has_room(table, running):
            return None
        claimed = _claim(table.pk)
        if claimed is None:
            return None
        own = sum(other["table_id"] == table.pk for other in running)
        return Turn(claimed, crowded=own + 1 < PER_TABLE and _due(table.pk).exists())


def has_room(table: EmailLogTable, running: Sequence[dict[str, Any]]) -> bool:
    """Whether the shares leave a worker for this table. `running` as `_running` gives it."""
    places = max(1, settings.DELIVERY_CONCURRENCY // 2)
    of_table = sum(other["table_id"] == table.pk for other in running)
    of_workspace = sum(other["workspace_id"] == table.workspace_id for other in running)
    return of_table < PER_TABLE and len(running) < places and of_workspace < max(1, places * 3 // 4)


def _ready() -> QuerySet[Any]:
    """Tables whose provider may be asked; or that fail, where another provider may take their mail instead."""
    rested = Q(not_before__isnull=True) | Q(not_before__lte=Now())
    elsewhere = Q(failing_since__isnull=False, integration__config__fallback=True)
    return EmailLogTable.objects.filter(rested | elsewhere)


def _running() -> list[dict[str, Any]]:
    """What workers send now, everywhere. A mail that whoever handed it in sends takes no worker: its fence is 0."""
    rows = OutgoingEmail.objects.filter(status=WorkStatus.RUNNING, lease_until__gte=Now(), fence__gt=0)
    return list(rows.values("table_id", "workspace_id"))


def _due(table_id: uuid.UUID) -> QuerySet[Any]:
    rows = OutgoingEmail.objects.filter(table=table_id, status=WorkStatus.QUEUED, next_attempt_at__lte=Now())
    return rows.order_by("next_attempt_at")


def _left() -> QuerySet[Any]:
    """Those whose sender is gone."""
    return OutgoingEmail.objects.filter(status=WorkStatus.RUNNING, lease_until__lt=Now())


def _claim(table_id: uuid.UUID) -> OutgoingEmail | None:
    """One whose sender died, else the one that is due longest."""
    pk = _left().filter(table=table_id).values_list("pk", flat=True).first()
    pk = pk or _due(table_id).values_list("pk", flat=True).first()
    if pk is None:
        return None
    claimed: OutgoingEmail | None = OutgoingEmail.objects.claim(pk, lease_seconds=LEASE_SECONDS, holder=holder.me())
    return claimed


def forget_dead() -> int:
    """End the leases of processes that this machine's kernel no longer has; how many. The fence stays: whoever takes
    such a mail raises it."""
    held = OutgoingEmail.objects.filter(status=WorkStatus.RUNNING, lease_until__gte=Now())
    held = held.filter(holder__startswith=holder.mine()).exclude(holder="")
    dead = [row for row in held.only("pk", "fence", "holder") if holder.is_dead(row.holder)]
    for row in dead:
        same = OutgoingEmail.objects.filter(pk=row.pk, fence=row.fence, status=WorkStatus.RUNNING)
        same.update(lease_until=Now() - timedelta(seconds=1))
    return len(dead)


# --- ringing ------------------------------------------------------------------------------------------------------


def claim_ring(table_id: uuid.UUID) -> bool:
    """Whether a worker is to be rung: nobody was a moment ago."""
    return bool(EmailLogTable.objects.filter(_quiet(), pk=table_id).update(rung_at=Now()))


def begun(table_id: uuid.UUID) -> None:
    """A worker that was rung looks now: whoever comes later rings again."""
    EmailLogTable.objects.filter(pk=table_id, rung_at__isnull=False).update(rung_at=None)


def unattended(limit: int = 1000) -> list[uuid.UUID]:
    """Tables to ring: something is due and nobody was rung lately. Marks them as rung."""
    due = OutgoingEmail.objects.filter(table=OuterRef("pk"), status=WorkStatus.QUEUED, next_attempt_at__lte=Now())
    tables = _ready().filter(_quiet()).filter(Exists(due) | Exists(_left().filter(table=OuterRef("pk"))))
    ids = list(tables.order_by(F("rung_at").asc(nulls_first=True), "pk").values_list("pk", flat=True)[:limit])
    return [pk for pk in ids if claim_ring(pk)]


def _quiet() -> Q:
    return Q(rung_at__isnull=True) | Q(rung_at__lt=Now() - RING_AGAIN)


# --- housekeeping and figures -------------------------------------------------------------------------------------


def give_up_old() -> int:
    """End what waited a day in a table that fails: it may never come to its turn. How many."""
    old = OutgoingEmail.objects.filter(status=WorkStatus.QUEUED, created_at__lt=Now() - attempts.GIVE_UP)
    old = old.filter(table__failing_since__lt=Now() - attempts.GIVE_UP)
    ended = 0
    for pk in list(old.values_list("pk", flat=True)[:AT_ONCE]):
        row = OutgoingEmail.objects.filter(pk=pk).select_related("table").first()
        ended += row is not None and _end(row)
    return ended


def _end(row: OutgoingEmail) -> bool:
    claimed = OutgoingEmail.objects.filter(pk=row.pk, status=WorkStatus.QUEUED, fence=row.fence)
    lease = Now() + timedelta(seconds=LEASE_SECONDS)
    if not claimed.update(status=WorkStatus.RUNNING, fence=F("fence") + 1, lease_until=lease, holder=holder.me()):
        return False
    row.refresh_from_db()
    error = ServiceBusy(row.error_message or NEVER_LEFT, code="gave_up")
    if row.called_at is not None:
        settling.unknown(row, error)
    else:
        settling.given_up(row, row.table, error)
    return True


def stuck() -> QuerySet[EmailLogTable]:
    """Tables whose provider takes nothing while mail waits for it, the longest first."""
    waits = OutgoingEmail.objects.filter(table=OuterRef("pk")).waiting()
    failing = EmailLogTable.objects.filter(Exists(waits), failing_since__isnull=False, integration__isnull=False)
    return failing.order_by("failing_since")


def waiting() -> int:
    """How many mails have not left."""
    return OutgoingEmail.objects.waiting().count()


def lag_seconds() -> float:
    """How long the mail that is due longest has waited; 0 where none waits."""
    due = OutgoingEmail.objects.filter(status=WorkStatus.QUEUED, next_attempt_at__lte=Now())
    late = due.aggregate(late=Now() - Min("next_attempt_at"))["late"]
    return late.total_seconds() if late else 0.0
