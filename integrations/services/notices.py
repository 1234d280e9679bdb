"""Mails to a workspace's owners: an integration broke, an integration works again; each once per incident.

Written in the transaction of the incident (`services.integration_health`), sent by `services.notice_sending`.
"""

from __future__ import annotations

from django.conf import settings

from core.work import ACTIVE
from integrations.models import Integration, Notice
from integrations.services.integrations import provider_of


def failing(integration: Integration) -> None:
    """It stopped working. Inside the caller's transaction."""
    said = integration.health_message or "It does not say why."
    _write(
        integration,
        f"{integration.name} stopped working",
        f"The integration {integration.name!r} ({provider_of(integration).name}) of {integration.workspace.name} does "
        f"not work any more:\n\n{said}\n\nIt is checked again by itself. If its credentials are wrong, give new ones.",
    )


def switched_off(integration: Integration) -> None:
    """It was switched off by the system. Inside the caller's transaction."""
    _write(
        integration,
        f"{integration.name} was switched off",
        f"The integration {integration.name!r} ({provider_of(integration).name}) of {integration.workspace.name} was "
        f"switched off:\n\n{integration.health_message}\n\nIt is told nothing until somebody enables it again.",
    )


def recovered(integration: Integration) -> None:
    """It works again. Inside the caller's transaction."""
    _write(
        integration,
        f"{integration.name} works again",
        f"The integration {integration.name!r} ({provider_of(integration).name}) of {integration.workspace.name} "
        "works again.",
    )


def told(integration: Integration, *, limit: int = 20) -> list[Notice]:
    """Its incidents as its owners were told of them, newest first: when it broke, when it worked again."""
    return list(Notice.objects.filter(integration=integration).order_by("-id")[:limit])


def _write(integration: Integration, subject: str, text: str) -> None:
    if settings.PUBLIC_URL:
        text += f"\n\n{settings.PUBLIC_URL}/admin/"
    own = Notice.objects.filter(integration=integration)
    Notice.objects.create(
        workspace_id=integration.workspace_id, integration=integration, subject=subject[:255], text=text
    )
    own.exclude(status__in=ACTIVE).exclude(pk__in=own.order_by("-id").values("pk")[: Notice.KEPT]).delete()
