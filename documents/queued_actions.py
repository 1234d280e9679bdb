"""The actions `copy_document` and `save_document` of file stores (`settings.QUEUED_ACTIONS`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.work import WorkRow
from documents import serializers, tasks
from documents.models import DocumentCopy
from documents.services import copying
from integrations.models import Integration
from integrations.providers.base import Action

if TYPE_CHECKING:
    from workspaces.models import User


class CopyAction:
    """As `integrations.services.queued_actions.QueuedAction`: each copy is work of its own."""

    shown_as = ""

    def start(self, *, integration: Integration, action: Action, given: Mapping[str, Any], by: User) -> DocumentCopy:
        return copying.start(integration=integration, action=action, given=given, by=by)

    def ring(self, work: WorkRow) -> None:
        tasks.ring_copy(work.pk)

    def show(self, work: WorkRow) -> Mapping[str, Any]:
        return serializers.copy(DocumentCopy.objects.get(pk=work.pk))

    def of(self, integration: Integration) -> None:
        return None
