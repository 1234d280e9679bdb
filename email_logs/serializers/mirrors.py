"""How the mirror of an email log looks on the wire (`integrations.serializers.integrations.MirrorShape`)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from core.api.serializers import wire_time
from core.work import WorkStatus
from email_logs.models import EmailLogMirror
from email_logs.services import mirroring


def shown(mirror: EmailLogMirror) -> dict[str, Any]:
    """As `MirrorShape`."""
    error = {"code": mirror.error_code, "message": mirror.error_message, "at": _time(mirror.error_at)}
    return {
        "id": str(mirror.pk),
        "run": mirror.run,
        "status": mirror.status,
        "trigger": mirror.trigger,
        "table": mirroring.table_named(mirror.integration),
        "done": mirror.done,
        "total": mirror.total,
        "totalIsExact": mirror.total < mirroring.COUNTED_AT_MOST,
        "written": mirror.written,
        "startedAt": _time(mirror.started_at),
        "lastMirroredAt": _time(mirror.last_mirrored_at),
        "nextAttemptAt": _time(mirror.next_attempt_at) if mirror.status == WorkStatus.QUEUED else None,
        "lastError": error if mirror.error_code else None,
    }


def _time(moment: datetime | None) -> str | None:
    return wire_time(moment) if moment else None
