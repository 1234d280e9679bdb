"""Graph's calls as calendars make them: every time in UTC, every text plain."""

from __future__ import annotations

from urllib.parse import quote

from integrations.providers.graph.api import IMMUTABLE, GraphApi


class CalendarApi(GraphApi):
    """The calendars of one access token."""

    preferences = f'{IMMUTABLE}, outlook.timezone="UTC", outlook.body-content-type="text"'


def event(remote_id: str) -> str:
    """The path of an event."""
    return f"/me/events/{quote(remote_id, safe='')}"
