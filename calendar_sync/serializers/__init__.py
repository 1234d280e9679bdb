"""The wire format of calendars and events: plain functions out, serializers in.

The `…Shape` classes describe the same answers for OpenAPI; a test holds them equal to what the functions build.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, tzinfo
from typing import Any

from rest_framework import serializers

from calendar_sync import composing, zones
from calendar_sync.models import Calendar
from calendar_sync.recurrence import EARLIEST, LATEST
from calendar_sync.services.columns import recurrence_of
from calendar_sync.services.linking import WAYS, LinkedEntity
from calendar_sync.services.reading import MAX_RANGE, Cut, Range
from calendar_sync.services.rows import EventRow, Guest, Shown
from calendar_sync.services.timelines import Seen
from calendar_sync.services.visibility import Access
from core.api.pagination import PageParameters, PaginationShape
from core.api.serializers import CamelSerializer, IsoDateTimeField, wire_time
from core.errors import InvalidInput

Entities = Sequence[LinkedEntity]
BUSY = "Busy"

# --- shapes -------------------------------------------------------------------------------------------------------


class EventPersonShape(CamelSerializer):
    """Who organizes an event."""

    email = serializers.CharField()
    name = serializers.CharField()


class EventAttendeeShape(EventPersonShape):
    """Who was invited, and what they answered."""

    response = serializers.ChoiceField(choices=("needsAction", "accepted", "declined", "tentative"))
    optional = serializers.BooleanField()
    resource = serializers.BooleanField(help_text="A room or a thing.")


class EventEntityShape(CamelSerializer):
    """A CRM entity an event is about."""

    entity_type = serializers.CharField()
    entity_id = serializers.CharField()
    how = serializers.ChoiceField(choices=WAYS)


class EventShape(CamelSerializer):
    """An event, a series, or one occurrence of a series."""

    id = serializers.CharField(help_text="Of an occurrence: its series' id, `_`, and its original start.")
    connection_id = serializers.CharField()
    calendar_id = serializers.CharField()
    i_cal_uid = serializers.CharField(help_text="The same in every calendar that has this meeting.")
    title = serializers.CharField()
    description = serializers.CharField()
    location = serializers.CharField()
    start = serializers.CharField(help_text="An instant in UTC; a date where `allDay`.")
    end = serializers.CharField(help_text="Exclusive. An instant in UTC; a date where `allDay`.")
    all_day = serializers.BooleanField()
    time_zone = serializers.CharField(allow_null=True, help_text="Its own; null for days and floating times.")
    status = serializers.ChoiceField(choices=("confirmed", "tentative", "cancelled"))
    visibility = serializers.ChoiceField(choices=("public", "private", "confidential"))
    busy = serializers.BooleanField()
    organizer = EventPersonShape(allow_null=True)
    attendees = EventAttendeeShape(many=True)
    recurrence = serializers.ListField(
        child=serializers.CharField(), allow_null=True, help_text="Of a series: its rules, as iCalendar's lines."
    )
    recurring_event_id = serializers.CharField(allow_null=True, help_text="Of an occurrence: its series.")
    original_start = serializers.CharField(allow_null=True, help_text="Of an occurrence: where its series has it.")
    conference_url = serializers.CharField(allow_null=True)
    entities = EventEntityShape(many=True)
    etag = serializers.CharField()
    access = serializers.ChoiceField(
        choices=("own", "full", "metadata", "busy"),
        help_text="How much of it the caller sees; on timelines others' too.",
    )


class CutShape(CamelSerializer):
    """A series of which not everything is shown."""

    event_id = serializers.CharField()
    reason = serializers.CharField()


class EventRangeShape(CamelSerializer):
    """A page of a range."""

    data = EventShape(many=True)  # type: ignore[assignment]
    pagination = PaginationShape()
    incomplete = CutShape(many=True, help_text="Series that have more occurrences than are shown, and why.")


class CalendarShape(CamelSerializer):
    """A calendar of an account."""

    id = serializers.CharField()
    connection_id = serializers.CharField()
    name = serializers.CharField()
    color = serializers.CharField(allow_null=True)
    time_zone = serializers.CharField(allow_null=True)
    read_only = serializers.BooleanField()  # type: ignore[assignment]
    primary = serializers.BooleanField()
    selected = serializers.BooleanField(help_text="Synced and shown.")


# --- out ----------------------------------------------------------------------------------------------------------


def calendar_row(calendar: Calendar) -> dict[str, Any]:
    """A calendar."""
    return {
        "id": str(calendar.pk),
        "connectionId": str(calendar.connection_id),
        "name": calendar.name,
        "color": calendar.color or None,
        "timeZone": calendar.time_zone or None,
        "readOnly": calendar.read_only,
        "primary": calendar.is_primary,
        "selected": calendar.selected,
    }


def _when(moment: datetime, *, all_day: bool) -> str:
    return f"{moment:%Y-%m-%d}" if all_day else wire_time(moment)


def happening(one: Shown, entities: Mapping[Any, Entities], access: Access = Access.OWN) -> dict[str, Any]:
    """An event as its reader sees it."""
    event, source = one.event, one.source
    is_series = bool(event.recurrence) and not one.key
    shown = {
        "id": one.id,
        "connectionId": str(event.connection_id),
        "calendarId": str(event.calendar_id),
        "iCalUid": event.uid,
        "title": source.title,
        "description": source.description,
        "location": source.location,
        "start": _when(one.start, all_day=source.all_day),
        "end": _when(one.end, all_day=source.all_day),
        "allDay": source.all_day,
        "timeZone": source.zone or None,
        "status": source.status,
        "visibility": source.visibility,
        "busy": source.busy,
        "organizer": _organizer(source),
        "attendees": [_guest(person) for person in source.guests],
        "recurrence": recurrence_lines(event) if is_series else None,
        "recurringEventId": str(event.id) if one.key else None,
        "originalStart": one.key or None,
        "conferenceUrl": source.conference_url or None,
        "entities": [_entity(one) for one in entities.get(source.id, ())],
        "etag": source.etag or event.etag,
        "access": access.name.lower(),
    }
    return shown | _hidden(access)


def _entity(linked: LinkedEntity) -> dict[str, str]:
    return {"entityType": linked.entity_type, "entityId": linked.entity_id, "how": linked.how}


def _hidden(access: Access) -> dict[str, Any]:
    """What a reader does not see."""
    if access >= Access.FULL:
        return {}
    hidden: dict[str, Any] = {"description": "", "location": "", "conferenceUrl": None}
    if access == Access.BUSY:
        hidden |= {"title": BUSY, "organizer": None, "attendees": [], "entities": [], "recurrence": None, "iCalUid": ""}
    return hidden


def seen(one: Seen, entities: Mapping[Any, Entities]) -> dict[str, Any]:
    """An event on an entity's timeline."""
    event = one.event
    return happening(Shown(event, event, "", event.starts_at, event.ends_at), entities, one.access)


