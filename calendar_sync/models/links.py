"""What people decided by hand about an event and a CRM entity."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from core.ids import uuid7
from entities.models import EntityReference
from integrations.models import Connection


class LinkKind(models.TextChoices):
    """What somebody decided. Either wins over all matches."""

    LINKED = "linked"
    UNLINKED = "unlinked"


class EventLink(EntityReference):
    """A decision made by hand: this event is about that entity, or is not. The newest one stands. One about a series
    holds for its changed occurrences that have none of their own. It hangs on the event, whose row survives a resync
    and a move to another calendar."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="+", db_index=False)
    event = models.ForeignKey(
        "calendar_sync.CalendarEvent", on_delete=models.CASCADE, related_name="links", db_index=False
    )
    kind = models.CharField(max_length=10, choices=LinkKind.choices)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    decided_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("event", "entity_type", "entity_id"), name="eventlink_one_decision"),
        )
        indexes = (models.Index(fields=("connection", "entity_type", "entity_id"), name="eventlink_of_entity"),)
