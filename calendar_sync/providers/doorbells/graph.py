"""Graph's change notifications for calendars: one subscription to the events of a mailbox."""

from __future__ import annotations

from typing import ClassVar

from calendar_sync.providers.doorbells.base import CalendarDoorbell
from integrations.providers.graph.subscriptions import GraphSubscription


class EventSubscription(GraphSubscription, CalendarDoorbell):
    """Events of every calendar."""

    per_calendar: ClassVar[bool] = False
    resource: ClassVar[str] = "me/events"
