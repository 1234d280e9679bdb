"""Addresses a workspace does not write to any more."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from core.ids import uuid7
from workspaces.scoping import WorkspaceQuerySet


class SuppressionReason(models.TextChoices):
    """Why."""

    BOUNCED = "bounced"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    MANUAL = "manual"


class Suppression(models.Model):
    """One address of a workspace that refused mail for good, or whose reader does not want any."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False)
    address = models.TextField()
    """In lower case, its domain in ASCII."""
    reason = models.CharField(max_length=20, choices=SuppressionReason.choices)
    words = models.TextField(blank=True, default="")
    """What the refusing server said, cleaned; or the note of who added it."""
    entry_id = models.UUIDField(null=True, blank=True)
    """The mail it came of."""
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = WorkspaceQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = (models.UniqueConstraint(fields=("workspace", "address"), name="suppression_once"),)
        indexes = (models.Index(fields=("workspace", "-created_at", "-id"), name="suppression_list"),)

    def __str__(self) -> str:
        return f"{self.get_reason_display()}, {self.created_at:%Y-%m-%d}"
