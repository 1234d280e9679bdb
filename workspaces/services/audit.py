"""The audit trail's one way in. Every service that changes something calls `record` inside its own transaction.

`changes` is for an owner to read: field names with safe values, never a secret. Control characters are taken out, so
that a name with CR/LF or terminal codes forges no line wherever the trail is printed (threat 58).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.db import models

from core.api.middleware import current_request_id
from workspaces.models import AuditEvent, User, Workspace

MAX_TEXT = 500
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def record(
    *,
    by: User | None,
    workspace: Workspace,
    action: str,
    target: models.Model | None = None,
    changes: Mapping[str, object] | None = None,
) -> AuditEvent:
    """Append one event. `by` is None for the system itself; `action` is `thing.verb`, such as `member.removed`."""
    return AuditEvent.objects.create(
        workspace=workspace,
        actor=by,
        actor_email=by.email if by else "",
        action=action,
        object_type=(target._meta.model_name or "") if target is not None else "",
        object_id=str(target.pk) if target is not None else "",
        changes=readable(dict(changes or {})),
        request_id=current_request_id()[:64],
    )


def readable(value: object) -> Any:
    """The value as JSON without control characters, long texts cut."""
    if isinstance(value, Mapping):
        return {readable(str(key)): readable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [readable(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return CONTROL.sub(" ", str(value))[:MAX_TEXT]
