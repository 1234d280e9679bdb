"""The wire format of events that are written: bodies in. What a GET answered may come back by PUT as it is: members
that only the provider can change are passed over there, and refused in every other body."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from calendar_sync import zones
from calendar_sync.ics import MAX_ADDRESS, MAX_NAME, MAX_PLACE, MAX_TEXT, MAX_TITLE
from calendar_sync.records import ACCEPTED, DECLINED, NOTIFY, TENTATIVE, VISIBILITIES, Invited
from calendar_sync.rules import MAX_RULE
from calendar_sync.services.writing import NewEvent
from core.addresses import exact
from core.api.serializers import CamelSerializer, TypedFields
from entities.serializers import EntityIdField, EntityTypeField

MAX_ATTENDEES = 200
"""Google's limit, the least of all (support.google.com/a/answer/9982390)."""
MAX_LINE, MAX_LINES = MAX_RULE + 100, 1000
GIVEN = (
    "title", "description", "location", "start", "end", "all_day", "time_zone", "recurrence", "attendees", "visibility",
    "busy", "conference",
)  # fmt: skip


@extend_schema_field(OpenApiTypes.STR)
class WhenField(serializers.Field[Any, Any, Any, Any]):
    """A day, a moment with its offset, or a time by the clock of `timeZone`."""

    default_error_messages = {"invalid": "Give a day such as 2026-03-31, or a time such as 2026-03-31T08:00:00Z."}

    def to_internal_value(self, data: Any) -> date:
        """A date, or a datetime with or without a zone."""
        text = data.strip() if isinstance(data, str) else ""
        try:
            return date.fromisoformat(text) if len(text) == len("2026-03-31") else datetime.fromisoformat(text)
        except ValueError:
            self.fail("invalid")

    def to_representation(self, value: Any) -> Any:
        """Never written out."""
        return value


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "format": "email"},
            {
                "type": "object",
                "properties": {
                    "email": {"type": "string", "format": "email"},
                    "name": {"type": "string"},
                    "optional": {"type": "boolean"},
                },
                "required": ["email"],
            },
        ]
    }
)
class AttendeeField(serializers.Field[Any, Any, Any, Any]):
    """An address, or `{"email", "name", "optional"}`."""

    default_error_messages = {"invalid": "Give an address, or an object with `email`."}

    def to_internal_value(self, data: Any) -> Invited:
        given = {"email": data} if isinstance(data, str) else data
        if not isinstance(given, dict):
            self.fail("invalid")
        body = _AttendeeBody(data=given)
        body.is_valid(raise_exception=True)
        return Invited(**body.validated_data)

    def to_representation(self, value: Any) -> Any:
        """Never written out."""
        return value


class _AttendeeBody(TypedFields):
    email = serializers.EmailField(max_length=MAX_ADDRESS)
    name = serializers.RegexField(r"\A[^\r\n\"]*\Z", required=False, default="", allow_blank=True, max_length=MAX_NAME)
    optional = serializers.BooleanField(required=False, default=False)


@extend_schema_field(
    {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": MAX_LINES}]}
)
class LinesField(serializers.ListField):
    """RRULE alone, or the lines of a recurrence as a GET shows them."""

    child = serializers.CharField(max_length=MAX_LINE)

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MAX_LINES, **options)

    def to_internal_value(self, data: Any) -> list[str]:
        """One text is one line."""
        return list(super().to_internal_value([data] if isinstance(data, str) else data))


