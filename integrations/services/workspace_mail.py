"""Mail of a workspace that is sent from here: actions, and notices to owners.

It leaves by the one way out that lies above this app (`settings.WORKSPACE_MAILER`, ADR 25): logged before it is sent,
once for each request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from django.conf import settings
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from integrations.models import Integration
    from workspaces.models import User

SEND = "send"
"""The action of every email provider that leaves by it."""
UNKNOWN = "unknown"
"""The status of a mail of which nobody knows whether it left."""


class Mailer(Protocol):
    """What the setting names. `given` is the input of `send`; the same `request_key` again within a day sends nothing.
    The answer's `status` is "queued", "accepted" or UNKNOWN; what was refused for good is raised."""

    def __call__(
        self, *, integration: Integration, given: Mapping[str, Any], by: User | None = None, request_key: str = ""
    ) -> Mapping[str, Any]: ...


def send(
    *, integration: Integration, given: Mapping[str, Any], by: User | None = None, request_key: str = ""
) -> Mapping[str, Any]:
    """See `Mailer`."""
    mailer = cast("Mailer", import_string(settings.WORKSPACE_MAILER))
    return mailer(integration=integration, given=given, by=by, request_key=request_key)
