"""The wire format of what is decided by hand about an event."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from calendar_sync.models import EventLink
from core.api.serializers import CamelSerializer, IsoDateTimeField, wire_time

BY_HAND = [("manual", "manual")]


class EventLinkShape(CamelSerializer):
    """A link made by hand."""

    event_id = serializers.CharField(help_text="The series where an occurrence has no change of its own.")
    entity_type = serializers.CharField()
    entity_id = serializers.CharField()
    how = serializers.ChoiceField(choices=BY_HAND)
    created_at = IsoDateTimeField()


def link(row: EventLink, event_id: str) -> dict[str, Any]:
    """A decision about an event."""
    return {
        "eventId": event_id,
        "entityType": row.entity_type,
        "entityId": row.entity_id,
        "how": "manual",
        "createdAt": wire_time(row.decided_at),
    }
