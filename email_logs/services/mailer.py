"""What the integrations' own sends and the notices to owners go out by (`settings.WORKSPACE_MAILER`, ADR 25)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from email_logs.services.sending import send_email

if TYPE_CHECKING:
    from integrations.models import Integration
    from workspaces.models import User


def send(
    *, integration: Integration, given: Mapping[str, Any], by: User | None = None, request_key: str = ""
) -> Mapping[str, Any]:
    """Send through this integration and tell what became of it; what was refused for good is raised. A key that the
    input names is the request's: the same mail under it again is not sent again."""
    named = given.get("idempotencyKey")
    if isinstance(named, str) and named and not request_key:
        request_key = f"{integration.pk}:{named}"[:255]
    sent = send_email(
        workspace=integration.workspace, given=given, integration=integration, by=by, request_key=request_key
    )
    sent.raise_if_refused()
    return sent.answer()
