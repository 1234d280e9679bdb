"""A provider's budget for one mailbox or integration, as every worker sees it. Kept by `services.quota`."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from core.ids import uuid7


class QuotaBudget(models.Model):
    """What is left of a provider's budget for one owner (`services.quota`). One row for all workers."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner_id = models.UUIDField()
    """A connection or an integration. What is idle is forgotten, so nothing has to follow its deletion."""
    name = models.CharField(max_length=20)
    """Whose budget: a kind of sync ("email")."""
    level = models.FloatField()
    """Units at `refilled_at`; below 0 where a person's request or a large one went ahead."""
    refilled_at = models.DateTimeField(db_default=Now())
    closed_until = models.DateTimeField(null=True, blank=True)
    """The provider said to wait until then."""

    class Meta:
        constraints = (models.UniqueConstraint(fields=("owner_id", "name"), name="quotabudget_one_per_name"),)


class QuotaSlot(models.Model):
    """One of the requests a provider allows a mailbox at once. Held under a lease: a dead worker's comes back."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner_id = models.UUIDField()
    name = models.CharField(max_length=20)
    number = models.PositiveSmallIntegerField()
    holder = models.UUIDField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("owner_id", "name", "number"), name="quotaslot_one_per_number"),)