def _organizer(event: EventRow) -> dict[str, str] | None:
    if not (event.organizer_email or event.organizer_name):
        return None
    return {"email": event.organizer_email, "name": event.organizer_name}


def _guest(person: Guest) -> dict[str, Any]:
    return {
        "email": person.email,
        "name": person.name,
        "response": person.response,
        "optional": person.optional,
        "resource": person.is_resource,
    }


def recurrence_lines(event: EventRow) -> list[str]:
    """The rules of a series as lines of iCalendar."""
    return composing.lines_of(recurrence_of(event), all_day=event.all_day)


def cut(one: Cut) -> dict[str, str]:
    """A series that was cut off."""
    return {"eventId": one.event_id, "reason": one.reason}


# --- in -----------------------------------------------------------------------------------------------------------


class DayOrMomentField(IsoDateTimeField):
    """A day (a date), or a moment with its offset (in UTC)."""

    default_error_messages = {"invalid": "Give a day such as 2026-03-31, or a time such as 2026-03-31T08:00:00Z."}

    def to_internal_value(self, value: Any) -> date:  # type: ignore[override]  # a day is kept as one
        """Where a day begins, the reader's zone says."""
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            return super().to_internal_value(value)


class StretchParameters(CamelSerializer):
    """A half-open stretch of time and where its days begin."""

    start = DayOrMomentField(help_text="The beginning, inclusive: a day or a time.")
    end = DayOrMomentField(help_text="The end, exclusive: a day or a time, at most 366 days later.")
    time_zone = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=zones.MAX_NAME,
        help_text="Where days begin, for all-day events. Default: UTC.",
    )  # fmt: skip

    def validate_time_zone(self, value: str) -> str:
        """A zone somebody knows."""
        if value and not zones.named(value):
            raise serializers.ValidationError("This is no time zone, such as Europe/Berlin.")
        return zones.named(value)

    def zone_name(self) -> str:
        """As it is known here."""
        return self.validated_data["time_zone"] or "UTC"

    def stretch(self) -> tuple[datetime, datetime, tzinfo]:
        """Start, end and zone; InvalidInput where the stretch runs backwards or is too long."""
        given, zone = self.validated_data, zones.zone(self.zone_name())
        start, end = _moment(given["start"], zone, "start"), _moment(given["end"], zone, "end")
        if end <= start:
            raise InvalidInput(fields={"end": ["This must be after `start`."]})
        if end - start > MAX_RANGE:
            raise InvalidInput(fields={"end": [f"This must be at most {MAX_RANGE.days} days after `start`."]})
        for name, moment in (("start", start), ("end", end)):
            if not EARLIEST + MAX_RANGE < moment < LATEST - MAX_RANGE:
                raise InvalidInput(fields={name: ["This time is out of range."]})
        return start, end, zone


class RangeParameters(StretchParameters, PageParameters):
    """The query of `calendar/events`."""

    calendar_id = serializers.CharField(required=False, default="")
    q = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=200,
        help_text="Words that have to be in the title, place, text or organizer.",
    )  # fmt: skip

    def asked(self) -> Range:
        """InvalidInput where the stretch runs backwards or is too long."""
        given = self.validated_data
        start, end, zone = self.stretch()
        return Range(
            start=start,
            end=end,
            zone=zone,
            calendar_id=given["calendar_id"],
            words=given["q"],
            paging=self.page_query(),
        )


def _moment(given: date, zone: tzinfo, name: str) -> datetime:
    """In UTC; a day begins at midnight in the zone."""
    if isinstance(given, datetime):
        return given
    try:
        return datetime.combine(given, time(), zone).astimezone(UTC)
    except OverflowError:
        raise InvalidInput(fields={name: ["This day is out of range."]}) from None


class CalendarChanges(CamelSerializer):
    """The body of PATCH `calendar/calendars/:id`."""

    selected = serializers.BooleanField(required=False)
