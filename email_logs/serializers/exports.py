"""Exports in the background on the wire."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from core.api.serializers import CamelSerializer, IsoDateTimeField, wire_time
from core.work import WorkStatus
from email_logs.files import FORMATS
from email_logs.models import EmailLogExport
from email_logs.serializers.tables import NEWEST, OLDEST
from email_logs.services.reading import Filters


class LogExportFiltersShape(CamelSerializer):
    """What it is narrowed by; null where it is not."""

    status = serializers.CharField(allow_null=True)
    state = serializers.CharField(allow_null=True)
    source = serializers.CharField(allow_null=True)  # type: ignore[assignment]  # a field's own name
    provider = serializers.CharField(allow_null=True)
    q = serializers.CharField(allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        """With `from` and `to`; a name that Python keeps for itself."""
        span = {"from": IsoDateTimeField(allow_null=True), "to": IsoDateTimeField(allow_null=True)}
        return {**super().get_fields(), **span}


class LogExportProgressShape(CamelSerializer):
    """How far it is, in rows."""

    done = serializers.IntegerField()
    total = serializers.IntegerField(allow_null=True, help_text="About; null until they were counted.")


class LogExportErrorShape(CamelSerializer):
    """Why it failed, or is tried again."""

    code = serializers.CharField()
    message = serializers.CharField()


class LogExportShape(CamelSerializer):
    """An export of a log table, and where its file is once it is done."""

    id = serializers.UUIDField()
    table_id = serializers.UUIDField()
    status = serializers.ChoiceField(WorkStatus.choices)
    format = serializers.ChoiceField(list(FORMATS))
    sort = serializers.ChoiceField([NEWEST, OLDEST])
    filters = LogExportFiltersShape()
    progress = LogExportProgressShape()
    size = serializers.IntegerField(help_text="Bytes of the file so far.")
    created_by = serializers.CharField(help_text="Who asked for it.")
    created_at = IsoDateTimeField()
    finished_at = IsoDateTimeField(allow_null=True)
    expires_at = IsoDateTimeField(allow_null=True, help_text="When it goes, with its file.")
    url = serializers.CharField(allow_null=True, help_text="Of the file.")
    error = LogExportErrorShape(allow_null=True)


def shown(row: EmailLogExport) -> dict[str, Any]:
    """As `LogExportShape`. Whoever asked for it must be loaded."""
    asked = Filters.of(row.filters)
    words = {name: getattr(asked, name) or None for name in ("status", "state", "source", "provider", "q")}
    span = {
        "from": wire_time(asked.since) if asked.since else None,
        "to": wire_time(asked.until) if asked.until else None,
    }
    done = row.status == WorkStatus.DONE
    return {
        "id": str(row.pk),
        "tableId": str(row.table_id),
        "status": row.status,
        "format": row.format,
        "sort": OLDEST if row.oldest_first else NEWEST,
        "filters": {**words, **span},
        "progress": {"done": row.done, "total": row.total},
        "size": row.size,
        "createdBy": row.created_by.email,
        "createdAt": wire_time(row.created_at),
        "finishedAt": wire_time(row.finished_at) if row.finished_at else None,
        "expiresAt": wire_time(row.expires_at) if row.expires_at else None,
        "url": f"/api/tables/{row.table_id}/exports/{row.pk}/content" if done else None,
        "error": {"code": row.error_code, "message": row.error_message} if row.error_code else None,
    }
