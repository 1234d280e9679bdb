"""Actions that queue work: what begins the work, wakes a worker for it and shows it.

A work of an app above this one is registered by dotted path in settings (`QUEUED_ACTIONS`), as the sync engines are
(DESIGN 3): `email_logs` mirrors its tables over an integration that lives here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from core.work import WorkRow
from integrations.models import Integration


class QueuedAction(Protocol):
    """How an app that queues the work of an action does it."""

    shown_as: str
    """The member of an integration's detail that shows the work."""

    def start(self, *, integration: Integration) -> WorkRow:
        """Queue a run, or give back the one under way."""

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
        work = action.of(integration)
        found[action.shown_as] = action.show(work) if work is not None else None
    return found
