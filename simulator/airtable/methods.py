"""The calls of Airtable's API: whoami, the schema, records listed, read, created, updated, upserted and deleted. A
request takes effect whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from simulator.airtable.access import VENDOR, Access, Call, bare, error
from simulator.airtable.base import Column, Record, Table, make_id
from simulator.airtable.cells import MERGEABLE, kept, read_fields
from simulator.routing import Router
from simulator.state import World
from simulator.wire import Response, json_response

MAX_PAGE, MAX_WRITES, MAX_MERGE_FIELDS = 100, 10, 3
READ, WRITE, SCHEMA = "data.records:read", "data.records:write", "schema.bases:read"
TOO_MANY = (
    'You must provide an array of up to 10 record objects, each with an "id" ID field and a "fields" object for cell '
    "values."
)
Match = tuple[Record | None, dict[str, Any]]


def register(router: Router, world: World) -> None:
    table, record = "/v0/{base}/{table}", "/v0/{base}/{table}/{record}"
    calls: tuple[tuple[str, str, str, str, Callable[[Call], Response]], ...] = (
        ("GET", "/v0/meta/whoami", "meta.whoami", "", whoami),
        ("GET", "/v0/meta/bases/{base}/tables", "meta.tables", SCHEMA, tables),
        ("GET", table, "records.list", READ, list_by_query),
        ("POST", f"{table}/listRecords", "records.list", READ, list_by_body),
        ("GET", record, "records.get", READ, get),
        ("POST", table, "records.create", WRITE, create),
        ("PATCH", table, "records.update", WRITE, update),
        ("PUT", table, "records.replace", WRITE, update),
        ("DELETE", table, "records.delete", WRITE, delete),
    )
    for method, path, operation, scope, handler in calls:
        router.add(method, path, VENDOR, f"airtable.{operation}", Access(world, scope, handler))


def whoami(call: Call) -> Response:
    email = {"email": call.token.email} if "user.email:read" in call.token.scopes else {}
    return json_response({"id": call.token.user} | email)


def tables(call: Call) -> Response:
    return json_response({"tables": [table.describe() for table in call.the_base.tables.values()]})


# Reading


def list_by_query(call: Call) -> Response:
    query = call.request.query
    plain = {name: values[0] for name, values in query.items() if not name.endswith("]")}
    sorts: dict[str, dict[str, str]] = {}
    for name, values in query.items():
        found = re.fullmatch(r"sort\[(\d+)\]\[(field|direction)\]", name)
        if found:
            sorts.setdefault(found[1], {})[found[2]] = values[0]
    sort = [sorts[number] for number in sorted(sorts)]
    return _list(call, plain | {"fields": query.get("fields[]"), "sort": sort})


def list_by_body(call: Call) -> Response:
    return _list(call, _body(call))


def _list(call: Call, options: dict[str, Any]) -> Response:
    """A page; `offset` goes on in the list as it was when it began."""
    table, size = call.the_table, int(options.get("pageSize") or MAX_PAGE)
    if not 1 <= size <= MAX_PAGE:
        raise error(422, "INVALID_REQUEST_UNKNOWN", "Invalid request: parameter validation failed. pageSize")
    if options.get("filterByFormula"):
        raise error(422, "INVALID_FILTER_BY_FORMULA", "The formula for filtering records is invalid")
    for name in options.get("fields") or []:
        _column(table, str(name))
    ids, start = _continued(call, str(options["offset"])) if options.get("offset") else (_ordered(table, options), 0)
    shown = [table.records[identity] for identity in ids[start : start + size] if identity in table.records]
    only = [str(name) for name in options.get("fields") or []] or None
    by_id = options.get("returnFieldsByFieldId") in (True, "true")
    answer: dict[str, Any] = {"records": [table.show(record, by_id=by_id, only=only) for record in shown]}
    if start + size < len(ids):
        offset = f"{make_id('itr', f'{table.id}/{call.request.target}/{call.world.now()}')}/{ids[start + size - 1]}"
        call.airtable.offsets[offset] = (call.world.now(), ids, start + size)
        answer["offset"] = offset
    return json_response(answer)


def _ordered(table: Table, options: dict[str, Any]) -> list[str]:
    records = list(table.records.values())
    for rule in reversed(options.get("sort") or []):
        column = _column(table, str(rule.get("field")))
        records = sorted(records, key=_by(column), reverse=rule.get("direction") == "desc")
    limit = int(options.get("maxRecords") or 0)
    return [record.id for record in (records[:limit] if limit else records)]


def _by(column: Column) -> Callable[[Record], str]:
    return lambda record: str(record.cells.get(column.id, ""))


def _continued(call: Call, offset: str) -> tuple[list[str], int]:
    given, ids, start = call.airtable.offsets.get(offset, (0.0, [], 0))
    if given <= call.world.now() - call.airtable.settings.offset_seconds:
        raise error(422, "LIST_RECORDS_ITERATOR_NOT_AVAILABLE")
    return ids, start


def get(call: Call) -> Response:
    record = call.the_table.records.get(call.request.params["record"])
    if record is None:
        raise bare(404, "NOT_FOUND")
    return json_response(call.the_table.show(record))


# Writing


def create(call: Call) -> Response:
    body, table = _body(call), call.the_table
    rows = [read_fields(table, item.get("fields"), typecast=bool(body.get("typecast"))) for item in _records(body)]
    made = [table.add(kept(row), _stamp(call)) for row in rows]
    call.request.effect = {"kind": "records.created", "table": table.name, "created": [item.id for item in made]}
    return json_response({"records": [table.show(record) for record in made]})


def update(call: Call) -> Response:
    """PATCH lays cells over the record, PUT clears those not given; with `performUpsert` records are found by what they
    say."""
    body, table = _body(call), call.the_table
    merge_on = _merge_fields(table, body["performUpsert"]) if "performUpsert" in body else []
    typecast = bool(body.get("typecast"))
    matches = [_match(table, item, merge_on, typecast) for item in _records(body)]
    found = [record.id for record, _ in matches if record is not None]
    keys = [tuple(str(row.get(column.id)) for column in merge_on) for record, row in matches if merge_on]
    if len(set(found)) < len(found) or (merge_on and len(set(keys)) < len(keys)):
        raise error(422, "INVALID_REQUEST_UNKNOWN", "Cannot update the same record more than once in one request")
    return _written(call, matches, upsert=bool(merge_on), by_id=bool(body.get("returnFieldsByFieldId")))


def _written(call: Call, matches: list[Match], *, upsert: bool, by_id: bool) -> Response:
    table, replace = call.the_table, call.request.method == "PUT"
    shown, created, updated = [], [], []
    for record, row in matches:
        if record is None:
            record = table.add(kept(row), _stamp(call))
            created.append(record.id)
        else:
            record.cells = kept(row if replace else record.cells | row)
            updated.append(record.id)
        shown.append(table.show(record, by_id=by_id))
    kind = "records.upserted" if upsert else "records.updated"
    call.request.effect = {"kind": kind, "table": table.name, "created": created, "updated": updated}
    return json_response(
        {"records": shown} | ({"createdRecords": created, "updatedRecords": updated} if upsert else {})
    )


def _match(table: Table, item: dict[str, Any], merge_on: list[Column], typecast: bool) -> Match:
    """The record that is meant, None for a new one, and its cells."""
    row = read_fields(table, item.get("fields"), typecast=typecast)
    if "id" in item:
        record = table.records.get(str(item["id"]))
        if record is None:
            raise error(422, "ROW_DOES_NOT_EXIST", f"Record ID {item['id']} does not exist in this table")
        return record, row
    if not merge_on:
        raise error(422, "INVALID_RECORDS", TOO_MANY)
    missing = [column.name for column in merge_on if column.id not in row]
    if missing:
        words = f'Each record must include all of the fields to merge on; missing: "{missing[0]}"'
        raise error(422, "INVALID_REQUEST_UNKNOWN", words)
    wanted = [row[column.id] for column in merge_on]
    found = [
        record
        for record in table.records.values()
        if [record.cells.get(column.id) for column in merge_on] == wanted
    ]  # fmt: skip
    if len(found) > 1:
        raise error(422, "INVALID_REQUEST_UNKNOWN", "Cannot update more than one record")
    return (found[0] if found else None), row


def _merge_fields(table: Table, given: Any) -> list[Column]:
    names = given.get("fieldsToMergeOn") if isinstance(given, dict) else None
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_MERGE_FIELDS:
        words = "fieldsToMergeOn must be an array of at least one and at most three field names or IDs"
        raise error(422, "INVALID_REQUEST_UNKNOWN", words)
    columns = [_column(table, str(name)) for name in names]
    for column in columns:
        if column.type not in MERGEABLE:
            raise error(422, "INVALID_REQUEST_UNKNOWN", f'Field "{column.name}" cannot be used to merge on')
    return columns


def delete(call: Call) -> Response:
    ids = call.request.query.get("records[]") or []
    if not 1 <= len(ids) <= MAX_WRITES:
        raise error(422, "INVALID_RECORDS", "You must provide an array of up to 10 record IDs.")
    for identity in ids:
        if identity not in call.the_table.records:
            raise error(422, "ROW_DOES_NOT_EXIST", f"Record ID {identity} does not exist in this table")
    for identity in ids:
        del call.the_table.records[identity]
    call.request.effect = {"kind": "records.deleted", "table": call.the_table.name, "deleted": ids}
    return json_response({"records": [{"id": identity, "deleted": True} for identity in ids]})


def _body(call: Call) -> dict[str, Any]:
    try:
        return call.request.json()
    except ValueError:
        raise error(400, "INVALID_REQUEST_UNKNOWN", "Could not parse request body") from None


def _records(body: dict[str, Any]) -> list[dict[str, Any]]:
    records = body.get("records")
    if not isinstance(records, list) or not 1 <= len(records) <= MAX_WRITES:
        raise error(422, "INVALID_RECORDS", TOO_MANY)
    if not all(isinstance(item, dict) for item in records):
        raise error(422, "INVALID_RECORDS", TOO_MANY)
    return records


def _column(table: Table, name: str) -> Column:
    column = table.column(name)
    if column is None:
        raise error(422, "UNKNOWN_FIELD_NAME", f'Unknown field name: "{name}"')
    return column


def _stamp(call: Call) -> str:
    return datetime.fromtimestamp(call.world.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
