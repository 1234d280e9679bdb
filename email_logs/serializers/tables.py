"""Log tables and their rows on the wire: the source document's names, and what CONTRACT 5 adds."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

from rest_framework import serializers

from core.api.pagination import PageParameters
from core.api.serializers import AnyField, CamelSerializer, IsoDateTimeField, wire_time
from core.errors import InvalidInput
from email_logs.columns import COLUMNS, DATE, NUMBER, STATUSES, STORED, TEXT, cells
from email_logs.files import FORMATS
from email_logs.models import EmailLogTable
from email_logs.services.asking import MAX_QUERY
from email_logs.services.history import Step
from email_logs.services.reading import Filters, Row, RowsQuery
from email_logs.sources import SOURCES
from email_logs.states import State

NEWEST, OLDEST = "-sentAt", "sentAt"


# --- queries ------------------------------------------------------------------------------------------------------


class DayOrTimeField(IsoDateTimeField):
    """A day, which begins at midnight UTC, or a moment with its offset."""

    def to_internal_value(self, value: Any) -> datetime:
        """In UTC."""
        try:
            return datetime.combine(date.fromisoformat(str(value)), time(), UTC)
        except ValueError:
            return super().to_internal_value(value)

    default_error_messages = {"invalid": "Give a day such as 2026-03-31, or a time such as 2026-03-31T08:00:00Z."}


class FilterParameters(CamelSerializer):
    """What narrows the rows of a table."""

    status = serializers.ChoiceField(STATUSES, required=False)
    state = serializers.ChoiceField(State.choices, required=False)
    source = serializers.ChoiceField(SOURCES, required=False)  # type: ignore[assignment]  # a field's own name
    provider = serializers.CharField(required=False, max_length=60)
    q = serializers.CharField(
        required=False,
        max_length=MAX_QUERY,
        help_text="Words of To, Subject and Message ID, all of them. `word*` may go on, `-word` must not be there.",
    )
    sort = serializers.ChoiceField(
        [NEWEST, OLDEST],
        default=NEWEST,
        error_messages={"invalid_choice": f"Rows are sorted by {NEWEST} (newest first) or {OLDEST}."},
    )

    def get_fields(self) -> dict[str, AnyField]:
        """With `from` and `to`, half open; a name that Python keeps for itself."""
        span = {
            "from": DayOrTimeField(required=False, source="since"),
            "to": DayOrTimeField(required=False, source="until", help_text="Not included."),
        }
        return {**super().get_fields(), **span}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The span is not empty."""
        if "since" in attrs and "until" in attrs and attrs["since"] >= attrs["until"]:
            raise serializers.ValidationError({"until": ["Must be later than from; it is not included."]})
        if "\x00" in attrs.get("q", "") or "\x00" in attrs.get("provider", ""):
            raise InvalidInput("Text cannot hold NUL.")
        return attrs

    def filters(self) -> Filters:
        """As the service takes them."""
        names = ("status", "state", "source", "provider", "since", "until", "q")
        return Filters(**{name: self.validated_data[name] for name in names if name in self.validated_data})

    @property
    def oldest_first(self) -> bool:
        return bool(self.validated_data["sort"] == OLDEST)


class RowsParameters(FilterParameters, PageParameters):
    """Query of the rows."""

    def query(self) -> RowsQuery:
        """As the service takes it."""
        return RowsQuery(self.filters(), self.oldest_first, self.page_query())


class ExportParameters(FilterParameters):
    """Query of an export."""

    format = serializers.ChoiceField(
        list(FORMATS), default="csv", error_messages={"invalid_choice": f"One of {', '.join(FORMATS)}."}
    )


# --- shapes -------------------------------------------------------------------------------------------------------


class LogColumnShape(CamelSerializer):
    """A column."""

    name = serializers.CharField()
    type = serializers.ChoiceField([DATE, TEXT, NUMBER])


class LogTableShape(CamelSerializer):
    """A log table: of a provider of the workspace, or of its users' own mailboxes at one."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    system_type = serializers.CharField(help_text="EMAIL_LOG")
    integration_id = serializers.UUIDField(allow_null=True, help_text="null: mail of users' own mailboxes.")
    integration_name = serializers.CharField(allow_null=True)
    provider = serializers.CharField()
    active = serializers.BooleanField(help_text="false: its provider is disabled or deleted; it can still be read.")
    created_at = IsoDateTimeField()
    columns = LogColumnShape(many=True)


class InitialisedShape(CamelSerializer):
    """Answer of `tables/integration/init`."""

    success = serializers.BooleanField()
    tables = LogTableShape(many=True)


class LogStepShape(CamelSerializer):
    """One thing that happened to a mail."""

    what = serializers.CharField(help_text="A state, or opened, clicked, unsubscribed.")
    at = IsoDateTimeField()
    recipients = serializers.ListField(child=serializers.CharField(), help_text="Whom it is about, where it was told.")
    words = serializers.CharField()


class LogRowShape(CamelSerializer):
    """A row: the columns by their names, and where the mail truly stands."""

    id = serializers.UUIDField()
    state = serializers.ChoiceField(State.choices)
    state_at = IsoDateTimeField()
    withheld = serializers.ListField(
        child=serializers.CharField(), help_text="Columns that are null because a mailbox's user shows metadata only."
    )
    history = LogStepShape(many=True)

    def get_fields(self) -> dict[str, AnyField]:
        """With the columns."""
        return {**super().get_fields(), **{column.name: _column(column.type, column.name) for column in COLUMNS}}


def _column(type: str, name: str) -> AnyField:
    if type == DATE:
        return IsoDateTimeField()
    if type == NUMBER:
        return serializers.IntegerField(allow_null=True)
    if name == "Status":
        return serializers.ChoiceField(
            STATUSES, allow_null=True, help_text="null while neither word is true: see `state`."
        )
    return serializers.CharField(allow_null=True)


def table(row: EmailLogTable) -> dict[str, Any]:
    """Its integration must be loaded."""
    of = row.integration
    return {
        "id": str(row.pk),
        "name": row.name,
        "systemType": row.system_type,
        "integrationId": str(of.pk) if of else None,
        "integrationName": of.name if of else None,
        "provider": row.provider,
        "active": of is None or (of.enabled and of.deleted_at is None),
        "createdAt": wire_time(row.created_at),
        "columns": [{"name": column.name, "type": column.type} for column in COLUMNS],
    }


def row(found: Row, provider: str) -> dict[str, Any]:
    """The columns by name, and what stands beside them."""
    entry = found.entry
    values = cells({name: getattr(entry, name) for name in STORED}, provider, whole=found.whole)
    shown = {column.name: value for column, value in zip(COLUMNS, values, strict=True)}
    return {
        "id": str(entry.pk),
        **shown,
        "Sent At": wire_time(entry.sent_at),
        "state": entry.state,
        "stateAt": wire_time(entry.state_at),
        "withheld": [] if found.whole else [column.name for column in COLUMNS if column.withheld],
        "history": [_step(step) for step in found.history],
    }


def _step(step: Step) -> dict[str, Any]:
    return {"what": step.what, "at": wire_time(step.at), "recipients": list(step.recipients), "words": step.words}
