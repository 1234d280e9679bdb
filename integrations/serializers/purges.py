"""The wire format of a purge."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from core.api.serializers import CamelSerializer, IsoDateTimeField, wire_time
from core.work import WorkStatus
from integrations.models import Purge


def purge(row: Purge) -> dict[str, Any]:
    """How far it is, and, once it is done, the proof: every table with its rows before and after."""
    return {
        "connectionId": str(row.connection_id),
        "provider": row.provider,
        "status": row.status,
        "progress": {"done": min(row.done, row.total), "total": row.total},
        "startedAt": wire_time(row.created_at),
        "finishedAt": wire_time(row.finished_at) if row.finished_at else None,
        "tables": [
            {"table": name, "before": before, "after": row.after.get(name)} for name, before in row.before.items()
        ],
    }


class PurgeProgressShape(CamelSerializer):
    done = serializers.IntegerField()
    total = serializers.IntegerField()


class PurgedTableShape(CamelSerializer):
    table = serializers.CharField()
    before = serializers.IntegerField()
    after = serializers.IntegerField(allow_null=True, help_text="null until it is done.")


class PurgeShape(CamelSerializer):
    """A purge and its proof."""

    connection_id = serializers.UUIDField()
    provider = serializers.CharField()
    status = serializers.ChoiceField(choices=WorkStatus.choices)
    progress = PurgeProgressShape()
    started_at = IsoDateTimeField()
    finished_at = IsoDateTimeField(allow_null=True)
    tables = PurgedTableShape(many=True)
