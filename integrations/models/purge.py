"""A purge: the work of deleting all that was synced over a connection, and the proof that it is gone."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core.ids import uuid7
from core.work import WorkRow


class Purge(WorkRow):
    """Outlives the connection it deletes, so it names it by id only. Nothing of its content is kept here."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    connection_id = models.UUIDField(unique=True)
    provider = models.CharField(max_length=40)
    total = models.PositiveBigIntegerField(default=0)
    """Rows to delete, over all tables."""
    done = models.PositiveBigIntegerField(default=0)
    before = models.JSONField(default=dict)
    """Table → rows of the connection when the work began."""
    after = models.JSONField(default=dict)
    """The same tables counted after the last row was deleted; empty while the work goes on."""
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = (
            models.Index(fields=("next_attempt_at",), condition=Q(status="queued"), name="purge_due"),
            models.Index(fields=("lease_until",), condition=Q(status="running"), name="purge_leases"),
        )
