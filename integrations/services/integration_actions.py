"""Doing an action of an integration when somebody asks: at once, or by queueing the work that does it.

Called by the API and the console. What is done at once goes through `integration_use`; mail leaves by the one way out
of all mail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.work import WorkRow
from integrations import fields
from integrations.models import ContactSync, Integration
from integrations.providers.base import EMAIL, Action
from integrations.services import bringing, contact_sync, integration_use, queued_actions, workspace_mail
from integrations.services.integrations import provider_of
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User


@dataclass(frozen=True, slots=True)
class Performed:
    """What an action gave, or the work that will do it."""

    result: Mapping[str, Any]
    work: WorkRow | None = None


def perform(*, integration: Integration, action: str, given: Mapping[str, Any], by: User) -> Performed:
    """Do one of its actions with input that is checked here, or queue it. The vendor's refusals come as they are."""
    kind = provider_of(integration)
    declared = kind.action(action)
    if EMAIL in kind.capabilities and action == workspace_mail.SEND:
        return Performed(workspace_mail.send(integration=integration, given=given, by=by))
    if declared.brings and not declared.queued:
        return Performed({"document": bringing.bring(integration=integration, action=declared, given=given, by=by)})
    if not declared.queued:
        return Performed(integration_use.perform(integration=integration, action=action, given=given, by=by))
    if not declared.brings:
        fields.read(declared.fields, given)
    work = _start(declared, integration, given, by)
    changes = {"action": action, "fields": []}
    audit.record(by=by, workspace=integration.workspace, action="integration.used", target=integration, changes=changes)
    return Performed({}, work)


def work_of(*, integration: Integration, action: str) -> WorkRow | None:
    """The work that a queued action began last; None where it never was."""
    if action == contact_sync.ACTION:
        return ContactSync.objects.filter(integration=integration).first()
    other = queued_actions.registered().get(action)
    return other.of(integration) if other is not None else None


def _start(action: Action, integration: Integration, given: Mapping[str, Any], by: User) -> WorkRow:
    """Begin the work of an action that is declared as queued."""
    if action.name == contact_sync.ACTION:
        return contact_sync.start(integration=integration)
    registered = queued_actions.registered()[action.name]
    return registered.start(integration=integration, action=action, given=given, by=by)
