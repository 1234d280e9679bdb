"""The dashboard's figures of what a workspace works with: integrations, endpoints of events, storage, keys."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Count, F, Min, OuterRef, Sum

from config.console.scope import Scope
from config.console.syncing import SHOWN
from core.work import WorkStatus
from documents.models import DocumentUsage
from integrations.models import Delivery, Integration, Subscription

COUNTED = 1000
"""Deliveries of one endpoint are counted so far: more is "1000 or more"."""


@dataclass(slots=True)
class Endpoint:
    """Where events go, and what has not arrived."""

    row: Subscription
    waiting: int
    failed: int
    at_least: bool
    """Whether there are more than were counted."""


@dataclass(slots=True)
class Surroundings:
    """All of it."""

    health: dict[str, int] = field(default_factory=dict)
    """Of enabled integrations: what the last check said → how many."""
    broken: list[Integration] = field(default_factory=list)
    oldest_credential: datetime | None = None
    endpoints: list[Endpoint] = field(default_factory=list)
    stored_bytes: int = 0
    quota_bytes: int = 0
    """Of all workspaces shown; 0: unlimited."""

    @property
    def integrations(self) -> int:
        """Enabled ones."""
        return sum(self.health.values())

    @property
    def failing_endpoints(self) -> int:
        """Of those shown."""
        return sum(endpoint.row.failing_since is not None for endpoint in self.endpoints)


def read(scope: Scope) -> Surroundings:
    """At most four statements, however many deliveries there are."""
    found = Surroundings()
    enabled = scope.of(Integration.objects.enabled()).order_by()
    for health, count, oldest in enabled.values_list("health").annotate(
        count=Count("pk"), oldest=Min("credentials_changed_at")
    ):
        found.health[health] = count
        if oldest is not None and (found.oldest_credential is None or oldest < found.oldest_credential):
            found.oldest_credential = oldest
    broken = enabled.filter(failing_since__isnull=False).defer("credentials").order_by("failing_since", "pk")
    found.broken = list(broken[:SHOWN]) if found.health else []
    found.endpoints = _endpoints(scope) if found.health else []
    found.stored_bytes = scope.of(DocumentUsage.objects.all()).aggregate(total=Sum("size"))["total"] or 0
    if scope.workspaces is not None:
        found.quota_bytes = max(0, settings.DOCUMENT_QUOTA_BYTES) * len(scope.workspaces)
    return found


def _endpoints(scope: Scope) -> list[Endpoint]:
    """Those that fail first. What is not done is read from its index, up to COUNTED."""
    not_done = Delivery.objects.filter(integration=OuterRef("pk")).exclude(status=WorkStatus.DONE)
    rows = scope.of(Subscription.objects.all(), "integration__workspace").filter(
        integration__enabled=True, integration__deleted_at__isnull=True
    )
    rows = rows.select_related("integration").defer("integration__credentials")
    rows = rows.annotate(not_done=ArraySubquery(not_done.order_by().values("status")[: COUNTED + 1]))
    found = []
    for row in rows.order_by(F("failing_since").asc(nulls_last=True), "pk")[:SHOWN]:
        counts = Counter(row.not_done)
        failed = counts.pop(WorkStatus.FAILED, 0)
        found.append(Endpoint(row, min(sum(counts.values()), COUNTED), failed, len(row.not_done) > COUNTED))
    return found
