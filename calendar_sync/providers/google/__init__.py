"""Google Calendar, behind `calendar_sync.providers`. docs/providers/google.md is the page for operators."""

from calendar_sync.providers.google.provider import GoogleCalendar

__all__ = ["GoogleCalendar"]
