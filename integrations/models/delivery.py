"""Events on their way out: how far a subscriber was told, what goes to it, and every attempt.

Written by `services.subscriptions` (what is to go) and `services.delivering` (how it went); read by the API. The
integration's row stays when it is deleted, and so do these, for `delivery_log.KEEP_DAYS` after they ended.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core.holder import MAX_NAME
from core.ids import uuid7
from core.work import WorkQuerySet, WorkRow, WorkStatus

MAX_AGE = timedelta(days=5)
"""What waited this long is not sent any more, and what failed this long is switched off."""


class SubscriptionQuerySet(models.QuerySet["Subscription"]):
    """Set rules: who may be asked now."""

    def rested(self) -> Self:
        """Neither we nor the endpoint said to wait."""
        waits = Q(not_before__gt=Now()) | Q(asked_until__gt=Now())
        return self.filter(integration__enabled=True, integration__deleted_at__isnull=True).exclude(waits)


class Subscription(models.Model):
    """How one integration is told of events: the position of the last one made into a delivery, and how its endpoint
    behaves. Locked after its workspace and its integration, never before."""

    integration = models.OneToOneField(
        "integrations.Integration", primary_key=True, on_delete=models.CASCADE, related_name="subscription"
    )
    transaction = models.BigIntegerField()
    event_id = models.UUIDField()
    """With `transaction`: everything up to here was looked at (`services.events.Position`)."""
    since = models.UUIDField(null=True, blank=True)
    """Only events made after this id: set where positions count anew, in a database restored from a dump."""
    failures = models.PositiveIntegerField(default=0)
    """Attempts that failed since the last one that did not."""
    failing_since = models.DateTimeField(null=True, blank=True)
    slow = models.BooleanField(default=False)
    """Its last answer took long: it gets a share of the workers only."""
    not_before = models.DateTimeField(null=True, blank=True)
    """Our own pause after a failure that tells of the endpoint rather than of the message."""
    asked_until = models.DateTimeField(null=True, blank=True)
    """The endpoint asked to wait until then (Retry-After); nobody's hurry shortens that."""
    rung_at = models.DateTimeField(null=True, blank=True)
    """A worker was rung then and has not begun yet."""

    objects = SubscriptionQuerySet.as_manager()


class DeliveryQuerySet(WorkQuerySet):
    """Set rules of deliveries."""

    def ended(self) -> Self:
        return self.filter(status__in=(WorkStatus.DONE, WorkStatus.FAILED))

    def at_work(self) -> Self:
        """Being sent now."""
        return self.filter(status=WorkStatus.RUNNING, lease_until__gt=Now())

    def fresh(self) -> Self:
        """Young enough to be sent still."""
        return self.filter(queued_at__gt=Now() - MAX_AGE)


class Delivery(WorkRow):
    """One event for one integration. Its body is frozen: every attempt sends these bytes under this id."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False)
    integration = models.ForeignKey(
        "integrations.Integration", on_delete=models.CASCADE, related_name="deliveries", db_index=False
    )
    event_id = models.UUIDField()
    """Of an `Event`, which is forgotten sooner than this."""
    event_type = models.CharField(max_length=40)
    event_at = models.DateTimeField()
    body = models.TextField()
    """JSON in ASCII: {"type", "timestamp", "data"}."""
    tries = models.PositiveSmallIntegerField(default=0)
    """Failed attempts since it was queued: the place in the schedule."""
    attempt_count = models.PositiveIntegerField(default=0)
    """All attempts ever; the number of the last one."""
    response_status = models.PositiveSmallIntegerField(null=True, blank=True)
    """Of the last attempt; None: no answer."""
    queued_at = models.DateTimeField(db_default=Now())
    """When it was made, or last asked for again."""
    holder = models.CharField(max_length=MAX_NAME, blank=True, default="")
    """The process that sends it (`core.holder`)."""
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = DeliveryQuerySet.as_manager()  # type: ignore[misc]  # more than WorkRow's

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ("id",)
        constraints = (models.UniqueConstraint(fields=("integration", "event_id"), name="delivery_one_per_event"),)
        indexes = (
            models.Index(fields=("integration", "id"), name="delivery_list"),
            models.Index(
                fields=("integration", "id"), condition=~Q(status=WorkStatus.DONE), name="delivery_list_not_done"
            ),
            models.Index(fields=("integration", "event_type", "id"), name="delivery_list_by_type"),
            models.Index(
                fields=("integration", "next_attempt_at"), condition=Q(status=WorkStatus.QUEUED), name="delivery_due"
            ),
            models.Index(fields=("lease_until",), condition=Q(status=WorkStatus.RUNNING), name="delivery_at_work"),
        )

    def __str__(self) -> str:
        return f"{self.event_type}, {self.created_at:%Y-%m-%d %H:%M}"

    @property
    def message_id(self) -> str:
        """What receivers de-duplicate by (`webhook-id`): the same for every attempt and replay."""
        return f"msg_{self.pk.hex}"


class DeliveryAttempt(models.Model):
    """One time it was sent, written before the call: one that never got an end was cut off."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempts_made", db_index=False)
    number = models.PositiveIntegerField()
    at = models.DateTimeField(db_default=Now(), editable=False)
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    """What was answered; None: nothing, or not yet."""
    latency_ms = models.PositiveIntegerField(null=True, blank=True)
    """None while it is under way."""
    error = models.TextField(blank=True, default="")
    """Why it was no success, in a sentence."""
    excerpt = models.TextField(blank=True, default="")
    """The beginning of the answer, cleaned, at most 1 KB; for admins."""

    class Meta:
        ordering = ("delivery", "number")
        constraints = (models.UniqueConstraint(fields=("delivery", "number"), name="deliveryattempt_number"),)
