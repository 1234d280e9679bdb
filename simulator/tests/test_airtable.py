"""Airtable: who is let in, the schema, lists that go on and expire, upserts, its two 429s and three error shapes."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from simulator.process import Simulator
from simulator.tests.factories import Answer, send

TOKEN = "pat.airtable"
FIELDS = [
    {"name": "Email", "type": "email"},
    {"name": "Name", "type": "singleLineText"},
    {"name": "Age", "type": "number"},
    {"name": "Stage", "type": "singleSelect", "choices": ["Lead", "Customer"]},
    {"name": "Active", "type": "checkbox"},
    {"name": "Total", "type": "formula"},
]


@pytest.fixture
def base(simulator: Simulator) -> str:
    """A base with an empty table People; unhurried, so that a test may ask as often as it likes."""
    simulator.control("POST", "/airtable/tokens", {"token": TOKEN})
    simulator.control("PATCH", "/airtable/settings", {"base_requests_per_second": 1000})
    made = simulator.control("POST", "/airtable/bases", {"tables": [{"name": "People", "fields": FIELDS}]})
    return str(made["id"])


def ask(simulator: Simulator, method: str, target: str, token: str = TOKEN, **more: Any) -> Answer:
    return send(simulator, method, f"/v0/{target}", token=token, **more)


def rows(*records: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"fields": record} for record in records]


def people(simulator: Simulator, base: str) -> list[dict[str, Any]]:
    """The truth: the cells of every record."""
    [table] = simulator.control("GET", f"/airtable/bases/{base}")["tables"]
    return [record["fields"] for record in table["records"]]


def upsert(simulator: Simulator, base: str, records: list[dict[str, Any]], *on: str, **more: Any) -> Answer:
    body = {"performUpsert": {"fieldsToMergeOn": list(on)}, "records": records} | more
    return ask(simulator, "PATCH", f"{base}/People", json=body)


def test_whoami_proves_a_token_and_tells_the_address_with_its_scope_only(simulator: Simulator, base: str) -> None:
    simulator.control("POST", "/airtable/tokens", {"token": "pat.bare", "scopes": []})
    assert ask(simulator, "GET", "meta/whoami").json["email"] == "owner@hub.example"
    assert set(ask(simulator, "GET", "meta/whoami", "pat.bare").json) == {"id"}
    assert ask(simulator, "GET", "meta/whoami", "").json["error"]["type"] == "AUTHENTICATION_REQUIRED"
    refused = ask(simulator, "GET", "meta/whoami", "pat.other")
    assert (refused.status, refused.json["error"]["type"]) == (401, "UNAUTHORIZED")


def test_schema_of_a_base_needs_its_scope_and_a_base_that_is_visible(simulator: Simulator, base: str) -> None:
    simulator.control("POST", "/airtable/tokens", {"token": "pat.data", "scopes": ["data.records:read"]})
    simulator.control("POST", "/airtable/tokens", {"token": "pat.other", "bases": ["appOther"]})
    [table] = ask(simulator, "GET", f"meta/bases/{base}/tables").json["tables"]
    assert [column["name"] for column in table["fields"]] == [item["name"] for item in FIELDS]
    for token in ("pat.data", "pat.other"):
        refused = ask(simulator, "GET", f"meta/bases/{base}/tables", token)
        assert (refused.status, refused.json["error"]["type"]) == (403, "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND")
    assert ask(simulator, "GET", f"{base}/People", "pat.data").status == 200


def test_error_of_a_malformed_base_is_a_bare_word_and_of_a_foreign_one_an_object(
    simulator: Simulator, base: str
) -> None:
    missing = ask(simulator, "GET", "base/People")
    assert (missing.status, missing.json) == (404, {"error": "NOT_FOUND"})
    for target in ("appFfffffffffffff/People", f"{base}/Nothing"):
        refused = ask(simulator, "GET", target)
        assert (refused.status, refused.json["error"]["type"]) == (403, "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND")


def test_list_goes_on_by_offset_and_leaves_empty_cells_out(simulator: Simulator, base: str) -> None:
    records = [{"Email": f"p{number}@x.example", "Active": False, "Age": 0} for number in range(5)]
    simulator.control("POST", f"/airtable/bases/{base}/People", {"records": records})
    seen: list[dict[str, Any]] = []
    offset = ""
    for _ in range(3):
        page = ask(simulator, "GET", f"{base}/People?pageSize=2&offset={quote(offset)}").json
        seen += page["records"]
        offset = page.get("offset", "")
    assert offset == ""
    assert [record["fields"] for record in seen] == [{"Email": f"p{number}@x.example", "Age": 0} for number in range(5)]
    only = ask(simulator, "POST", f"{base}/People/listRecords", json={"fields": ["Age"], "maxRecords": 1}).json
    assert [record["fields"] for record in only["records"]] == [{"Age": 0}]


def test_list_offset_dies_after_minutes(simulator: Simulator, base: str) -> None:
    records = [{"Email": f"p{number}@x.example"} for number in range(3)]
    simulator.control("POST", f"/airtable/bases/{base}/People", {"records": records})
    offset = ask(simulator, "GET", f"{base}/People?pageSize=2").json["offset"]
    simulator.advance(301)
    expired = ask(simulator, "GET", f"{base}/People?pageSize=2&offset={quote(offset)}")
    assert (expired.status, expired.json["error"]["type"]) == (422, "LIST_RECORDS_ITERATOR_NOT_AVAILABLE")


def test_upsert_creates_what_is_new_and_changes_what_is_there(simulator: Simulator, base: str) -> None:
    first = upsert(simulator, base, rows({"Email": "a@x.example", "Name": "Ada", "Age": 1}), "Email")
    again = upsert(simulator, base, rows({"Email": "a@x.example", "Age": 2}, {"Email": "b@x.example"}), "Email")
    assert len(first.json["createdRecords"]) == 1
    assert again.json["updatedRecords"] == first.json["createdRecords"]
    assert people(simulator, base) == [{"Email": "a@x.example", "Name": "Ada", "Age": 2}, {"Email": "b@x.example"}]
    entry = simulator.ledger(operation="airtable.records.update")[-1]
    assert entry["effect"]["kind"] == "records.upserted"
    assert entry["account"] == "owner@hub.example"


def test_upsert_by_two_fields_finds_only_what_both_name(simulator: Simulator, base: str) -> None:
    upsert(simulator, base, rows({"Email": "a@x.example", "Name": "Ada"}), "Email", "Name")
    upsert(simulator, base, rows({"Email": "a@x.example", "Name": "Bob"}), "Email", "Name")
    assert [row["Name"] for row in people(simulator, base)] == ["Ada", "Bob"]


@pytest.mark.parametrize(
    ("records", "on", "words"),
    [
        pytest.param(rows({"Email": "twice@x.example"}), ["Email"], "more than one record", id="matches-two"),
        pytest.param(rows({"Email": "n@x.example"}, {"Email": "n@x.example"}), ["Email"], "more than once", id="twins"),
        pytest.param(rows({"Name": "Ada"}), ["Email"], "all of the fields to merge on", id="no-key"),
        pytest.param(rows({"Email": "n@x.example"}), [], "at least one", id="merge-on-nothing"),
        pytest.param(rows({"Email": "n@x.example"}), ["Email", "Name", "Age", "Stage"], "at most three", id="four"),
        pytest.param(rows({"Email": "n@x.example"}), ["Active"], "cannot be used to merge", id="unfit-field"),
        pytest.param(rows(*[{"Email": f"{n}@x.example"} for n in range(11)]), ["Email"], "up to 10", id="eleven"),
    ],
)
def test_upsert_refused_leaves_nothing_behind(
    simulator: Simulator, base: str, records: list[dict[str, Any]], on: list[str], words: str
) -> None:
    twins = [{"Email": "twice@x.example"}, {"Email": "twice@x.example"}]
    simulator.control("POST", f"/airtable/bases/{base}/People", {"records": twins})
    answer = upsert(simulator, base, rows({"Email": "new@x.example", "Name": "N"})[:0] + records, *on)
    assert answer.status == 422
    assert words in answer.json["error"]["message"]
    assert people(simulator, base) == twins


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        pytest.param({"Nothing": 1}, "UNKNOWN_FIELD_NAME", id="unknown-field"),
        pytest.param({"Age": "many"}, "INVALID_VALUE_FOR_COLUMN", id="text-for-number"),
        pytest.param({"Total": 1}, "INVALID_VALUE_FOR_COLUMN", id="computed"),
        pytest.param({"Stage": "New"}, "INVALID_MULTIPLE_CHOICE_OPTIONS", id="new-choice"),
    ],
)
def test_value_that_does_not_fit_is_422_in_its_own_words(
    simulator: Simulator, base: str, cells: dict[str, Any], kind: str
) -> None:
    answer = upsert(simulator, base, rows({"Email": "a@x.example"} | cells), "Email")
    assert (answer.status, answer.json["error"]["type"]) == (422, kind)


def test_typecast_reads_numbers_and_makes_choices(simulator: Simulator, base: str) -> None:
    answer = upsert(
        simulator, base, rows({"Email": "a@x.example", "Age": "7", "Stage": "New"}), "Email", typecast=True
    )  # fmt: skip
    assert answer.status == 200
    assert people(simulator, base) == [{"Email": "a@x.example", "Age": 7.0, "Stage": "New"}]


def test_put_clears_what_is_not_given_and_patch_keeps_it(simulator: Simulator, base: str) -> None:
    made = ask(simulator, "POST", f"{base}/People", json={"records": rows({"Email": "a@x.example", "Age": 3})}).json
    identity = made["records"][0]["id"]
    change = {"records": [{"id": identity, "fields": {"Name": "Ada"}}]}
    ask(simulator, "PATCH", f"{base}/People", json=change)
    assert people(simulator, base) == [{"Email": "a@x.example", "Name": "Ada", "Age": 3}]
    ask(simulator, "PUT", f"{base}/People", json=change)
    assert people(simulator, base) == [{"Name": "Ada"}]
    assert ask(simulator, "GET", f"{base}/People/{identity}").json["fields"] == {"Name": "Ada"}
    ask(simulator, "DELETE", f"{base}/People?records[]={identity}")
    assert people(simulator, base) == []
    gone = ask(simulator, "PATCH", f"{base}/People", json=change)
    assert gone.json["error"]["type"] == "ROW_DOES_NOT_EXIST"


def test_rate_of_a_base_locks_it_for_the_penalty_and_other_bases_not(simulator: Simulator, base: str) -> None:
    other = simulator.control("POST", "/airtable/bases", {"name": "Other", "tables": []})["id"]
    simulator.control("PATCH", "/airtable/settings", {"base_requests_per_second": 2, "penalty_seconds": 30})
    assert [ask(simulator, "GET", f"{base}/People").status for _ in range(3)] == [200, 200, 429]
    simulator.advance(29)
    refused = ask(simulator, "GET", f"{base}/People")
    assert refused.json["errors"][0]["error"] == "RATE_LIMIT_REACHED"
    assert ask(simulator, "GET", f"meta/bases/{other}/tables").status == 200
    simulator.advance(2)
    assert ask(simulator, "GET", f"{base}/People").status == 200


def test_month_spent_refuses_data_and_goes_on_with_metadata(simulator: Simulator, base: str) -> None:
    simulator.control("PATCH", "/airtable/settings", {"monthly_calls": 1})
    assert ask(simulator, "GET", f"{base}/People").status == 200
    spent = ask(simulator, "GET", f"{base}/People")
    assert (spent.status, spent.json["errors"][0]["error"]) == (429, "PUBLIC_API_BILLING_LIMIT_EXCEEDED")
    assert ask(simulator, "GET", "meta/whoami").status == 200
    assert ask(simulator, "GET", f"meta/bases/{base}/tables").status == 200


def test_fault_without_a_body_speaks_its_words(simulator: Simulator, base: str) -> None:
    simulator.fault("status", operation="airtable.records.list", status=429, count=1)
    simulator.fault("status", operation="airtable.records.list", status=404, count=1)
    assert ask(simulator, "GET", f"{base}/People").json["errors"][0]["error"] == "RATE_LIMIT_REACHED"
    assert ask(simulator, "GET", f"{base}/People").json == {"error": "NOT_FOUND"}
