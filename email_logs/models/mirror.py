"""The mirror of a workspace's email log in an outside table: one row per integration, which is the work and remembers
where it is."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from integrations.models.integration_run import IntegrationRun


class EmailLogMirror(IntegrationRun):
    """`done` and `total` are those of the last run. One that broke off goes on where it was: a place is committed once
    its rows are written there."""

    integration = models.OneToOneField(
        "integrations.Integration", on_delete=models.CASCADE, related_name="email_log_mirror"
    )
    target = models.CharField(max_length=400, blank=True, default="")
    """Which outside table the places belong to. Another one begins anew."""
    checked = models.BooleanField(default=False)
    """Its columns were looked at since it last refused something."""
    places = models.JSONField(default=dict)
    """Log table's id → [transaction, entry id] of the last change that is mirrored (`services.following`)."""
    done = models.PositiveBigIntegerField(default=0)
    """Rows written by the run so far."""
    total = models.PositiveBigIntegerField(default=0)
    """Rows it had to write when it began or went on, those done included; no less than `done`."""
    written = models.PositiveBigIntegerField(default=0)
    """Rows written to the target in all; one that changed later counts again."""
    last_mirrored_at = models.DateTimeField(null=True, blank=True)
    """When a run last came to its end: the target then was what the log was."""
    next_mirror_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "mirror of the email log"
        verbose_name_plural = "mirrors of the email log"
        indexes = (
            models.Index(fields=("next_attempt_at",), condition=Q(status="queued"), name="emaillogmirror_due"),
            models.Index(fields=("lease_until",), condition=Q(status="running"), name="emaillogmirror_leases"),
        )

    def __str__(self) -> str:
        return self.target or "mirror"
