"""EXTERNAL_DATABASE: Airtable, by its Web API (airtable.com/developers/web/api; reference providers-workspace 7).

Five requests a second per base; one more and everything is refused for thirty seconds, so a 429 ends the work and the
caller comes back. Upserts may be repeated without harm, also those of a batch whose answer was lost. Meta endpoints go
on working when the month's calls are spent, so the check reads a record too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote

from django.conf import settings

from core.errors import (
    CursorExpired,
    HubError,
    InvalidInput,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
)
from core.http import Response, clean_words, parse_retry_after
from integrations.fields import Field
from integrations.providers.base import LOGS, Action, Checked, IntegrationProvider, Pace

BATCH = 10
"""Records a write may carry (airtable.com/developers/web/api/update-multiple-records)."""
PAGE = 100
MAX_UPSERT, MAX_LISTED = 500, 1000
PENALTY_SECONDS = 30.0
"""How long everything is refused after a 429, which names no time (airtable.com/developers/web/api/rate-limits)."""
QUOTA_CODE = "quota_exhausted"
QUOTA_TYPE = "PUBLIC_API_BILLING_LIMIT_EXCEEDED"
EXPIRED_TYPE = "LIST_RECORDS_ITERATOR_NOT_AVAILABLE"
UNKNOWN_COLUMN_TYPE = "UNKNOWN_FIELD_NAME"
HIDDEN_TYPES = ("INVALID_PERMISSIONS", "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND")
ASK_AGAIN_AT_MOST = timedelta(days=1)
"""A spent month may be mended any day by a larger plan."""

TABLE = Field("table", "Table", help="Its id (tbl…) or its name; ids survive renaming.")


class Airtable(IntegrationProvider):
    """One base."""

    key = "EXTERNAL_DATABASE"
    name = "Airtable"
    description = "Tables of a base: list them, read records, write records by a key."
    config_fields: ClassVar[tuple[Field, ...]] = (
        Field("baseUrl", "Address", kind="url", required=False, destination=True, help="Empty: Airtable itself."),
        Field("baseId", "Base", help="From the address of the base: app and 14 letters and digits."),
        Field(
            "checkTable",
            "Table to check with",
            required=False,
            help="Only for tokens without the scope schema.bases:read.",
        ),
        Field(
            "emailLogTable",
            "Table for the email log",
            required=False,
            help="Its id (tbl…) or its name. The workspace's email log is mirrored there; it needs the 13 columns of "
            "the log and Log ID.",
        ),
    )
    credential_fields: ClassVar[tuple[Field, ...]] = (
        Field("apiToken", "Personal access token", kind="key", help="Begins with pat."),
    )
    pace: ClassVar[Pace | None] = Pace(units=5, window_seconds=1.0)
    capabilities: ClassVar[frozenset[str]] = frozenset({LOGS})
    actions: ClassVar[tuple[Action, ...]] = (
        Action("list_tables", "List tables", idempotent=True),
        Action(
            "upsert_records",
            "Write records by a key",
            fields=(
                TABLE,
                Field("records", "Records", kind="json", many=True, longest=MAX_UPSERT, help="Each {field: value}."),
                Field("mergeOn", "Key fields", many=True, longest=3, help="One to three fields that name a record."),
                Field("typecast", "Convert texts, make new choices", kind="boolean", default=False),
            ),
            help="A record whose key fields match one is laid over it, others are new. In batches of ten, one after "
            "the other: where one fails, the answer says how many records are written.",
            idempotent=True,
        ),
        Action(
            "list_records",
            "Read records",
            fields=(
                TABLE,
                Field("view", "View", required=False),
                Field("fields", "Fields", many=True, required=False),
                Field("limit", "At most", kind="number", least=1, longest=MAX_LISTED, default=PAGE),
            ),
            idempotent=True,
        ),
        Action(
            "mirror_email_log",
            "Mirror the email log now",
            help="Writes what is new and what changed into the table for the email log. It goes on by itself too.",
            idempotent=True,
            queued=True,
        ),
    )

    def check(self) -> Checked:
        """The token, then the base's schema, then one record: each can fail alone."""
        if not self._ask("GET", "/v0/meta/whoami").json_object().get("id"):
            raise ProviderUnavailable("Airtable did not say whose the token is.")
        tables = self._visible_tables()
        try:
            self._list_page(tables[0]["id"] if tables else self.need("checkTable"), {"maxRecords": 1})
        except ProviderRateLimited as error:
            if error.code != QUOTA_CODE:
                raise
            return Checked("Token OK, quota exhausted: " + error.message, limited=True, details={"quota": "exhausted"})
        except ProviderRejected as error:
            if not tables or error.code != "not_visible":
                raise
            words = "The token sees the base but may not read its records: give it data.records:read."
            return Checked(words, limited=True, details={"tables": len(tables)})
        if not tables:
            return Checked("The token reads records; it may not see the schema (schema.bases:read).", limited=True)
        return Checked(f"The base can be read (tables: {len(tables)}).", details={"tables": len(tables)})

    def _visible_tables(self) -> list[dict[str, Any]]:
        """The schema; empty where the token may not see it and a table to read instead is known."""
        try:
            tables = self._tables()
        except ProviderRejected as error:
            if error.code != "not_visible":
                raise
            if self.config.get("checkTable"):
                return []
            words = (
                f"The token is good, but Airtable does not show it the base {self.need('baseId')}: the id is wrong, "
                "the token was not given this base, or it lacks schema.bases:read (then name a table to check with)."
            )
            raise ProviderRejected(words, code="not_visible") from error
        if not tables:
            raise ProviderRejected("The base has no tables.", code="empty_base")
        return tables

    def perform_list_tables(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """{"tables": [{"id", "name", "primaryFieldId", "fields": [{"id", "name", "type"}]}]}."""
        return {"tables": [_table(table) for table in self._tables()]}

    def _tables(self) -> list[dict[str, Any]]:
        answer = self._ask("GET", f"/v0/meta/bases/{self._base()}/tables").json_object()
        return _objects(answer, "tables")

    # --- writing --------------------------------------------------------------------------------------------------

    def perform_upsert_records(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """{"created": [ids], "updated": [ids], "written": n}. An error of a later batch carries how many records are
        written (`written`); the same input again is safe."""
        records, merge_on = given["records"], given["mergeOn"]
        _refuse_unclear(records, merge_on)
        created: list[str] = []
        updated: list[str] = []
        for start in range(0, len(records), BATCH):
            batch = records[start : start + BATCH]
            try:
                answer = self._upsert(given["table"], batch, merge_on, typecast=bool(given.get("typecast")))
            except HubError as error:
                raise _with_progress(error, start, len(records)) from error
            created += [str(item) for item in answer.get("createdRecords", [])]
            updated += [str(item) for item in answer.get("updatedRecords", [])]
        return {"created": created, "updated": updated, "written": len(records)}

    def _upsert(
        self, table: str, records: Sequence[Mapping[str, Any]], merge_on: Sequence[str], *, typecast: bool
    ) -> dict[str, Any]:
        """At most `BATCH` of them, in one request."""
        body = {
            "performUpsert": {"fieldsToMergeOn": list(merge_on)},
            "records": [{"fields": dict(record)} for record in records],
            "typecast": typecast,
        }
        return self._ask("PATCH", self._path(table), json=body, idempotent=True).json_object()

    # --- the mirror of an email log (`integrations.records.LogTarget`) ----------------------------------------------

    log_batch = BATCH

    def log_table(self) -> str:
        return str(self.config.get("emailLogTable") or "")

    def log_target(self) -> str:
        return f"{self._origin()}{self._path(self.need('emailLogTable'))}"

    def check_log_table(self, columns: Sequence[str]) -> None:
        try:
            tables = self._tables()
        except ProviderRejected as error:
            if error.code != "not_visible":
                raise
            return  # the token may not see the schema; writing tells
        wanted = self.need("emailLogTable")
        found = next((_table(item) for item in tables if wanted in (item["id"], item.get("name"))), None)
        if found is None:
            words = f'The base has no table "{wanted}": make it, with the columns {_listed(columns)}.'
            raise ProviderRejected(words, code="missing_table")
        names = {item["name"] for item in found["fields"]}
        if missing := [name for name in columns if name not in names]:
            words = f'The table "{wanted}" lacks columns. Add, named to the letter, as texts: {_listed(missing)}.'
            raise ProviderRejected(words, code="missing_columns")

    def write_log(self, rows: Sequence[Mapping[str, Any]], *, key: str) -> None:
        try:
            self._upsert(self.need("emailLogTable"), rows, [key], typecast=True)
        except ProviderRejected as error:
            if error.extra.get("providerCode") != UNKNOWN_COLUMN_TYPE:
                raise
            words = f'{error.message}. Add this column to the table "{self.need("emailLogTable")}".'
            raise ProviderRejected(words, code="missing_columns") from error

    # --- reading --------------------------------------------------------------------------------------------------

    def perform_list_records(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """{"records": [{"id", "createdTime", "fields"}], "more": bool}; empty cells are absent, as Airtable has it."""
        limit = int(given.get("limit") or PAGE)
        asked: dict[str, Any] = {"maxRecords": limit + 1, "view": given.get("view"), "fields[]": given.get("fields")}
        try:
            records = list(self._walk(given["table"], asked))
        except CursorExpired:  # an offset lives for minutes; from the start, once
            try:
                records = list(self._walk(given["table"], asked))
            except CursorExpired as error:
                raise ProviderUnavailable("Airtable lost its place in the list twice. Ask again.") from error
        return {"records": records[:limit], "more": len(records) > limit}

    def _walk(self, table: str, asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        offset: str | None = None
        while True:
            answer = self._list_page(table, {**asked, "pageSize": PAGE, "offset": offset})
            for record in _objects(answer, "records"):
                yield {name: record.get(name) for name in ("id", "createdTime", "fields")}
            if answer.get("offset") in (None, offset):
                return
            offset = str(answer["offset"])

    def _list_page(self, table: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        params = {name: value for name, value in asked.items() if value is not None}
        return self._ask("GET", self._path(table), params=params).json_object()

    # --- HTTP -----------------------------------------------------------------------------------------------------

    def _origin(self) -> str:
        return str(self.config.get("baseUrl") or settings.AIRTABLE_API_URL).rstrip("/")

    def _base(self) -> str:
        return quote(self.need("baseId"), safe="")

    def _path(self, table: str) -> str:
        return f"/v0/{self._base()}/{quote(table, safe='')}"

    def _ask(self, method: str, path: str, **how: Any) -> Response:
        response = self.ask_raw(method, f"{self._origin()}{path}", bearer=self.need("apiToken"), **how)
        kind, words = error_of(response)
        if response.status == 429 and kind == QUOTA_TYPE:
            # Not `judged`, which would close the budget: a larger plan mends it at once.
            message = (
                f"The API calls of this month are used up at Airtable ({words}). A larger plan or next month helps."
            )
            raise ProviderRateLimited(message, code=QUOTA_CODE, retry_after=_until_next_month())
        return self.judged(response)

    def refusal(self, response: Response) -> None:
        """Errors come as {"error": {"type", "message"}}, as {"error": "NOT_FOUND"} and as {"errors": [{"error",
        "message"}]}."""
        if response.ok:
            return
        kind, words = error_of(response)
        said = f"Airtable answered {response.status}: {words or kind or 'no reason given'}"
        if response.status == 429:
            asked = parse_retry_after(response.headers.get("retry-after"), default=PENALTY_SECONDS)
            raise ProviderRateLimited(said, retry_after=asked)
        if kind == EXPIRED_TYPE:
            raise CursorExpired(said)
        if response.status == 403 and kind in HIDDEN_TYPES:
            raise ProviderRejected(said, code="not_visible")
        if response.status == 404:
            raise ProviderRejected(said, code="not_found")
        if 400 <= response.status < 500 and response.status not in (401, 408, 425):
            raise ProviderRejected(said, extra={"providerCode": kind} if kind else {})


def error_of(response: Response) -> tuple[str, str]:
    """Airtable's word for an error and its sentence, cleaned; "" for what is not there."""
    if response.ok:
        return "", ""
    try:
        body = response.json()
    except ProviderUnavailable:
        return "", ""
    error = body.get("error", body.get("errors")) if isinstance(body, dict) else None
    if isinstance(error, list):
        error = error[0] if error else None
    if isinstance(error, str):
        return clean_words(error, 80), ""
    if not isinstance(error, dict):
        return "", ""
    kind = error.get("type") or error.get("error") or ""
    return clean_words(str(kind), 80), clean_words(str(error.get("message") or ""))


def _refuse_unclear(records: Sequence[Mapping[str, Any]], merge_on: Sequence[str]) -> None:
    """Which of two records with one key would win is not defined, and Airtable fails the whole batch."""
    if not records:
        raise InvalidInput(fields={"records": ["Give at least one record."]})
    if not merge_on or len(set(merge_on)) < len(merge_on):
        raise InvalidInput(fields={"mergeOn": ["Name one to three different fields."]})
    problems: dict[str, list[str]] = {}
    seen: dict[str, int] = {}
    for number, record in enumerate(records):
        missing = [name for name in merge_on if record.get(name) in (None, "")]
        if missing:
            problems |= {f"records.{number}.{name}": ["A key field must have a value."] for name in missing}
            continue
        key = json.dumps([record[name] for name in merge_on], sort_keys=True)
        first = seen.setdefault(key, number)
        if first != number:
            words = f"Its {', '.join(merge_on)} is that of records.{first}: a key may come once."
            problems[f"records.{number}.{merge_on[0]}"] = [words]
    if problems:
        raise InvalidInput(fields=problems)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _with_progress(error: HubError, written: int, total: int) -> HubError:
    """The same error, which says how far the work came."""
    error.message = f"{error.message} {written} of {total} records are written; the same call again is safe."
    error.extra = {**error.extra, "written": written, "total": total}
    return error


def _until_next_month() -> float:
    """Seconds until the month's calls are given anew, at most a day."""
    now = datetime.now(UTC)
    following = (now.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return min(following - now, ASK_AGAIN_AT_MOST).total_seconds()


def _objects(answer: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects with ids; ProviderUnavailable where it is anything else: nothing must be read out of it."""
    items = answer.get(name)
    if not isinstance(items, list) or not all(isinstance(item, dict) and item.get("id") for item in items):
        raise ProviderUnavailable(f"Airtable answered without {name}.")
    return items


def _table(table: Mapping[str, Any]) -> dict[str, Any]:
    fields = [
        {name: item.get(name) for name in ("id", "name", "type")}
        for item in table.get("fields", [])
        if isinstance(item, dict)
    ]
    return {
        "id": table["id"],
        "name": table.get("name"),
        "primaryFieldId": table.get("primaryFieldId"),
        "fields": fields,
    }
