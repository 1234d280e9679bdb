"""What happened, for those who follow. Written and read through `services.events`."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Cast, Now

from core.ids import uuid7


class EventType(models.TextChoices):
    """What can have happened (DESIGN 6). `email.updated` is for streams only; nobody subscribes to it."""

    EMAIL_RECEIVED = "email.received"
    EMAIL_UPDATED = "email.updated"
    EMAIL_SENT = "email.sent"
    EMAIL_FAILED = "email.failed"
    EMAIL_DELIVERED = "email.delivered"
    EMAIL_BOUNCED = "email.bounced"
    CALENDAR_EVENT_CREATED = "calendar.event.created"
    CALENDAR_EVENT_UPDATED = "calendar.event.updated"
    CALENDAR_EVENT_DELETED = "calendar.event.deleted"
    DOCUMENT_UPLOADED = "document.uploaded"
    DOCUMENT_ARCHIVED = "document.archived"
    DOCUMENT_DELETED = "document.deleted"
    CONNECTION_NEEDS_REAUTH = "connection.needs_reauth"
    CONNECTION_RECOVERED = "connection.recovered"
    SYNC_FAILED = "sync.failed"
    INTEGRATION_CREATED = "integration.created"
    INTEGRATION_UPDATED = "integration.updated"
    INTEGRATION_DELETED = "integration.deleted"
    INTEGRATION_FAILING = "integration.failing"
    INTEGRATION_RECOVERED = "integration.recovered"


FOR_STREAMS = frozenset({EventType.EMAIL_UPDATED})
"""Of use only to whoever shows a mailbox; nobody outside is told."""
SUBSCRIBABLE = tuple(type.value for type in EventType if type not in FOR_STREAMS)
"""What an integration may subscribe to."""


WRITING_TRANSACTION = Cast(
    Cast(models.Func(function="pg_current_xact_id"), models.TextField()), models.BigIntegerField()
)
"""The number of the transaction that writes the row: a 64-bit count that never wraps (PostgreSQL 13 and newer)."""


class Event(models.Model):
    """Something that happened, written in the transaction of what it tells and never changed (ADR 0010).

    Ids order rows by when they were made, not by when they could be seen; whoever follows reads in the order of
    (transaction, id) and only what `services.events.read_after` gives.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    transaction = models.BigIntegerField(db_default=WRITING_TRANSACTION, editable=False)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False)
    type = models.CharField(max_length=40)
    connection = models.ForeignKey(
        "integrations.Connection", null=True, on_delete=models.CASCADE, related_name="events"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    """Whose it is: the owner of the mailbox. None: it concerns the workspace."""
    payload = models.JSONField(default=dict)
    """Ids and small facts, never a subject, an address or a text: what a reader may see is decided when it is read."""
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("transaction", "id")
        indexes = (
            models.Index(fields=("workspace", "transaction", "id"), name="event_workspace"),
            models.Index(fields=("user", "transaction", "id"), name="event_user"),
        )

    def __str__(self) -> str:
        return f"{self.type}, {self.created_at:%Y-%m-%d %H:%M}"