class EventFields(CamelSerializer):
    """What an event says of itself."""

    title = serializers.RegexField(
        r"\A[^\r\n]*\Z", required=False, allow_blank=True, max_length=MAX_TITLE,
        error_messages={"invalid": "A title is one line."},
    )  # fmt: skip
    description = serializers.CharField(required=False, allow_blank=True, max_length=MAX_TEXT, trim_whitespace=False)
    location = serializers.CharField(required=False, allow_blank=True, max_length=MAX_PLACE)
    start = WhenField(required=False, help_text="A day (`allDay`), a moment, or a time by the clock of `timeZone`.")
    end = WhenField(required=False, help_text="Exclusive; of an all-day event the day after its last.")
    all_day = serializers.BooleanField(required=False)
    time_zone = serializers.CharField(
        required=False, allow_null=True, max_length=zones.MAX_NAME, help_text="Default: the calendar's."
    )
    attendees = serializers.ListField(child=AttendeeField(), required=False, max_length=MAX_ATTENDEES)
    recurrence = LinesField(required=False, allow_null=True, help_text="RRULE, or lines of RRULE, RDATE and EXDATE.")
    visibility = serializers.ChoiceField(choices=VISIBILITIES, required=False)
    busy = serializers.BooleanField(required=False)
    conference = serializers.BooleanField(required=False, help_text="Make a conference link.")
    send_updates = serializers.ChoiceField(choices=NOTIFY, required=False, help_text="Whom the provider tells.")

    def validate_time_zone(self, value: str | None) -> str | None:
        """A zone somebody knows."""
        if not value:
            return None
        if not zones.named(value):
            raise serializers.ValidationError("This is no time zone, such as Europe/Berlin.")
        return zones.named(value)

    def validate_attendees(self, value: list[Invited]) -> list[Invited]:
        """Each once."""
        seen = [exact(person.email) for person in value]
        if twice := next((address for address in seen if seen.count(address) > 1), ""):
            raise serializers.ValidationError(f"{twice} stands here twice.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A time by the clock needs to say whose clock."""
        for name in ("start", "end"):
            moment = attrs.get(name)
            if isinstance(moment, datetime) and moment.tzinfo is None and not attrs.get("time_zone"):
                words = "Say which time this is: end it with Z or an offset such as +02:00, or say `timeZone`."
                raise serializers.ValidationError({name: words})
        return attrs

    def given(self) -> Mapping[str, Any]:
        """What was said, for `composing`."""
        return {name: self.validated_data[name] for name in GIVEN if name in self.validated_data}


class NewEventBody(EventFields):
    """The body of POST `calendar/events`."""

    title = serializers.RegexField(
        r"\A[^\r\n]*\Z", max_length=MAX_TITLE, error_messages={"invalid": "A title is one line."}
    )
    start = WhenField(help_text="A day (`allDay`), a moment, or a time by the clock of `timeZone`.")
    end = WhenField(help_text="Exclusive; of an all-day event the day after its last.")
    calendar_id = serializers.CharField(required=False, default="", allow_blank=True, max_length=100)
    connection_id = serializers.CharField(required=False, default="", allow_blank=True, max_length=100)
    entity_type = EntityTypeField(required=False)
    entity_id = EntityIdField(required=False, help_text="Linked to the event as by hand.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """An entity is a type and an id."""
        for one, other in (("entity_type", "entity_id"), ("entity_id", "entity_type")):
            if one in attrs and other not in attrs:
                raise serializers.ValidationError({other: "An entity has a type and an id."})
        return super().validate(attrs)

    def new(self, key: str) -> NewEvent:
        """`key` is the caller's Idempotency-Key."""
        given = self.validated_data
        entity = (given["entity_type"], given["entity_id"]) if "entity_type" in given else None
        return NewEvent(
            self.given(), given["calendar_id"], given["connection_id"], given.get("send_updates", ""), key, entity
        )


class EventChanges(EventFields):
    """The body of PATCH and PUT `calendar/events/:id`."""

    scope = serializers.ChoiceField(
        choices=("this", "following", "all"), required=False,
        help_text="Of an occurrence: it alone (default), it and all later ones, or the whole series.",
    )  # fmt: skip
    etag = serializers.CharField(
        required=False, allow_blank=True, max_length=500, help_text="The version that was seen; or If-Match."
    )
    calendar_id = serializers.CharField(required=False, max_length=100, help_text="No other than its own.")


SHOWN_ONLY = frozenset(
    {
        "id", "connectionId", "iCalUid", "status", "organizer", "recurringEventId", "originalStart", "conferenceUrl",
        "entities", "access",
    }
)  # fmt: skip


class WholeEvent(EventChanges):
    """The body of PUT `calendar/events/:id`."""

    def to_internal_value(self, data: Any) -> Any:
        """Without what a GET shows beside what can be said."""
        given = {name: data[name] for name in data if name not in SHOWN_ONLY} if isinstance(data, Mapping) else data
        return super().to_internal_value(given)


class RsvpBody(CamelSerializer):
    """The body of POST `calendar/events/:id/rsvp`."""

    response = serializers.ChoiceField(choices=(ACCEPTED, DECLINED, TENTATIVE))
    comment = serializers.CharField(required=False, default="", allow_blank=True, max_length=1000)
    scope = serializers.ChoiceField(choices=("this", "all"), required=False)
    send_updates = serializers.ChoiceField(choices=NOTIFY, required=False, help_text="Whom the provider tells.")
    etag = serializers.CharField(required=False, allow_blank=True, max_length=500)


class RemovalParameters(CamelSerializer):
    """The query of DELETE `calendar/events/:id`."""

    scope = serializers.ChoiceField(choices=("this", "following", "all"), required=False)
    send_updates = serializers.ChoiceField(choices=NOTIFY, required=False)
    etag = serializers.CharField(required=False, allow_blank=True, max_length=500)
