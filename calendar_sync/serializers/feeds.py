"""The wire format of a feed's settings."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from calendar_sync.models import Feed
from core.api.serializers import CamelSerializer, IsoDateTimeField, wire_time


class FeedOptions(CamelSerializer):
    """The body of POST `calendar/feed`."""

    shows_private = serializers.BooleanField(
        required=False, default=False, help_text="Private events with all they say; else as busy blocks."
    )


class FeedShape(CamelSerializer):
    """A feed."""

    url = serializers.CharField(allow_null=True, help_text="A secret. Only in the answer that made it, later null.")
    fingerprint = serializers.CharField()
    shows_private = serializers.BooleanField()
    created_at = IsoDateTimeField()


def feed(row: Feed, url: str | None = None) -> dict[str, Any]:
    """A feed; with its address where it was just made."""
    return {
        "url": url,
        "fingerprint": row.fingerprint,
        "showsPrivate": row.shows_private,
        "createdAt": wire_time(row.created_at),
    }
