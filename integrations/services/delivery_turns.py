"""Which delivery a worker may send now, so that one endpoint never slows the others (ADR 0024).

Called by `services.delivering` for every delivery. Shares of the workers are kept: an integration has a few of them,
one while it fails or is slow; all that fail, are slow or say nothing have half; a workspace has three quarters. Workers
are those of `DELIVERY_CONCURRENCY`: with more machines the shares are smaller, never larger.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection as database
from django.db import transaction
from django.db.models import Exists, F, Min, OuterRef, QuerySet, Subquery
from django.db.models.functions import Now

from core import holder
from core.work import WorkStatus
from integrations.models import Delivery, DeliveryAttempt, Subscription

LEASE_SECONDS = 90.0
"""Longer than any call with its waits; a worker that is silent for longer is given up."""
PER_INTEGRATION = 4
"""An endpoint that answers quickly is sent so many at a time."""
SILENT_SECONDS = 2.0
"""A call that goes on for longer probably hangs."""
CUT_OFF = "The process that sent it died before an answer was kept; it may have arrived."


@dataclass(frozen=True, slots=True)
class Turn:
    """A delivery that is ours, its attempt written."""

    delivery: Delivery
    attempt: DeliveryAttempt
    crowded: bool
    """More is due for this integration, and another worker may help."""


def take(integration_id: uuid.UUID) -> Turn | None:
    """The next delivery of this integration. None where nothing is due, or it must wait for its turn."""
    with transaction.atomic():
        with database.cursor() as cursor:  # one worker decides at a time, so the shares hold
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('delivery admission', 0))")
        rows = Subscription.objects.rested().select_related("integration").defer("integration__credentials")
        subscription = rows.filter(pk=integration_id).first()
        if subscription is None:
            return None
        running = _running()
        if not has_room(subscription, running):
            return None
        delivery = _claim(subscription.pk)
        if delivery is None:
            return None
        own = sum(other["integration_id"] == subscription.pk for other in running)
        alone = _is_doubtful(subscription) or own + 1 >= PER_INTEGRATION
        return Turn(delivery, _attempt(delivery), crowded=not alone and _due(subscription.pk).exists())


def has_room(subscription: Subscription, running: Sequence[dict[str, Any]]) -> bool:
    """Whether the shares leave a worker for this integration. `running` as `_running` gives it."""
    places = settings.DELIVERY_CONCURRENCY
    own = [other for other in running if other["integration_id"] == subscription.pk]
    if own and (_is_doubtful(subscription) or len(own) >= PER_INTEGRATION or any(map(_hangs, own))):
        return False
    if _is_doubtful(subscription) and sum(map(_hangs, running)) >= max(1, places // 2):
        return False
    of_workspace = sum(other["workspace_id"] == subscription.integration.workspace_id for other in running)
    return of_workspace < max(1, places * 3 // 4)


def _is_doubtful(subscription: Subscription) -> bool:
    return subscription.failures > 0 or subscription.slow


def _hangs(other: dict[str, Any]) -> bool:
    return bool(other["failures"] or other["slow"] or other["for_"].total_seconds() > SILENT_SECONDS)


def _running() -> list[dict[str, Any]]:
    """What is being sent now, everywhere."""
    of = Subscription.objects.filter(pk=OuterRef("integration_id"))
    rows = Delivery.objects.at_work().annotate(
        failures=Subquery(of.values("failures")),
        slow=Subquery(of.values("slow")),
        for_=Now() - F("lease_until") + timedelta(seconds=LEASE_SECONDS),
    )
    return list(rows.values("integration_id", "workspace_id", "failures", "slow", "for_"))


def _due(integration_id: uuid.UUID) -> QuerySet[Any]:
    queued = Delivery.objects.filter(integration=integration_id, status=WorkStatus.QUEUED, next_attempt_at__lte=Now())
    return queued.fresh().order_by("next_attempt_at")


def _claim(integration_id: uuid.UUID) -> Delivery | None:
    """One whose worker died, else the one that is due longest."""
    left = Delivery.objects.filter(integration=integration_id, status=WorkStatus.RUNNING, lease_until__lt=Now())
    pk = left.values_list("pk", flat=True).first() or _due(integration_id).values_list("pk", flat=True).first()
    claimed: Delivery | None = None
    if pk is not None:
        claimed = Delivery.objects.claim(
            pk, lease_seconds=LEASE_SECONDS, holder=holder.me(), attempt_count=F("attempt_count") + 1
        )
    return claimed


def _attempt(delivery: Delivery) -> DeliveryAttempt:
    """Written before the call; one before it that never ended was cut off."""
    DeliveryAttempt.objects.filter(delivery=delivery, latency_ms__isnull=True, error="").update(error=CUT_OFF)
    return DeliveryAttempt.objects.create(delivery=delivery, number=delivery.attempt_count)


def forget_dead() -> int:
    """End the leases of processes that this machine's kernel no longer has; how many. The fence stays: whoever takes
    such a delivery raises it."""
    held = Delivery.objects.at_work().filter(holder__startswith=holder.mine()).exclude(holder="")
    dead = [row for row in held.only("pk", "fence", "holder") if holder.is_dead(row.holder)]
    for row in dead:
        Delivery.objects.filter(pk=row.pk, fence=row.fence, status=WorkStatus.RUNNING).update(lease_until=Now())
    return len(dead)


# --- figures ------------------------------------------------------------------------------------------------------


def due() -> QuerySet[Any]:
    """Everything that could be sent now, of enabled integrations."""
    resting = Subscription.objects.rested().filter(pk=OuterRef("integration_id"))
    queued = Delivery.objects.filter(status=WorkStatus.QUEUED, next_attempt_at__lte=Now()).fresh()
    return queued.filter(Exists(resting))


def lag_seconds() -> float:
    """How long the delivery that is due longest has waited; 0 where none waits."""
    late = due().aggregate(late=Now() - Min("next_attempt_at"))["late"]
    return late.total_seconds() if late else 0.0
