"""Calendar parts of an email on the wire: the invitation at a glance, beside the attachment it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from rest_framework import serializers

from core.api.serializers import CamelSerializer, wire_time
from email_sync.models import Attachment


def calendar_part(part: Attachment) -> dict[str, Any]:
    """What the sender says, as it came; only times of a zone we know are turned into UTC."""
    said: dict[str, str] = part.calendar or {}
    organizer = {"name": said["organizer_name"], "email": said["organizer_email"]}
    return {
        "attachmentId": str(part.pk),
        "method": said["method"],
        "summary": said["summary"],
        "start": _instant(said["start"], said["time_zone"]),
        "end": _instant(said["end"], said["time_zone"]),
        "timeZone": said["time_zone"],
        "organizer": organizer if any(organizer.values()) else None,
    }


def _instant(text: str, zone: str) -> str | None:
    """A date or an instant; a local time stays one where nobody knows the zone's name (Windows has its own)."""
    moment = datetime.fromisoformat(text) if text else None
    if moment is None or not (zone or moment.tzinfo):
        return text or None
    try:
        return wire_time(moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC))
    except (KeyError, ValueError, OSError, OverflowError):  # also the name of a folder, or a path
        return text


class OrganizerShape(CamelSerializer):
    name = serializers.CharField()
    email = serializers.CharField()


class CalendarPartShape(CamelSerializer):
    """An invitation, its answer or its cancellation, as the mail says; the event itself is in the calendar."""

    attachment_id = serializers.UUIDField()
    method = serializers.CharField(help_text="REQUEST, REPLY, CANCEL …; empty where the sender does not say.")
    summary = serializers.CharField()
    start = serializers.CharField(
        allow_null=True, help_text="A date, an instant (…Z), or a local time where `timeZone` is not a known name."
    )
    end = serializers.CharField(allow_null=True)
    time_zone = serializers.CharField()
    organizer = OrganizerShape(allow_null=True)
