"""Calendar providers: one file each behind `base.CalendarProvider`. This table is the registry: key of the connection's
provider → dotted path of the class, which carries the key."""

from calendar_sync.providers.base import CalendarProvider
from core.registry import Registry

CALENDAR_PROVIDERS: Registry[type[CalendarProvider]] = Registry(
    "calendar provider",
    {
        "google": "calendar_sync.providers.google.GoogleCalendar",
        "microsoft": "calendar_sync.providers.graph.GraphCalendar",
        "imap": "calendar_sync.providers.caldav.CalDav",
    },
    check_id="patchbay.E301",
)
