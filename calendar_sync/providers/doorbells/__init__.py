"""Doorbells of calendars, beside their providers. This table is the registry: key of the connection's provider → dotted
path of the class, which carries the key. A server that has none is asked by interval."""

from calendar_sync.providers.doorbells.base import CalendarDoorbell
from core.registry import Registry

CALENDAR_DOORBELLS: Registry[type[CalendarDoorbell]] = Registry(
    "calendar doorbell",
    {
        "google": "calendar_sync.providers.doorbells.google.EventsChannel",
        "microsoft": "calendar_sync.providers.doorbells.graph.EventSubscription",
    },
    check_id="patchbay.E302",
)
