"""The calendar calls of Graph that exist here, as `methods` lists those of mail."""

from __future__ import annotations

from simulator.graph.methods import Method

READ = ("Calendars.ReadBasic", "Calendars.Read", "Calendars.ReadWrite")
CHANGE = ("Calendars.ReadWrite",)
CALENDAR = "calendars/{calendar}"
EVENT = "events/{id}"

CALENDAR_METHODS = {
    "graph.calendars.list": Method("GET", "calendars", READ),
    "graph.calendars.get": Method("GET", CALENDAR, READ),
    "graph.calendar.get": Method("GET", "calendar", READ),
    "graph.calendars.events.list": Method("GET", f"{CALENDAR}/events", READ),
    "graph.calendars.events.create": Method("POST", f"{CALENDAR}/events", CHANGE),
    "graph.calendars.calendarView": Method("GET", f"{CALENDAR}/calendarView", READ),
    "graph.calendarView": Method("GET", "calendarView", READ),
    "graph.events.list": Method("GET", "events", READ),
    "graph.events.create": Method("POST", "events", CHANGE),
    "graph.events.get": Method("GET", EVENT, READ),
    "graph.events.update": Method("PATCH", EVENT, CHANGE),
    "graph.events.delete": Method("DELETE", EVENT, CHANGE),
    "graph.events.instances": Method("GET", f"{EVENT}/instances", READ),
    "graph.events.cancel": Method("POST", f"{EVENT}/cancel", CHANGE),
    "graph.events.accept": Method("POST", f"{EVENT}/accept", CHANGE),
    "graph.events.tentativelyAccept": Method("POST", f"{EVENT}/tentativelyAccept", CHANGE),
    "graph.events.decline": Method("POST", f"{EVENT}/decline", CHANGE),
}
