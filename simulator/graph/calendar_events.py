"""me/calendars, me/events, me/calendarView: lists, views, instances, and what a client writes and answers.

What is not imitated: calendar groups, attachments, extensions, reminders, findMeetingTimes and getSchedule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any

from simulator.errors import graph_error
from simulator.graph import calendar_times
from simulator.graph.access import (
    CONTEXT,
    Call,
    Handler,
    accepted,
    access_denied,
    bad_request,
    created,
    item_not_found,
)
from simulator.graph.calendar_book import Book, BookCalendar, BookEvent, book_of
from simulator.graph.calendar_resource import JsonObject, show, show_calendar, times, window
from simulator.graph.content import recipient
from simulator.graph.query import AND, COMPARE, TERM, page, read_moment

WRITABLE = {
    "subject", "body", "location", "start", "end", "isAllDay", "recurrence", "attendees", "showAs", "sensitivity",
    "importance", "categories", "isOnlineMeeting", "onlineMeetingProvider", "transactionId", "responseRequested",
    "hideAttendees", "isReminderOn", "reminderMinutesBeforeStart", "originalStartTimeZone", "allowNewTimeProposals",
}  # fmt: skip
TIMES: dict[str, Callable[[BookEvent], float]] = {
    "lastModifiedDateTime": lambda event: event.modified,
    "createdDateTime": lambda event: event.created,
}
ANSWERS = {"accept": "accepted", "tentativelyAccept": "tentativelyAccepted", "decline": "declined"}
MAX_ATTENDEES = 500
JOIN = "https://teams.microsoft.com/l/meetup-join/19%3ameeting_"


# --- reading ------------------------------------------------------------------------------------------------------


def _calendar(call: Call) -> BookCalendar:
    book = book_of(call.world, call.account)
    name = call.request.params.get("calendar", "")
    found = book.calendars.get(name) if name else book.default
    if found is None:
        raise item_not_found()
    return found


def list_calendars(call: Call) -> JsonObject:
    calendars = list(book_of(call.world, call.account).calendars.values())
    return page(call, calendars, lambda one: show_calendar(call, one), lambda: len(calendars))


def get_calendar(call: Call) -> JsonObject:
    return show_calendar(call, _calendar(call))


def _found(call: Call) -> tuple[Book, BookEvent, date | None]:
    book = book_of(call.world, call.account)
    found = book.find(call.request.params["id"])
    if found is None:
        raise item_not_found()
    event, day = found
    if "calendar" in call.request.params and event.calendar_id != call.request.params["calendar"]:
        raise item_not_found()
    if day is not None and not event.has(day):
        raise item_not_found()
    return book, event, day


def list_events(call: Call) -> JsonObject:
    """Single events and series, of one calendar; without one, of the default calendar."""
    events = book_of(call.world, call.account).by_calendar(_calendar(call).id)
    tests = [_condition(piece) for piece in AND.split(call.request.argument("$filter")) if piece.strip()]
    events = [event for event in events if all(test(event) for test in tests)]
    name, _, direction = call.request.argument("$orderby").strip().partition(" ")
    if name and name not in TIMES:
        raise bad_request(f"Invalid sort clause: {name}", "ErrorInvalidUrlQuery")
    when = TIMES[name or "createdDateTime"]
    events.sort(key=lambda event: (when(event), event.immutable_id), reverse=direction.strip() == "desc")
    if call.request.argument("$expand"):
        raise bad_request("The $expand is not supported in a list here.", "ErrorInvalidUrlQuery")
    context = {"@odata.context": f"{CONTEXT}users('{call.account.subject}')/events"}
    return context | page(call, events, lambda event: show(call, event), lambda: len(events))


def _condition(text: str) -> Callable[[BookEvent], bool]:
    term = TERM.match(text)
    if term is None or term[1] not in TIMES:
        raise bad_request(f"Invalid filter clause: {text}", "ErrorInvalidUrlQueryFilter")
    compare, when, moment = COMPARE[term[2]], TIMES[term[1]], read_moment(term[3])
    return lambda event: compare(when(event), moment)


def get_event(call: Call) -> JsonObject:
    _, event, day = _found(call)
    expand = call.request.argument("$expand")
    if expand and not re.fullmatch(r"exceptionOccurrences", expand):
        raise bad_request(f"Could not find a property named '{expand}' to expand.", "RequestBroker--ParseUri")
    context = {"@odata.context": f"{CONTEXT}users('{call.account.subject}')/events/$entity"}
    return context | show(call, event, day, expand=bool(expand))


Shown = tuple[BookEvent, date | None]


def _occurrences(event: BookEvent, begin: datetime, end: datetime) -> Iterator[Shown]:
    if event.recurrence is None:
        start, finish = times(event, None)
        if start < end and finish > begin:
            yield event, None
        return
    reach = max((times(event, day)[0] for day in event.changed), default=end)
    for day, _ in event.day_starts(max(end, reach)):
        start, finish = times(event, day)
        if start < end and finish > begin:
            yield event, day


def view(call: Call) -> JsonObject:
    """Occurrences, exceptions and single events of a stretch of time; no series."""
    if {"createdDateTime", "lastModifiedDateTime"} & set(call.request.argument("$select").split(",")):
        raise bad_request("This property cannot be selected in a calendar view.", "ErrorInvalidProperty")
    begin, end = window(call)
    events = book_of(call.world, call.account).by_calendar(_calendar(call).id)
    found = [one for event in events for one in _occurrences(event, begin, end)]
    found.sort(key=lambda one: times(*one)[0])
    return page(call, found, lambda one: show(call, *one), lambda: len(found))


def instances(call: Call) -> JsonObject:
    """Occurrences and exceptions of a series, without the cancelled ones."""
    _, event, day = _found(call)
    if event.recurrence is None or day is not None:
        raise bad_request("The event is not a series master.", "ErrorInvalidRequest")
    found = list(_occurrences(event, *window(call)))
    return page(call, found, lambda one: show(call, *one), lambda: len(found))


# --- writing ------------------------------------------------------------------------------------------------------


def create(call: Call) -> object:
    """The same transactionId again makes no second event."""
    book, calendar, fields = book_of(call.world, call.account), _calendar(call), _fields(call, creating=True)
    if not calendar.can_edit:
        raise access_denied()
    transaction = str(fields.pop("transactionId", "") or "")
    same = [event for event in book.events.values() if transaction and event.transaction_id == transaction]
    if same:
        return created(show(call, same[0]))
    fields["organizer"] = recipient(call.account.name, call.account.email)
    event = book.add(calendar.id, fields, call.now, transaction_id=transaction)
    _deliver(call, event)
    call.changed("event.created", id=event.immutable_id)
    return created(show(call, event))


def _fields(call: Call, *, creating: bool = False) -> JsonObject:
    """The body's, checked as Exchange checks them."""
    body = call.body()
    unknown = {name for name in body if name not in WRITABLE and not name.startswith("@")}
    if unknown:
        raise bad_request(f"The property '{min(unknown)}' is not valid or is read-only.", "RequestBodyRead")
    if creating and not {"start", "end"} <= set(body):
        raise bad_request("Required property 'start' or 'end' is missing.", "ErrorInvalidRequest")
    try:
        for name in ("start", "end"):
            if name in body:
                calendar_times.instant(body[name])
        if body.get("recurrence"):
            calendar_times.check(body["recurrence"])
    except (ValueError, KeyError, TypeError) as error:
        raise bad_request(str(error), "ErrorPropertyValidationFailure") from error
    if len(body.get("attendees") or []) > MAX_ATTENDEES:
        raise bad_request("There are too many attendees.", "ErrorInvalidRequest")
    for person in body.get("attendees") or []:
        person.setdefault("type", "required")
        person["status"] = {"response": "none", "time": "0001-01-01T00:00:00Z"}
    if body.get("isOnlineMeeting"):
        body["onlineMeeting"] = {"joinUrl": JOIN + format(int(call.now * 1000), "x")}
        body.setdefault("onlineMeetingProvider", "teamsForBusiness")
    return body


