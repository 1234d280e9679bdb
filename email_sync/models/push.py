"""How a provider tells of changes in a mailbox before it is asked."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from core.ids import uuid7
from integrations.models import Connection


class PushStatus(models.TextChoices):
    """OFF: not yet set up, or the provider or server has none; polling goes on in every case."""

    ACTIVE = "active", "the provider tells of changes"
    OFF = "off", "polled only"
    FAILED = "failed", "it could not be set up"


class PushChannel(models.Model):
    """The doorbell of one mailbox: a subscription at the provider (`services.doorbells`), or a connection that a
    listening process holds (`services.listening`). It only ever says "look": nothing it brings is stored as mail."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.OneToOneField(Connection, on_delete=models.CASCADE, related_name="push_channel")
    via = models.CharField(max_length=20)
    """In a word: "pubsub", "subscription", "idle"."""
    remote_id = models.CharField(max_length=320, blank=True, default="")
    """What notifications name: the subscription, or the account's address, which several connections may share."""
    secret_digest = models.CharField(max_length=64, blank=True, default="")
    """SHA-256, hexadecimal, of the secret every notification must carry; "" where notifications are signed."""
    status = models.CharField(max_length=10, choices=PushStatus.choices, default=PushStatus.OFF)
    message = models.TextField(blank=True, default="")
    """Why it is not active, or why the last renewal failed: in the provider's words, or ours."""
    expires_at = models.DateTimeField(null=True, blank=True)
    """When it ends if nobody renews it."""
    next_attempt_at = models.DateTimeField(db_default=Now())
    """When it is set up or renewed next. Moved ahead by whoever takes that on, so that one worker does."""
    failures = models.PositiveIntegerField(default=0)
    """Attempts that failed since the last that did not."""
    holder = models.UUIDField(null=True, blank=True)
    """The listening process that holds the connection, until `lease_until`."""
    lease_until = models.DateTimeField(null=True, blank=True)
    last_notified_at = models.DateTimeField(null=True, blank=True)
    """When the provider last told of a change, to within ten seconds."""
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = (models.Index(fields=("remote_id",), name="pushchannel_remote_id"),)
