"""The console's pages of this app: connections and their runs, integrations, deliveries, events.

Every change goes through the service that the API calls, so rules, events and the audit trail are the same.
"""

from __future__ import annotations

from integrations.admin.connections import ConnectionAdmin
from integrations.admin.deliveries import DeliveryAdmin
from integrations.admin.events import EventAdmin
from integrations.admin.integrations import IntegrationAdmin
from integrations.admin.runs import SyncRunAdmin, progress_words

__all__ = (
    "ConnectionAdmin",
    "DeliveryAdmin",
    "EventAdmin",
    "IntegrationAdmin",
    "SyncRunAdmin",
    "progress_words",
)