def _check_span(fields: JsonObject) -> None:
    start, end = calendar_times.instant(fields["start"]), calendar_times.instant(fields["end"])
    if end < start:
        raise bad_request("The end is before the start.", "ErrorPropertyValidationFailure")
    at_midnight = all(calendar_times.wall(fields[name]).time().isoformat() == "00:00:00" for name in ("start", "end"))
    if fields.get("isAllDay") and (not at_midnight or end == start):
        message = "The Event.Start and Event.End of an all-day event must be midnight and a day apart at least."
        raise bad_request(message, "ErrorPropertyValidationFailure")


def check_version(call: Call, event: BookEvent, day: date | None) -> None:
    wanted = call.request.headers.get("if-match", "")
    if wanted and wanted not in ("*", show(call, event, day)["@odata.etag"]):
        message = (
            "The send or update operation could not be performed because the change key passed in the request does not "
            "match the current change key for the item."
        )
        raise graph_error(412, "ErrorIrresolvableConflict", message)


def update(call: Call) -> JsonObject:
    """Of an occurrence: it becomes an exception. A new start or recurrence of a series ends its exceptions."""
    book, event, day = _found(call)
    if not book.calendars[event.calendar_id].can_edit:
        raise access_denied()
    check_version(call, event, day)
    fields = _fields(call)
    if day is not None:
        if "recurrence" in fields:
            raise bad_request("An occurrence has no recurrence of its own.", "ErrorInvalidRequest")
        event.changed[day] = event.changed.get(day, {}) | fields
    else:
        merged = _with_answers(event.fields, fields)
        _check_span(merged)
        if {"start", "recurrence", "isAllDay"} & set(fields) and event.recurrence is not None:
            event.changed, event.cancelled = {}, set()
        event.fields = merged
    book.touch(event, call.now)
    _deliver(call, event)
    call.changed("event.updated", id=event.immutable_id)
    return show(call, event, day)


