"""The wire format of exports and imports (docs/mail.md)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from core.api.serializers import CamelSerializer, IsoDateTimeField, wire_time
from core.work import WorkStatus
from email_sync.models import MailTransfer

# --- out ----------------------------------------------------------------------------------------------------------


def _transfer(row: MailTransfer) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "connectionId": str(row.connection_id),
        "status": row.status if row.received else "receiving",
        "progress": {"done": row.done, "total": row.total},
        "size": row.size,
        "createdAt": wire_time(row.created_at),
        "finishedAt": wire_time(row.finished_at) if row.finished_at else None,
        "error": {"code": row.error_code, "message": row.error_message} if row.error_code else None,
    }


def export(row: MailTransfer) -> dict[str, Any]:
    """An export: how far it is, and where its file is once it is done."""
    ready = row.status == WorkStatus.DONE
    return {
        **_transfer(row),
        "rebuilt": row.rebuilt,
        "url": f"/api/v1/integrations/email/exports/{row.pk}/file" if ready else None,
        "expiresAt": wire_time(row.expires_at) if row.expires_at else None,
    }


def imported(row: MailTransfer) -> dict[str, Any]:
    """An import: how far it is, and what became of its messages."""
    problems = [{"number": number, "reason": reason} for number, reason in row.problems]
    counts = {"stored": row.stored, "skipped": row.skipped, "refused": row.refused}
    return {**_transfer(row), "read": row.offset, **counts, "problems": problems}


# --- for OpenAPI --------------------------------------------------------------------------------------------------


class TransferProgressShape(CamelSerializer):
    done = serializers.IntegerField()
    total = serializers.IntegerField(allow_null=True)


class TransferErrorShape(CamelSerializer):
    code = serializers.CharField()
    message = serializers.CharField()


class TransferShape(CamelSerializer):
    id = serializers.UUIDField()
    connection_id = serializers.UUIDField()
    status = serializers.CharField(help_text="receiving (an upload), queued, running, done or failed.")
    progress = TransferProgressShape(help_text="Messages.")
    size = serializers.IntegerField(help_text="Bytes of the file.")
    created_at = IsoDateTimeField()
    finished_at = IsoDateTimeField(allow_null=True)
    error = TransferErrorShape(allow_null=True)


class ExportShape(TransferShape):
    """An export of one mailbox."""

    rebuilt = serializers.IntegerField(help_text="Messages written from what is stored, marked by X-Patchbay.")
    url = serializers.CharField(allow_null=True)
    expires_at = IsoDateTimeField(allow_null=True)


class ProblemShape(CamelSerializer):
    number = serializers.IntegerField(help_text="Of the message in the file, from 1.")
    reason = serializers.CharField()


class ImportShape(TransferShape):
    """An import into one mailbox."""

    read = serializers.IntegerField(help_text="Bytes of the file that are done.")
    stored = serializers.IntegerField()
    skipped = serializers.IntegerField(help_text="Messages that were here already.")
    refused = serializers.IntegerField()
    problems = ProblemShape(many=True, help_text="The first hundred that were refused.")
