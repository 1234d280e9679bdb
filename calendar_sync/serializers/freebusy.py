"""The wire format of free/busy and of finding a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from rest_framework import serializers

from calendar_sync import working_hours
from calendar_sync.intervals import Stretch
from calendar_sync.serializers import CutShape, StretchParameters, cut
from calendar_sync.services.finding import Slots, Wanted
from calendar_sync.services.freebusy import MAX_PEOPLE, Answer, Blocks
from core.api.pagination import PageParameters, PaginationShape
from core.api.serializers import CamelSerializer, IsoDateTimeField, wire_time
from entities.matching import normalise

BUSY, TENTATIVE = "busy", "tentative"
LEAST_STEP, MOST_MINUTES = 5, 24 * 60

# --- shapes -------------------------------------------------------------------------------------------------------


class SlotShape(CamelSerializer):
    """A stretch of time, half-open."""

    start = IsoDateTimeField()
    end = IsoDateTimeField()


class BlockShape(SlotShape):
    """A stretch in which somebody is busy."""

    status = serializers.ChoiceField(
        choices=(BUSY, TENTATIVE), help_text="tentative: only what is unconfirmed or not answered yet."
    )


class PersonBlocksShape(CamelSerializer):
    """When a colleague is busy."""

    email = serializers.CharField(help_text="As it was asked for.")
    blocks = BlockShape(many=True)
    incomplete = serializers.BooleanField(help_text="Some of their series were cut off.")


class FreeBusyShape(CamelSerializer):
    """When the caller and those asked for are busy."""

    start = IsoDateTimeField()
    end = IsoDateTimeField()
    time_zone = serializers.CharField()
    blocks = BlockShape(many=True, help_text="Of the caller's own calendars, merged, in order.")
    people = PersonBlocksShape(many=True)
    unknown = serializers.ListField(
        child=serializers.CharField(), help_text="Addresses whose calendars the hub does not have, or may not show."
    )
    incomplete = CutShape(many=True, help_text="Own series of which not everything is regarded, and why.")


class SlotPageShape(CamelSerializer):
    """A page of free times."""

    data = SlotShape(many=True)  # type: ignore[assignment]
    pagination = PaginationShape()
    time_zone = serializers.CharField()
    unknown = serializers.ListField(
        child=serializers.CharField(), help_text="Attendees who are not regarded: their calendars are not known."
    )
    incomplete = CutShape(many=True, help_text="Own series of which not everything is regarded, and why.")
    incomplete_people = serializers.ListField(
        child=serializers.CharField(), help_text="Attendees of whose series some were cut off."
    )


# --- out ----------------------------------------------------------------------------------------------------------


def free_busy(asked: FreeBusyParameters, answer: Answer) -> dict[str, Any]:
    """An answer of free/busy."""
    start, end, _ = asked.stretch()
    return {
        "start": wire_time(start),
        "end": wire_time(end),
        "timeZone": asked.zone_name(),
        "blocks": _blocks(answer.own),
        "people": [
            {"email": email, "blocks": _blocks(blocks), "incomplete": bool(blocks.incomplete)}
            for email, blocks in answer.people.items()
        ],
        "unknown": list(answer.unknown),
        "incomplete": [cut(one) for one in answer.own.incomplete],
    }


def _blocks(blocks: Blocks) -> list[dict[str, str]]:
    both = [(one, BUSY) for one in blocks.busy] + [(one, TENTATIVE) for one in blocks.tentative]
    return [{**slot(one), "status": status} for one, status in sorted(both)]


def slot(stretch: Stretch) -> dict[str, str]:
    """A stretch."""
    return {"start": wire_time(stretch[0]), "end": wire_time(stretch[1])}


def not_regarded(asked: SlotParameters, found: Slots) -> dict[str, Any]:
    """What a list of slots does not know of."""
    people = found.answer.people.items()
    return {
        "timeZone": asked.zone_name(),
        "unknown": list(found.answer.unknown),
        "incomplete": [cut(one) for one in found.answer.own.incomplete],
        "incompletePeople": [email for email, blocks in people if blocks.incomplete],
    }


# --- in -----------------------------------------------------------------------------------------------------------


class AddressesField(serializers.CharField):
    """Addresses, separated by commas."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, default=list, max_length=400 * MAX_PEOPLE, **kwargs)  # type: ignore[arg-type]

    def to_internal_value(self, data: Any) -> list[str]:  # type: ignore[override]  # a list is kept
        """Each of them, as it was given."""
        given = [address.strip() for address in super().to_internal_value(data).split(",") if address.strip()]
        for address in given:
            if not normalise(address):
                raise serializers.ValidationError(f"{address[:100]!r} is not an email address.")
        if len(given) > MAX_PEOPLE:
            raise serializers.ValidationError(f"Name at most {MAX_PEOPLE} people.")
        return given


class FreeBusyParameters(StretchParameters):
    """The query of `calendar/freebusy`."""

    calendar_id = serializers.CharField(required=False, default="")
    emails = AddressesField(help_text=f"Colleagues' addresses, separated by commas; at most {MAX_PEOPLE}.")


class SlotParameters(StretchParameters, PageParameters):
    """The query of `calendar/slots`."""

    duration = serializers.IntegerField(min_value=1, max_value=MOST_MINUTES, help_text="Minutes.")
    working_hours = serializers.CharField(
        required=False, default=working_hours.DEFAULT, max_length=working_hours.MAX_TEXT,
        help_text="By the clock of `timeZone`, such as `MO-FR 09:00-12:00, MO-TH 13:00-17:00`.",
    )  # fmt: skip
    attendees = AddressesField(
        help_text=f"Addresses, separated by commas; at most {MAX_PEOPLE}. The caller always attends."
    )
    step = serializers.IntegerField(
        required=False, default=30, min_value=LEAST_STEP, max_value=MOST_MINUTES,
        help_text="Minutes between starts, counted from where work begins.",
    )  # fmt: skip
    buffer = serializers.IntegerField(
        required=False, default=0, min_value=0, max_value=MOST_MINUTES, help_text="Minutes kept free before and after."
    )

    def validate_working_hours(self, value: str) -> str:
        """Hours that can be read."""
        try:
            working_hours.parse(value)
        except working_hours.BadHours as error:
            raise serializers.ValidationError(str(error)) from error
        return value

    def wanted(self) -> Wanted:
        """InvalidInput where the stretch runs backwards or is too long."""
        given = self.validated_data
        start, end, zone = self.stretch()
        return Wanted(
            start=start,
            end=end,
            zone=zone,
            hours=working_hours.parse(given["working_hours"]),
            duration=timedelta(minutes=given["duration"]),
            step=timedelta(minutes=given["step"]),
            buffer=timedelta(minutes=given["buffer"]),
            attendees=given["attendees"],
            paging=self.page_query(),
        )