def _with_answers(before: JsonObject, fields: JsonObject) -> JsonObject:
    """Who was invited before keeps the answer given."""
    known = {_address(person): person for person in before.get("attendees") or []}
    for person in fields.get("attendees") or []:
        if earlier := known.get(_address(person)):
            person["status"] = earlier["status"]
    return before | fields


def _address(person: JsonObject) -> str:
    return str(person["emailAddress"]["address"]).lower()


def delete(call: Call) -> None:
    """A meeting that the account organises is cancelled by it, with a mail to everybody."""
    book, event, day = _found(call)
    if not book.calendars[event.calendar_id].can_edit:
        raise access_denied()
    check_version(call, event, day)
    _take_away(call, book, event, day)
    call.changed("event.deleted", id=event.immutable_id)


def _take_away(call: Call, book: Book, event: BookEvent, day: date | None) -> None:
    if day is not None:
        event.cancelled.add(day)
        event.changed.pop(day, None)
        book.touch(event, call.now)
    else:
        book.remove(event)
    if event.is_organizer:
        for other, copy in _copies(call, event):
            if day is not None:
                copy.cancelled.add(day)
            else:
                copy.fields |= {"isCancelled": True, "subject": f"Canceled: {copy.fields.get('subject', '')}"}
            other.touch(copy, call.now)


def cancel(call: Call) -> object:
    """The organizer's alone."""
    book, event, day = _found(call)
    if not event.is_organizer:
        raise bad_request("Only its organizer can cancel a meeting.", "ErrorCalendarMeetingRequestIsNotOrganizer")
    check_version(call, event, day)
    _take_away(call, book, event, day)
    call.changed("event.cancelled", id=event.immutable_id, comment=str(call.body().get("comment") or ""))
    return accepted()


def answer(name: str) -> Handler:
    """accept, tentativelyAccept or decline; declining takes the event out of the attendee's calendar."""

    def handler(call: Call) -> object:
        book, event, day = _found(call)
        body = call.body() if call.request.body else {}
        if event.is_organizer:
            message = "Your request can't be completed. You can't respond to this meeting because you're the organizer."
            raise bad_request(message, "ErrorInvalidRequest")
        if event.fields.get("isCancelled") or not event.fields.get("responseRequested", True):
            raise bad_request("The organizer hasn't requested a response.", "ErrorInvalidRequest")
        event.response = ANSWERS[name]
        book.touch(event, call.now)
        if body.get("sendResponse", True):
            _tell_organizer(call, event, ANSWERS[name])
        if name == "decline":
            if day is None:
                book.remove(event)
            else:
                event.cancelled.add(day)
        call.changed(f"event.{name}", id=event.immutable_id, told=bool(body.get("sendResponse", True)))
        return accepted()

    return handler


# --- meetings between accounts ------------------------------------------------------------------------------------


def _copies(call: Call, event: BookEvent) -> Iterator[tuple[Book, BookEvent]]:
    """The same meeting in the mailboxes of others."""
    for account in call.world.accounts_of("microsoft"):
        if account.email != call.account.email:
            other = book_of(call.world, account)
            yield from ((other, one) for one in list(other.events.values()) if one.ical_uid == event.ical_uid)


def _deliver(call: Call, event: BookEvent) -> None:
    """Exchange tells everybody who is invited, whatever the caller wants; those with an account here get a copy."""
    if not event.is_organizer:
        return
    there = {book.email: (book, copy) for book, copy in _copies(call, event)}
    for person in event.fields.get("attendees") or []:
        account = call.world.account("microsoft", _address(person))
        if account is None or account.email == call.account.email:
            continue
        if account.email in there:
            book, copy = there[account.email]
            copy.fields = dict(event.fields)
            book.touch(copy, call.now)
        else:
            book = book_of(call.world, account)
            facts: dict[str, Any] = {"ical_uid": event.ical_uid, "is_organizer": False, "response": "notResponded"}
            copy = book.add(book.default.id, dict(event.fields), call.now, **facts)
        copy.changed = {day: dict(fields) for day, fields in event.changed.items()}
        copy.cancelled = set(event.cancelled)


def _tell_organizer(call: Call, event: BookEvent, response: str) -> None:
    for book, copy in _copies(call, event):
        if copy.is_organizer:
            for person in copy.fields.get("attendees") or []:
                if _address(person) == call.account.email:
                    person["status"] = {"response": response, "time": "2026-01-01T00:00:00Z"}
            book.touch(copy, call.now)


HANDLERS: dict[str, Handler] = {
    "graph.calendars.list": list_calendars,
    "graph.calendars.get": get_calendar,
    "graph.calendar.get": get_calendar,
    "graph.calendars.events.list": list_events,
    "graph.calendars.events.create": create,
    "graph.calendars.calendarView": view,
    "graph.calendarView": view,
    "graph.events.list": list_events,
    "graph.events.create": create,
    "graph.events.get": get_event,
    "graph.events.update": update,
    "graph.events.delete": delete,
    "graph.events.instances": instances,
    "graph.events.cancel": cancel,
    **{f"graph.events.{name}": answer(name) for name in ANSWERS},
}
