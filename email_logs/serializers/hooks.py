"""What a provider is answered to its delivery events."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from core.api.serializers import CamelSerializer
from email_logs.services.hooks import Heard


class HeardShape(CamelSerializer):
    """What came of a post."""

    received = serializers.IntegerField(help_text="Events in it that are about mail.")
    new = serializers.IntegerField(help_text="Those that were not known yet.")


def heard(result: Heard) -> dict[str, Any]:
    """As `HeardShape`."""
    return {"received": result.received, "new": result.new}
