"""The action `mirror_email_log` of integrations that can hold a mirror (`settings.QUEUED_ACTIONS`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.work import WorkRow
from email_logs import tasks
from email_logs.models import EmailLogMirror
from email_logs.serializers import mirrors
from email_logs.services import mirroring
from integrations.models import Integration
from integrations.providers.base import Action

if TYPE_CHECKING:
    from workspaces.models import User


class MirrorAction:
    """As `integrations.services.queued_actions.QueuedAction`."""

    shown_as = "mirror"

    def start(self, *, integration: Integration, action: Action, given: Mapping[str, Any], by: User) -> EmailLogMirror:
        return mirroring.start(integration=integration)

    def ring(self, work: WorkRow) -> None:
        tasks.ring_mirror(work.pk)

    def show(self, work: WorkRow) -> Mapping[str, Any]:
        return mirrors.shown(EmailLogMirror.objects.select_related("integration").get(pk=work.pk))

    def of(self, integration: Integration) -> EmailLogMirror | None:
        if integration.type not in mirroring.types():
            return None
        return EmailLogMirror.objects.filter(integration=integration).select_related("integration").first()
