"""The mail templates a workspace has at its vendors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from core.errors import HubError, NotConfigured, UnsupportedOperation
from integrations.models import Integration
from integrations.providers.base import TEMPLATES
from integrations.services import integration_health, integration_use
from integrations.services.integrations import provider_of

if TYPE_CHECKING:
    from workspaces.models import Workspace

ACTION = "list_templates"


def listed(*, workspace: Workspace, type: str) -> Sequence[dict[str, Any]]:
    """{"id", "name", "created_at"} of all templates of the enabled integration of this type: the site email provider
    where there are several, else the oldest. NotConfigured where there is none."""
    rows = Integration.objects.in_workspace(workspace).enabled().filter(type=type, has_credentials=True)
    integration = rows.order_by("-is_site_email_provider", "created_at", "id").first()
    if integration is None or TEMPLATES not in provider_of(integration).capabilities:
        raise NotConfigured("No integration of this type is set up and enabled.")
    return of(integration)


def of(integration: Integration) -> Sequence[dict[str, Any]]:
    """The same of this one. UnsupportedOperation where its vendor keeps none."""
    if TEMPLATES not in provider_of(integration).capabilities:
        raise UnsupportedOperation("This integration keeps no mail templates.")
    try:
        answer = integration_use.provider_for(integration).perform(ACTION, {})
    except HubError as error:
        integration_health.refused(integration, error)
        raise
    shown = ("id", "name", "created_at")
    return [{name: template.get(name) for name in shown} for template in answer["templates"]]
