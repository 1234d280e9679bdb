"""Google Calendar's push: a channel for each calendar and one for the list of them, on which Google calls us without
saying what changed (reference 2.8; developers.google.com/workspace/calendar/api/guides/push).

A notification is all headers. It names the channel and what it watches, and proves itself by the token the channel was
made with. Its number is ignored: notifications may be lost, doubled and out of order, and only bring the next look.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from calendar_sync.providers.base import CalendarAccount
from calendar_sync.providers.doorbells.base import CalendarDoorbell
from calendar_sync.providers.google.answers import text
from calendar_sync.providers.google.api import CalendarApi
from core.errors import ProviderUnavailable
from integrations.doorbells import Channel, Hooks, Knock, Posted, only_https

LIFE = timedelta(days=3)
"""Of about seven. A channel whose making we never heard of ends by itself after this."""
CHANGED = frozenset({"exists", "not_exists"})
"""States that tell of a change; `sync` says that the channel stands."""
MAX_NAME = 320
MAX_TOKEN = 256


class EventsChannel(CalendarDoorbell):
    """Any number of channels for each of these. There is no renewal: another is made, then the first is stopped."""

    key: ClassVar[str] = "google"
    via: ClassVar[str] = "channel"
    accepted: ClassVar[int] = 204
    has_lifecycle: ClassVar[bool] = False
    one_per_account: ClassVar[bool] = False
    needs_secret: ClassVar[bool] = True
    is_addressed: ClassVar[bool] = True
    per_calendar: ClassVar[bool] = True
    renew_after_seconds: ClassVar[float] = 86_400.0

    def __init__(self, account: CalendarAccount) -> None:
        super().__init__(account)
        self._api = CalendarApi(account)

    @classmethod
    def missing(cls, settings: Mapping[str, object], hooks: Hooks) -> str:
        return only_https("Google Calendar", hooks.notify, settings.get("calendarApiUrl"))

    def subscribe(self, hooks: Hooks, secret: str, about: str = "") -> Channel:
        body = {
            "id": str(uuid.uuid4()),
            "type": "web_hook",
            "address": hooks.notify,
            "token": secret,
            "params": {"ttl": str(int(LIFE.total_seconds()))},
        }
        answer = self._api.watch(about, body) if about else self._api.watch_list(body)
        try:
            ends = datetime.fromtimestamp(int(text(answer, "expiration")) / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            raise ProviderUnavailable("Google Calendar did not say how long it notifies.") from None
        return Channel(_name(body["id"], text(answer, "resourceId")), ends)

    def stop(self, remote_id: str) -> None:
        channel_id, _, resource_id = remote_id.partition(" ")
        self._api.stop(channel_id, resource_id)

    @classmethod
    def knocks(cls, settings: Mapping[str, object], posted: Posted) -> Sequence[Knock]:
        """Nothing is refused aloud: whoever tries tokens learns nothing, and Google goes on calling in any case."""
        channel, resource, token, state = (
            posted.headers.get(f"x-goog-{name}", "")
            for name in ("channel-id", "resource-id", "channel-token", "resource-state")
        )
        name = _name(channel, resource)
        if state not in CHANGED or not token or len(token) > MAX_TOKEN or len(name) > MAX_NAME or "\0" in name:
            return []
        return [Knock(name, secret=token)]


def _name(channel_id: object, resource_id: str) -> str:
    """What a stop and every notification name: the channel, and what it watches."""
    return f"{channel_id} {resource_id}"
