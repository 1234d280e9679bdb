"""Actions that queue work: what begins the work, wakes a worker for it and shows it.

A work of an app above this one is registered by dotted path in settings (`QUEUED_ACTIONS`), as the sync engines are
(DESIGN 3): `email_logs` mirrors its tables over an integration that lives here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from core.work import WorkRow
from integrations.models import Integration
from integrations.providers.base import Action

if TYPE_CHECKING:
    from workspaces.models import User


class QueuedAction(Protocol):
    """How an app that queues the work of an action does it."""

    shown_as: str
    """The member of an integration's detail that shows the work; "" where there is one for each time it was asked for,
    which has an address of its own."""

    def start(self, *, integration: Integration, action: Action, given: Mapping[str, Any], by: User) -> WorkRow:
        """Queue a run, or give back the one under way. `given` is the action's input."""

    def ring(self, work: WorkRow) -> None:
        """Wake a worker once the transaction is through."""

    def show(self, work: WorkRow) -> Mapping[str, Any]:
        """The work as JSON."""

    def of(self, integration: Integration) -> WorkRow | None:
        """The integration's work; None where it has none."""


@cache
def registered() -> Mapping[str, QueuedAction]:
    """Action → who does it, for those of other apps."""
    return {name: import_string(path)() for name, path in settings.QUEUED_ACTIONS.items()}


def shown(integration: Integration) -> Mapping[str, Mapping[str, Any] | None]:
    """What other apps show in an integration's detail, by member."""
    found = {}
    for action in registered().values():
        if not action.shown_as:
            continue
        work = action.of(integration)
        found[action.shown_as] = action.show(work) if work is not None else None
    return found
