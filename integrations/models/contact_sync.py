"""The sync of a CRM's contacts and companies: one row per integration, which is the work and remembers where it is."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from integrations.models.integration_run import IntegrationRun


class ContactSync(IntegrationRun):
    """The counters are those of the last run. One that broke off goes on where it was: the cursor is committed with the
    matches of its page."""

    integration = models.OneToOneField(
        "integrations.Integration", on_delete=models.CASCADE, related_name="contact_sync"
    )
    account = models.CharField(max_length=300, blank=True, default="")
    """Whose CRM is followed and what its records are called: cursor and matches belong to this. Another one begins
    anew."""
    cursor = models.JSONField(default=dict)
    """The provider's own (`records.CrmPage.cursor`)."""
    midway = models.BooleanField(default=False)
    """The last page was not the last one of its run."""
    done = models.PositiveIntegerField(default=0)
    """Records of the run so far."""
    total = models.PositiveIntegerField(default=0)
    """Records there are to look at, as far as is known yet."""
    made = models.PositiveIntegerField(default=0)
    """Matches made by the run."""
    removed = models.PositiveIntegerField(default=0)
    skipped = models.JSONField(default=dict)
    """Why names of the run's records became no match → how many."""
    last_synced_at = models.DateTimeField(null=True, blank=True)
    """When a run last came to its end."""
    next_sync_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = (
            models.Index(fields=("next_attempt_at",), condition=Q(status="queued"), name="contactsync_due"),
            models.Index(fields=("lease_until",), condition=Q(status="running"), name="contactsync_leases"),
            models.Index(fields=("next_sync_at",), condition=Q(status__in=("done", "failed")), name="contactsync_next"),
        )
