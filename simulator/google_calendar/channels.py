"""events.watch, calendarList.watch and channels.stop, and what Google then posts: an empty body whose headers name a
channel and say that something changed, nothing more. Only addresses on loopback are ever called."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from simulator.errors import google_error
from simulator.google_access import invalid
from simulator.google_calendar.access import Call, Handler
from simulator.google_calendar.store import CalendarState, Json
from simulator.state import World

CHANNEL_ID = re.compile(r"[A-Za-z0-9\-_+/=]{1,64}")
LIFE_SECONDS = 7 * 86_400
MAX_TOKEN = 256
PUBLIC = "@group.v.calendar.google.com"
"""Holidays and the like: Google tells nobody of changes in them."""


@dataclass
class Channel:
    id: str
    resource_id: str
    uri: str
    account: str
    calendar: str
    """Its id; "" for the account's list of calendars."""
    address: str
    token: str
    expires_at: float
    told: int
    """The number of the calendar's or the list's change that was told last."""
    number: int = 0
    """Of the last message."""

    def show(self) -> Json:
        return {
            "kind": "api#channel",
            "id": self.id,
            "resourceId": self.resource_id,
            "resourceUri": self.uri,
            "token": self.token,
            "expiration": str(int(self.expires_at * 1000)),
        }

    def message(self, state: str) -> dict[str, str]:
        """Headers of the next message. Numbers rise, and may leave some out."""
        self.number += 1 if state == "sync" else 7
        ends = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(self.expires_at))
        headers = {
            "X-Goog-Channel-ID": self.id,
            "X-Goog-Channel-Expiration": ends,
            "X-Goog-Message-Number": str(self.number),
            "X-Goog-Resource-ID": self.resource_id,
            "X-Goog-Resource-State": state,
            "X-Goog-Resource-URI": self.uri,
        }
        return headers | ({"X-Goog-Channel-Token": self.token} if self.token else {})


@dataclass
class Channels:
    """The world's part."""

    by_id: dict[str, Channel] = field(default_factory=dict)


def watch_events(call: Call) -> Json:
    calendar = call.calendar()
    if calendar.id.endswith(PUBLIC):
        words = "Push notifications are not supported by this resource."
        raise google_error(400, words, "pushNotSupportedForRequestedResource")
    return _watch(call, calendar.id, f"calendars/{quote(calendar.id)}/events")


def watch_list(call: Call) -> Json:
    return _watch(call, "", "users/me/calendarList")


def _watch(call: Call, calendar: str, path: str) -> Json:
    body, channels = call.body(), call.world.part(Channels)
    if body.get("type") not in ("web_hook", "webhook"):
        raise invalid("Invalid value for: type", "invalid")
    identity, token = str(body.get("id") or ""), str(body.get("token") or "")
    if not CHANNEL_ID.fullmatch(identity) or len(token) > MAX_TOKEN:
        raise invalid("Invalid value for: id or token", "invalid")
    if identity in channels.by_id:
        raise google_error(400, f"Channel id {identity} not unique", "channelIdNotUnique")
    address = str(body.get("address") or "")
    if urlsplit(address).scheme != "https" and urlsplit(address).hostname not in ("127.0.0.1", "::1", "localhost"):
        raise google_error(400, f"WebHook callback must be HTTPS: {address}", "push.webhookUrlNotHttps")
    uri = f"https://www.googleapis.com/calendar/v3/{path}?alt=json"
    digest = hashlib.sha256(f"{call.world.seed}/{calendar or f'list of {call.email}'}".encode()).digest()
    resource_id = base64.urlsafe_b64encode(digest).decode()[:27]
    number = _number(call.world, call.email, calendar) or 0
    ends = _end(call.world, body)
    channel = Channel(identity, resource_id, uri, call.email, calendar, address, token, ends, number)
    channels.by_id[identity] = channel
    call.request.effect = {"kind": "channel.watched", "id": identity, "calendar": calendar}
    return channel.show()


def _number(world: World, account: str, calendar: str) -> int | None:
    """Of the last change of what is watched; None where the calendar is gone."""
    state = world.part(CalendarState)
    if not calendar:
        return state.list_number(account)
    found = state.book(account).get(calendar)
    return None if found is None else found.number


def _end(world: World, body: Json) -> float:
    """As asked, in milliseconds or by `ttl`, but a week at most."""
    now, latest = world.now(), world.now() + LIFE_SECONDS
    try:
        if body.get("expiration"):
            return min(int(body["expiration"]) / 1000, latest)
        return min(now + int((body.get("params") or {}).get("ttl", LIFE_SECONDS)), latest)
    except (ValueError, TypeError) as error:
        raise invalid("Invalid value for: expiration", "invalid") from error


def stop(call: Call) -> None:
    """By the user who made it."""
    body, channels = call.body(), call.world.part(Channels)
    found = channels.by_id.get(str(body.get("id") or ""))
    if found is None or (found.resource_id, found.account) != (body.get("resourceId"), call.email):
        raise google_error(404, f"Channel '{body.get('id')}' not found for project 'simulator'", "notFound")
    del channels.by_id[found.id]
    call.request.effect = {"kind": "channel.stopped", "id": found.id, "calendar": found.calendar}


def living(world: World) -> list[Channel]:
    """Those that have not run out; one that has is gone without a word."""
    channels = world.part(Channels).by_id
    for identity in [name for name, channel in channels.items() if channel.expires_at <= world.now()]:
        del channels[identity]
    return list(channels.values())


def due_messages(world: World) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Account, address and headers of what is to be posted now: first that the channel stands, then each time that
    something changed."""
    for channel in living(world):
        number = _number(world, channel.account, channel.calendar)
        if not channel.number:
            yield channel.account, channel.address, channel.message("sync")
        if number is not None and number > channel.told:
            channel.told = number
            yield channel.account, channel.address, channel.message("exists")


def describe(channel: Channel) -> dict[str, Any]:
    """For the control API."""
    return channel.show() | {"account": channel.account, "calendar": channel.calendar, "address": channel.address}


HANDLERS: dict[str, Handler] = {
    "calendar.events.watch": watch_events,
    "calendar.calendarList.watch": watch_list,
    "calendar.channels.stop": stop,
}
