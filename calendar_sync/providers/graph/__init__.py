"""Microsoft Graph v1.0 calendars (reference 3.4), behind `base.CalendarProvider`.

`provider.GraphCalendar` is the adapter, the rest serves it: `listing` says what is in a calendar and what changed,
`events` and `patterns` turn Graph's events and recurrences into records and back, `writing` changes them. What it
shares with mail is in `integrations.providers.graph`.
"""

from calendar_sync.providers.graph.provider import GraphCalendar

__all__ = ["GraphCalendar"]
