"""The control API's part for Graph's calendars, under /_control/microsoft/{email}/: what another client of the user's
does, or Exchange itself, behind the hub's back. Bodies of events are Graph's own JSON."""

from __future__ import annotations

import copy
from datetime import date
from typing import Any

from simulator.control import add_call
from simulator.graph.calendar_book import Book, BookEvent, book_of
from simulator.mailbox_control import missing
from simulator.routing import Router
from simulator.state import World
from simulator.wire import Request

Body = dict[str, Any]


class CalendarControl:
    """Seeds, changes and tells the truth."""

    def __init__(self, world: World) -> None:
        self.world = world

    def graph_calendars(self, request: Request) -> Body:
        """Everything there is."""
        book = self._book(request)
        return {
            "calendars": [
                {"id": one.id, "name": one.name, "can_edit": one.can_edit, "is_default": one.is_default}
                for one in book.calendars.values()
            ],
            "events": [describe(book, event) for event in book.events.values()],
        }

    def add_graph_calendar(self, request: Request) -> Body:
        """`name`, `can_edit`, `hex_color`, `owner`."""
        body, book = request.json(), self._book(request)
        calendar = book.add_calendar(
            str(body["name"]), can_edit=bool(body.get("can_edit", True)), hex_color=str(body.get("hex_color") or "")
        )
        calendar.owner = str(body.get("owner") or book.email)
        return {"id": calendar.id}

    def remove_graph_calendar(self, request: Request) -> Body:
        """With its events."""
        book = self._book(request)
        calendar = book.calendars.pop(request.params["calendar"])
        for event in book.by_calendar(calendar.id):
            book.remove(event)
        return {}

    def add_graph_events(self, request: Request) -> Body:
        """`events`: Graph's fields of each, beside `ical_uid`, `calendar` (default: the default calendar), `modified`
        and `created` (seconds since 1970), `is_organizer`, `response`."""
        book, made = self._book(request), []
        for item in request.json()["events"]:
            item = dict(item)
            calendar = str(item.pop("calendar", "") or book.default.id)
            facts = {name: item.pop(name) for name in ("ical_uid", "is_organizer", "response") if name in item}
            when = {name: float(item.pop(name)) for name in ("created", "modified") if name in item}
            event = book.add(calendar, item, self.world.now(), **facts)
            for name, value in when.items():
                setattr(event, name, value)
            made.append(describe(book, event))
        return {"events": made}

    def change_graph_event(self, request: Request) -> Body:
        """`fields` over what is there; of one `day` of a series; `cancelled` days; `restore` a day; `calendar` moves;
        `response`."""
        body, book = request.json(), self._book(request)
        event = self._event(book, request)
        if "calendar" in body:
            book.move(event, str(body["calendar"]))
            return describe(book, event)
        fields = copy.deepcopy(body.get("fields") or {})
        if "day" in body:
            day = date.fromisoformat(body["day"])
            event.changed[day] = event.changed.get(day, {}) | fields
        else:
            event.fields |= fields
        event.cancelled |= {date.fromisoformat(day) for day in body.get("cancelled", [])}
        event.changed = {day: own for day, own in event.changed.items() if day not in event.cancelled}
        if "restore" in body:
            event.changed.pop(date.fromisoformat(body["restore"]), None)
        event.response = str(body.get("response", event.response))
        book.touch(event, self.world.now())
        return describe(book, event)

    def remove_graph_event(self, request: Request) -> Body:
        """For good, and nobody is told."""
        book = self._book(request)
        event = self._event(book, request)
        book.remove(event)
        return describe(book, event)

    def _book(self, request: Request) -> Book:
        account = self.world.account("microsoft", request.params["email"])
        if account is None:
            raise missing("account")
        return book_of(self.world, account)

    def _event(self, book: Book, request: Request) -> BookEvent:
        found = book.find(request.params["id"])
        if found is None:
            raise missing("event")
        return found[0]


def register(router: Router, world: World) -> None:
    """Below /_control/microsoft/{email}/."""
    calendars = CalendarControl(world)
    for http, path, call in (
        ("GET", "calendars", calendars.graph_calendars),
        ("POST", "calendars", calendars.add_graph_calendar),
        ("DELETE", "calendars/{calendar}", calendars.remove_graph_calendar),
        ("POST", "events", calendars.add_graph_events),
        ("PATCH", "events/{id}", calendars.change_graph_event),
        ("DELETE", "events/{id}", calendars.remove_graph_event),
    ):
        add_call(router, http, f"/microsoft/{{email}}/{path}", call)


def describe(book: Book, event: BookEvent) -> Body:
    """The truth about an event."""
    return {
        "id": event.immutable_id,
        "calendar": event.calendar_id,
        "ical_uid": event.ical_uid,
        "etag": event.etag,
        "fields": event.fields,
        "changed": {day.isoformat(): fields for day, fields in event.changed.items()},
        "cancelled": sorted(day.isoformat() for day in event.cancelled),
        "is_organizer": event.is_organizer,
        "response": event.response,
    }
