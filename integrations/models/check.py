"""What checks of integrations said. Written by `services.integration_health`, which keeps the newest of each."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from core.ids import uuid7


class IntegrationCheck(models.Model):
    """One time its vendor was asked, on schedule or by a person."""

    KEPT = 50
    """Of an integration."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    integration = models.ForeignKey(
        "integrations.Integration", on_delete=models.CASCADE, related_name="checks", db_index=False
    )
    at = models.DateTimeField(db_default=Now(), editable=False)
    code = models.CharField(max_length=64, blank=True)
    """Why it does not work, a stable word; "" where it does."""
    limited = models.BooleanField(default=False)
    """Its credentials are good and cannot do everything."""
    message = models.TextField()
    """In the vendor's words, as `Integration.health_message`."""

    class Meta:
        indexes = (models.Index(fields=("integration", "-id"), name="integrationcheck_newest"),)

    def __str__(self) -> str:
        return f"{self.code or 'works'}, {self.at:%Y-%m-%d %H:%M}"
