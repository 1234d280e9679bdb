"""Log tables: one per email provider of a workspace, made when one is needed and never twice.

Called by whoever writes an entry, by the API, and when an email provider becomes active.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from django.dispatch import receiver

from email_logs.models import EmailLogTable
from integrations.models import EventType, Integration
from integrations.providers.base import EMAIL
from integrations.services import events
from integrations.services.integrations import provider_of

if TYPE_CHECKING:
    from workspaces.models import Workspace

BECOMES_ACTIVE = frozenset({EventType.INTEGRATION_CREATED.value, EventType.INTEGRATION_UPDATED.value})


def initialise(*, workspace: Workspace) -> Sequence[EmailLogTable]:
    """Make what is missing for the enabled email providers; every table of the workspace, oldest first."""
    _make_missing(workspace)
    tables = EmailLogTable.objects.in_workspace(workspace).select_related("integration")
    return list(tables.defer("integration__credentials"))


def _make_missing(workspace: Workspace | UUID) -> None:
    rows = Integration.objects.in_workspace(workspace).enabled().filter(email_log_table__isnull=True).listed()
    _make(row for row in rows if EMAIL in provider_of(row).capabilities)


def active(*, workspace: Workspace) -> Sequence[EmailLogTable]:
    """The tables of the email providers that are enabled, made where they are missing, oldest first."""
    found = initialise(workspace=workspace)
    return [row for row in found if row.integration and row.integration.enabled and row.integration.deleted_at is None]


def of_integration(integration: Integration) -> EmailLogTable:
    """The table of an email provider, made where it is missing."""
    found = EmailLogTable.objects.filter(integration=integration).first()
    if found is None:
        _make([integration])
        found = EmailLogTable.objects.get(integration=integration)
    return found


@receiver(events.recorded, dispatch_uid="email_logs.services.tables.on_events")
def on_events(workspace_ids: set[UUID], types: set[str], **_: object) -> None:
    """An email provider that becomes active has its table from that very transaction on."""
    if types & BECOMES_ACTIVE:
        for workspace_id in workspace_ids:
            _make_missing(workspace_id)


def of_mailboxes(workspace: Workspace | UUID, provider: str) -> EmailLogTable:
    """The table of the mail that users send from their own mailboxes at a provider."""
    whose = workspace if isinstance(workspace, UUID) else workspace.pk
    found = EmailLogTable.objects.filter(workspace=whose, integration=None, provider=provider).first()
    if found is None:
        new = EmailLogTable(workspace_id=whose, provider=provider)
        EmailLogTable.objects.bulk_create([new], ignore_conflicts=True)
        found = EmailLogTable.objects.get(workspace=whose, integration=None, provider=provider)
    return found


def _make(integrations: Iterable[Integration]) -> None:
    """A twin that was made meanwhile stands: the constraints decide."""
    EmailLogTable.objects.bulk_create(
        [
            EmailLogTable(workspace_id=row.workspace_id, integration=row, provider=provider_name(row))
            for row in integrations
        ],
        ignore_conflicts=True,
    )


def provider_name(integration: Integration) -> str:
    """What the column `Provider` shows, as the source document writes it: "email-provider" for EMAIL_PROVIDER."""
    return integration.type.lower().replace("_", "-")
