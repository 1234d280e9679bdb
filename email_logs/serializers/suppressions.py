"""How suppressed addresses look on the wire."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from core.api.pagination import PageParameters, paged_shape
from core.api.serializers import CamelSerializer, IsoDateTimeField, wire_time
from email_logs.models import Suppression
from email_logs.models.suppression import SuppressionReason


class SuppressionParameters(PageParameters):
    """Query of the list."""

    reason = serializers.ChoiceField(SuppressionReason.choices, required=False)
    address = serializers.CharField(required=False, max_length=320, help_text="Exactly this one.")
    q = serializers.CharField(required=False, max_length=320, help_text="A part of the address.")


class SuppressionBody(CamelSerializer):
    """Body of a new one."""

    address = serializers.EmailField(max_length=320)
    note = serializers.CharField(required=False, allow_blank=True, default="", max_length=500)


class SuppressionShape(CamelSerializer):
    """An address that is not written to."""

    id = serializers.UUIDField()
    address = serializers.CharField(help_text="In lower case, its domain in ASCII.")
    reason = serializers.ChoiceField(SuppressionReason.choices)
    note = serializers.CharField(allow_blank=True, help_text="What the refusing server said, or who added it.")
    entry_id = serializers.UUIDField(allow_null=True, help_text="The mail it came of.")
    created_at = IsoDateTimeField()


SuppressionsShape = paged_shape(SuppressionShape)


def suppression(row: Suppression) -> dict[str, Any]:
    """As `SuppressionShape`."""
    return {
        "id": str(row.pk),
        "address": row.address,
        "reason": row.reason,
        "note": row.words,
        "entryId": str(row.entry_id) if row.entry_id else None,
        "createdAt": wire_time(row.created_at),
    }
