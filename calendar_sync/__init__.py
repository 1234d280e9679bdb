"""Calendars synced into the database: their events, recurrences expanded, answered over the API."""
