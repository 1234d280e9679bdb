"""How personal data and its erasure look on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rest_framework import serializers

from core.api.serializers import CamelSerializer, wire_time
from core.work import WorkStatus
from email_logs.models import PersonalDataErasure


class AddressParameters(CamelSerializer):
    """Whose data."""

    address = serializers.CharField(max_length=320, help_text="One email address, compared letter by letter.")


class ToldShape(CamelSerializer):
    """What a provider told of a mail."""

    at = serializers.DateTimeField()
    what = serializers.CharField()
    recipients = serializers.ListField(child=serializers.CharField(), required=False)
    words = serializers.CharField(required=False)


class PersonalEntryShape(CamelSerializer):
    """An entry of a log that names the address."""

    id = serializers.UUIDField()
    table_id = serializers.UUIDField()
    columns = serializers.DictField(help_text="The 13 columns by name.")
    state = serializers.CharField()
    events = ToldShape(many=True)


class SuppressedShape(CamelSerializer):
    """Why the address is not written to."""

    reason = serializers.CharField()
    words = serializers.CharField()
    created_at = serializers.DateTimeField()


class PersonalDataShape(CamelSerializer):
    """All that the email log holds about an address."""

    address = serializers.CharField()
    entries = PersonalEntryShape(many=True)
    events = ToldShape(many=True, help_text="Of mails that no log knows.")
    suppression = SuppressedShape(allow_null=True)
    hidden = serializers.IntegerField(help_text="Entries of users' own mailboxes that their users do not show.")


class ErasureShape(CamelSerializer):
    """An erasure: the work and what it found."""

    id = serializers.UUIDField()
    status = serializers.ChoiceField(WorkStatus.choices)
    done = serializers.IntegerField(help_text="Entries looked at.")
    total = serializers.IntegerField(help_text="Entries there are to look at, about.")
    entries = serializers.IntegerField(help_text="Entries the address was taken out of.")
    events = serializers.IntegerField()
    mails = serializers.IntegerField(help_text="Mails that had not left and do not go to the address any more.")
    suppressions = serializers.IntegerField()
    waiting = serializers.IntegerField(help_text="Mails that are with their provider now; looked at once settled.")
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)


def shown(row: PersonalDataErasure) -> dict[str, Any]:
    """As `ErasureShape`. The address itself is not shown again."""
    return {
        "id": str(row.pk),
        "status": row.status,
        **{name: getattr(row, name) for name in ("done", "total", "entries", "events", "mails", "suppressions")},
        "waiting": len(row.waiting),
        "createdAt": wire_time(row.created_at),
        "finishedAt": _time(row.finished_at),
    }


def _time(moment: datetime | None) -> str | None:
    return wire_time(moment) if moment else None
