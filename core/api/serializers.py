"""Names and forms on the wire: camelCase outside, snake_case inside; unknown input refused; times in UTC with Z.

Every app's serializers start from `CamelSerializer` or `CamelModelSerializer`; views check input with `valid`.
Promised: only declared field names change, never keys inside a JSON value; a body field nobody declared is a 400 that
names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db import models
from django.http import QueryDict
from django.utils import timezone
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

AnyField = serializers.Field[Any, Any, Any, Any]
AnySerializer = TypeVar("AnySerializer", bound="serializers.Serializer[Any]")

AS_TEXT = "as_text"
"""In a serializer's context: the values came in an address, where all is text."""
UNKNOWN = "This field is not known."
NOT_WRITABLE = "This field cannot be set."


def camel(name: str) -> str:
    """`sent_at` → `sentAt`."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def wire_time(value: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and Z: `2026-01-15T08:00:00.000Z`."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class IsoDateTimeField(serializers.DateTimeField):
    """A moment: any ISO 8601 time that says its offset comes in, UTC with Z goes out."""

    default_error_messages = {
        "naive": "Say which time this is: end it with Z or an offset such as +02:00.",
        "range": "This time is out of range.",
    }

    def enforce_timezone(self, value: datetime) -> datetime:
        """In UTC; a time without an offset is nobody's guess."""
        if timezone.is_naive(value):
            self.fail("naive")
        try:
            return value.astimezone(UTC)
        except OverflowError:
            self.fail("range")

    def to_representation(self, value: datetime) -> str:
        """See `wire_time`. None never comes here: the serializer writes null itself."""
        return wire_time(value)


_JSON_TYPES: tuple[tuple[tuple[type[AnyField], ...], Callable[[Any], bool]], ...] = (
    ((serializers.BooleanField,), lambda value: isinstance(value, bool)),
    ((serializers.IntegerField,), lambda value: not isinstance(value, bool) and isinstance(value, int | float)),
    ((serializers.CharField, serializers.UUIDField), lambda value: isinstance(value, str)),
)
"""Fields that DRF would also read from other types, as HTML forms need it: "yes" as true, 5 as "5", "5" as 5."""


class TypedFields(serializers.Serializer[Any]):
    """Takes of a JSON body what the schema says: a text for a text, a number for a number, true or false for either.
    A field may say that it takes numbers for texts (`takes_numbers`)."""

    def to_internal_value(self, data: Any) -> Any:
        """Checked input, or every error at once."""
        return self._with(self._mistyped(data), data)

    def _with(self, own: Mapping[str, Any], data: Any) -> Any:
        """What DRF makes of the data, where neither it nor we found anything wrong."""
        try:
            value = super().to_internal_value(data)
        except ValidationError as error:
            found = error.detail if isinstance(error.detail, Mapping) else {}
            raise ValidationError({**found, **own} or error.detail) from error
        if own:
            raise ValidationError(own)
        return value

    def _mistyped(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, Mapping) or self.context.get(AS_TEXT):
            return {}
        given = ((name, field, data[name]) for name, field in self.fields.items() if name in data)
        return {name: words for name, field, value in given if (words := _type_error(field, value))}


def _type_error(field: AnyField, value: Any) -> Any:
    """What is wrong with the type of this value, item by item of a list; None where nothing is."""
    if isinstance(field, serializers.ListField) and isinstance(value, list):
        return {at: words for at, item in enumerate(value) if (words := _type_error(field.child, item))}
    if value is None or getattr(field, "takes_numbers", False):
        return None
    fits = next((fits for kinds, fits in _JSON_TYPES if isinstance(field, kinds)), None)
    return None if fits is None or fits(value) else [field.error_messages["invalid"]]


class StrictFields(TypedFields):
    """Refuses input that nobody declared, and input for what can only be read, beside all other errors."""

    def to_internal_value(self, data: Any) -> Any:
        """Checked input, or every error at once."""
        return self._with({**self._mistyped(data), **self._surplus(data)}, data)

    def _surplus(self, data: Any) -> dict[str, list[str]]:
        if not isinstance(data, Mapping):
            return {}
        unknown = {str(name): [UNKNOWN] for name in data if name not in self.fields}
        fixed = {name: [NOT_WRITABLE] for name, field in self.fields.items() if name in data and field.read_only}
        return unknown | fixed


class _CamelNames(StrictFields):
    """Declared snake_case fields appear in camelCase; `validate_<name>` and `get_<name>` are written in snake_case."""

    def get_fields(self) -> dict[str, AnyField]:
        """The declared fields under their wire names, each reading and writing its own attribute."""
        return {camel(name): self._renamed(name, field) for name, field in super().get_fields().items()}

    def _renamed(self, name: str, field: AnyField) -> AnyField:
        wire = camel(name)
        if wire == name:
            return field
        if isinstance(field, serializers.SerializerMethodField):
            field.method_name = field.method_name or f"get_{name}"
        elif field.source is None:
            field.source = name
        if hasattr(self, f"validate_{name}"):  # DRF looks for the method under the wire name
            setattr(self, f"validate_{wire}", getattr(self, f"validate_{name}"))
        return field

    def run_validation(self, data: Any = serializers.empty) -> Any:
        """Errors that `validate` raised under snake_case names come out under the wire's."""
        try:
            return super().run_validation(data)
        except ValidationError as error:
            if not isinstance(error.detail, Mapping):
                raise
            given = data if isinstance(data, Mapping) else {}
            wire = {field.source: name for name, field in self.fields.items() if field.source not in given}
            raise ValidationError({wire.get(name, name): words for name, words in error.detail.items()}) from error


class CamelSerializer(_CamelNames, serializers.Serializer[Any]):
    """Base of the serializers that belong to no model."""


class CamelModelSerializer(_CamelNames, serializers.ModelSerializer[Any]):
    """Base of the serializers of a model; its times are `IsoDateTimeField`s."""

    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.DateTimeField: IsoDateTimeField,
    }


def valid(
    kind: type[AnySerializer], data: Any, *, only: Iterable[str] | None = None, partial: bool = False
) -> AnySerializer:
    """`kind` over checked `data` (a body, or `request.query_params`); raises the 400 that names what is wrong.

    `only` keeps just these fields (snake_case names). Of a query, parameters nobody declared are ignored and empty ones
    count as left out, but for ids (`…Id`): an empty one names nothing, and left out it would mean all there is. A body
    is strict.
    """
    serializer = kind(data={}, partial=partial, context={AS_TEXT: isinstance(data, QueryDict)})
    if only is not None:
        for name in set(serializer.fields) - {camel(name) for name in only}:
            del serializer.fields[name]
    serializer.initial_data = _from_query(serializer, data) if isinstance(data, QueryDict) else data
    serializer.is_valid(raise_exception=True)
    return serializer


def _from_query(serializer: serializers.Serializer[Any], query: QueryDict) -> dict[str, Any]:
    """Plain values, because DRF reads a QueryDict as an HTML form, where an unticked box means False."""
    said = {name for name in query if query[name] != "" or name.endswith("Id")}
    given = {name: field for name, field in serializer.fields.items() if name in said}
    lists = (serializers.ListField, serializers.MultipleChoiceField)
    return {name: query.getlist(name) if isinstance(field, lists) else query[name] for name, field in given.items()}
