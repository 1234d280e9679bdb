"""The erasure of one person's address from a workspace's email log: the work, and what it found."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core.crypto import SealedTextField
from core.ids import uuid7
from core.work import ACTIVE, WorkRow


class PersonalDataErasure(WorkRow):
    """The address is in it while the work goes on, sealed; afterwards nothing but a keyed mark of it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    address = SealedTextField(null=True, blank=True)
    """None once it is done."""
    mark = models.CharField(max_length=80)
    """Tells whether two erasures are of one address (`personal_data.mark_of`)."""
    places = models.JSONField(default=dict)
    """Log table's id → [transaction, entry id] up to where its entries were looked through."""
    events_seen = models.JSONField(default=dict)
    """Log table's id → key of the last event that was looked at; "" never comes after another."""
    waiting = models.JSONField(default=list)
    """Ids of mails that are with their provider at this moment: they are looked at again when that is settled."""
    done = models.PositiveBigIntegerField(default=0)
    """Entries looked at."""
    total = models.PositiveBigIntegerField(default=0)
    """Entries there were, about."""
    entries = models.PositiveBigIntegerField(default=0)
    """Entries the address was taken out of; the same for the others."""
    events = models.PositiveBigIntegerField(default=0)
    mails = models.PositiveBigIntegerField(default=0)
    """Mails that had not left: not sent to the address any more."""
    suppressions = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("workspace", "mark"), condition=Q(status__in=ACTIVE), name="personaldataerasure_one_under_way"
            ),
        )
        indexes = (
            models.Index(fields=("next_attempt_at",), condition=Q(status="queued"), name="personaldataerasure_due"),
            models.Index(fields=("lease_until",), condition=Q(status="running"), name="personaldataerasure_leases"),
        )
