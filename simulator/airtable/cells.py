"""Values of cells: what each type of field takes, what `typecast` makes of strings, what is refused in which words."""

from __future__ import annotations

import re
from typing import Any

from simulator.airtable.access import error
from simulator.airtable.base import Column, Table

TEXTS = ("singleLineText", "multilineText", "email", "url", "phoneNumber", "richText")
COMPUTED = ("formula", "rollup", "count", "createdTime", "lastModifiedTime", "autoNumber", "multipleLookupValues")
MERGEABLE = (*TEXTS, "number", "singleSelect", "multipleSelects", "date", "dateTime")
DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?")


def kept(row: dict[str, Any]) -> dict[str, Any]:
    """The cells that hold something, which are those of answers. 0 is something."""
    return {
        name: value for name, value in row.items() if value is not None and value is not False and value not in ("", [])
    }


def read_fields(table: Table, given: object, *, typecast: bool) -> dict[str, Any]:
    """Cells by field id, checked. New choices of selects are added where `typecast` allows it."""
    if not isinstance(given, dict):
        raise error(422, "INVALID_REQUEST_MISSING_FIELDS", 'Could not find field "fields" in the request body')
    return dict(_cell(table, str(name), value, typecast) for name, value in given.items())


def _cell(table: Table, name: str, value: Any, typecast: bool) -> tuple[str, Any]:
    column = table.column(name)
    if column is None:
        raise error(422, "UNKNOWN_FIELD_NAME", f'Unknown field name: "{name}"')
    if column.type in COMPUTED:
        words = f'Field "{column.name}" cannot accept a value because the field is computed'
        raise error(422, "INVALID_VALUE_FOR_COLUMN", words)
    if value is None or value == "":
        return column.id, None
    return column.id, _value(column, value, typecast)


def _value(column: Column, value: Any, typecast: bool) -> Any:
    if column.type == "singleSelect":
        return _choice(column, value, typecast)
    if column.type == "multipleSelects":
        items = [value] if typecast and isinstance(value, str) else value
        if not isinstance(items, list):
            raise unfit(column)
        return [_choice(column, item, typecast) for item in items]
    if column.type == "number":
        return _number(column, value, typecast)
    if column.type == "checkbox":
        if not isinstance(value, bool):
            raise unfit(column)
        return value
    if typecast and isinstance(value, int | float | bool):
        value = str(value)
    if not isinstance(value, str) or (column.type in ("date", "dateTime") and not DATE.fullmatch(value)):
        raise unfit(column)
    return value


def _choice(column: Column, value: Any, typecast: bool) -> str:
    if not isinstance(value, str):
        raise unfit(column)
    if value not in column.choices:
        if not typecast:
            words = f'Insufficient permissions to create new select option ""{value}""'
            raise error(422, "INVALID_MULTIPLE_CHOICE_OPTIONS", words)
        column.choices.append(value)
    return value


def _number(column: Column, value: Any, typecast: bool) -> float | int:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if typecast and isinstance(value, str) and re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", value):
        return float(value)
    raise unfit(column)


def unfit(column: Column) -> Exception:
    return error(422, "INVALID_VALUE_FOR_COLUMN", f'Field "{column.name}" cannot accept the provided value')
