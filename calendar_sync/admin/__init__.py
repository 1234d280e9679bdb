"""The console's pages of calendars: how each stands, and events of which not everything is shown.

A calendar's name and what its events say are for its user alone. An owner or admin sees whose account it is of, how
many events there are and how they stand (threat 18); whoever writes a page blanks what is private before it is shown
(`looks.blanked`). Nothing is changed here.
"""

from __future__ import annotations

from calendar_sync.admin.calendars import CalendarAdmin
from calendar_sync.admin.events import CalendarEventAdmin

__all__ = ("CalendarAdmin", "CalendarEventAdmin")
