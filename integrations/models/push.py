"""How a provider tells of changes before it is asked: what the rows of mail's and the calendars' doorbells have in
common. Which account or part of it a row is about, each app adds."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.functions import Now

from core.ids import uuid7


class PushStatus(models.TextChoices):
    """OFF: not yet set up, or the provider or server has none; polling goes on in every case."""

    ACTIVE = "active", "the provider tells of changes"
    OFF = "off", "polled only"
    FAILED = "failed", "it could not be set up"


class PushRow(models.Model):
    """A doorbell (`services.doorbells`). It only ever says "look": nothing it brings is stored as data."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(
        "integrations.Connection", on_delete=models.CASCADE, related_name="+", db_index=False
    )
    via = models.CharField(max_length=20)
    """In a word, as the doorbell says it."""
    remote_id = models.CharField(max_length=320, blank=True, default="")
    """What notifications name: the subscription, or the account's address, which several connections may share."""
    secret_digest = models.CharField(max_length=64, blank=True, default="")
    """SHA-256, hexadecimal, of the secret every notification must carry; "" where notifications are signed."""
    address = models.TextField(blank=True, default="")
    """The address of ours that the subscription was made with; "" where it holds none."""
    status = models.CharField(max_length=10, choices=PushStatus.choices, default=PushStatus.OFF)
    message = models.TextField(blank=True, default="")
    """Why it is not active, or why the last renewal failed: in the provider's words, or ours."""
    expires_at = models.DateTimeField(null=True, blank=True)
    """When it ends if nobody renews it."""
    next_attempt_at = models.DateTimeField(db_default=Now())
    """When it is set up or renewed next. Moved ahead by whoever takes that on, so that one worker does."""
    fence = models.PositiveBigIntegerField(db_default=0)
    """How often it was taken on. Whoever took it on writes only while nobody has since (`held`)."""
    failures = models.PositiveIntegerField(default=0)
    """Attempts that failed since the last that did not."""
    last_notified_at = models.DateTimeField(null=True, blank=True)
    """When the provider last told of a change, to within ten seconds."""
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = models.Manager()

    class Meta:
        abstract = True

    @property
    def about(self) -> str:
        """The part of the account it is about, in the provider's words; "" for all of it."""
        return ""

    def held(self) -> models.QuerySet[Any]:
        """This row, as long as nobody has taken it on since it was read."""
        return type(self)._default_manager.filter(pk=self.pk, fence=self.fence)
