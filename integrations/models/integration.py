"""A workspace's integration: an account the workspace itself has at a vendor, run by its owner and admins.

Written through `services.integrations` only. Credentials are sealed and never leave but to the vendor. A deleted
integration keeps its row without them, so that its history (deliveries, logs, audit) stays readable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core.crypto import SealedJSONField
from core.ids import uuid7
from workspaces.scoping import WorkspaceQuerySet

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_NAME = 255


class Health(models.TextChoices):
    """What the last check or use said."""

    UNKNOWN = "unknown"
    OK = "ok"
    LIMITED = "limited"
    """The credential is good but cannot do everything."""
    FAILING = "failing"
    NEEDS_RECONNECT = "needs_reconnect"
    """Its grant is dead: only new credentials mend it."""


BROKEN = frozenset({Health.FAILING, Health.NEEDS_RECONNECT})


class IntegrationQuerySet(WorkspaceQuerySet["Integration"]):
    """Set rules: which exist, which work."""

    def existing(self) -> Self:
        """Not deleted."""
        return self.filter(deleted_at__isnull=True)

    def enabled(self) -> Self:
        return self.existing().filter(enabled=True)

    def listed(self) -> Self:
        """For lists: without opening a secret, in the order they were made."""
        return self.existing().defer("credentials").order_by("created_at", "id")


class Integration(models.Model):
    """One account of a workspace at a vendor."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(
        "workspaces.Workspace", on_delete=models.CASCADE, related_name="integrations", db_index=False
    )
    name = models.CharField(max_length=MAX_NAME)
    type = models.CharField(max_length=40)
    """Of the source document; the key of its provider."""
    config = models.JSONField(default=dict)
    """Settings that are no secret, by the document's names."""
    masks = models.JSONField(default=dict)
    """What is shown of the settings that are secret: {"webhookUrl": "https://hooks.example/…****"}."""
    credentials = SealedJSONField(null=True, blank=True)
    """{"credentials": {…}, "config": {secret settings}, "retired": [{"name", "value", "until"}]}, and where a token
    was refreshed since they were given {"token": {"endsAt", "dead"}}. None: there are none."""
    has_credentials = models.BooleanField(default=False)
    """Whether what its provider requires is there, so that lists need not open anything."""
    fingerprint = models.CharField(max_length=40, blank=True, default="")
    """Of its main credential: tells two apart and nothing about either."""
    credentials_changed_at = models.DateTimeField(null=True, blank=True)
    refresh_lease_until = models.DateTimeField(null=True, blank=True)
    """Who refreshes its token now, until when; see `services.integration_tokens`."""
    refresh_fence = models.PositiveBigIntegerField(default=0)
    enabled = models.BooleanField(default=True)
    is_site_email_provider = models.BooleanField(default=False)
    """The workspace's notifications and automations are sent through this one."""
    health = models.CharField(max_length=20, choices=Health.choices, default=Health.UNKNOWN)
    health_code = models.CharField(max_length=64, blank=True, default="")
    health_message = models.TextField(blank=True, default="")
    health_checked_at = models.DateTimeField(null=True, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    """When the incident that lasts began; None while it works."""
    check_failures = models.PositiveIntegerField(default=0)
    """Checks in a row that failed."""
    next_check_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now())
    """When somebody last changed it; checks do not count."""
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = IntegrationQuerySet.as_manager()

    class Meta:
        ordering = ("created_at", "id")
        constraints = (
            models.UniqueConstraint(
                fields=("workspace",),
                condition=Q(is_site_email_provider=True),
                name="integration_one_site_email_provider",
            ),
            models.CheckConstraint(
                condition=Q(is_site_email_provider=False) | Q(enabled=True, deleted_at__isnull=True),
                name="integration_site_email_provider_is_enabled",
            ),
            models.CheckConstraint(
                condition=Q(deleted_at__isnull=True) | Q(credentials__isnull=True, enabled=False),
                name="integration_deleted_holds_no_secret",
            ),
        )
        indexes = (
            models.Index(fields=("workspace", "created_at", "id"), name="integration_list"),
            models.Index(
                fields=("next_check_at",), condition=Q(enabled=True, deleted_at__isnull=True), name="integration_due"
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def secrets(self) -> Mapping[str, Any]:
        """The opened credentials: see the column. Each access opens anew."""
        opened: Mapping[str, Any] = self.credentials or {}
        return opened
