"""Airtable against the simulator: the shared contract, and what is peculiar: quota, upserts in tens, expired lists."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from core.errors import CredentialsRejected, InvalidInput, ProviderRateLimited, ProviderRejected, ProviderUnavailable
from integrations.providers.airtable import Airtable
from integrations.providers.base import IntegrationProvider
from integrations.tests.provider_contract import Call, ProviderContract
from simulator.process import Simulator

TOKEN = "pat.canary.airtable"
BASE = "appCanaryBase0001"
FIELDS = [
    {"name": "Email", "type": "email"},
    {"name": "Name", "type": "singleLineText"},
    {"name": "Stage", "type": "singleSelect", "choices": ["Lead"]},
]


class Meter:
    """Counts what is paid and remembers what was asked to wait."""

    def __init__(self) -> None:
        self.spent, self.waits = 0, []  # type: ignore[var-annotated]

    def spend(self, units: int) -> None:
        self.spent += units

    def throttled(self, seconds: float) -> None:
        self.waits.append(seconds)


@pytest.fixture(autouse=True)
def base(simulator: Simulator) -> Iterator[Simulator]:
    simulator.control("POST", "/airtable/tokens", {"token": TOKEN})
    simulator.control("PATCH", "/airtable/settings", {"base_requests_per_second": 1000})
    simulator.control("POST", "/airtable/bases", {"id": BASE, "tables": [{"name": "People", "fields": FIELDS}]})
    return simulator


def airtable(*, token: str = TOKEN, meter: Meter | None = None, **config: Any) -> Airtable:
    return Airtable(config={"baseId": BASE} | config, credentials={"apiToken": token}, meter=meter)


def people(simulator: Simulator) -> list[dict[str, Any]]:
    [table] = simulator.control("GET", f"/airtable/bases/{BASE}")["tables"]
    return [record["fields"] for record in table["records"]]


def write(*records: dict[str, Any], on: tuple[str, ...] = ("Email",), typecast: bool = False) -> dict[str, Any]:
    return {"table": "People", "records": list(records), "mergeOn": list(on), "typecast": typecast}


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"Email": f"p{number}@x.example"} for number in range(count)]


class TestContract(ProviderContract):
    calls: ClassVar[tuple[Call, ...]] = (
        Call("check", "airtable.meta.whoami"),
        Call("list_tables", "airtable.meta.tables"),
        Call("upsert_records", "airtable.records.update", write({"Email": "a@x.example"})),
        Call("list_records", "airtable.records.list", {"table": "People", "limit": 10}),
    )

    def make(self, simulator: Simulator, **credentials: str) -> IntegrationProvider:
        return airtable(**credentials)


# --- check ----------------------------------------------------------------------------------------------------------


def test_check_reads_the_schema_and_a_record(simulator: Simulator) -> None:
    checked = airtable().check()
    assert (checked.limited, checked.details) == (False, {"tables": 1})
    assert set(simulator.summary()) == {"airtable.meta.whoami", "airtable.meta.tables", "airtable.records.list"}


def test_check_tells_a_spent_month_from_a_bad_token(simulator: Simulator) -> None:
    simulator.control("PATCH", "/airtable/settings", {"monthly_calls": 1})
    airtable().check()
    checked = airtable().check()
    assert checked.limited
    assert checked.message.startswith("Token OK, quota exhausted")
    with pytest.raises(CredentialsRejected):
        airtable(token="pat.other").check()


def test_check_without_the_schema_scope_reads_the_table_that_is_named(simulator: Simulator) -> None:
    simulator.control("POST", "/airtable/tokens", {"token": "pat.data", "scopes": ["data.records:read"]})
    assert airtable(token="pat.data", checkTable="People").check().limited
    with pytest.raises(ProviderRejected, match=r"schema\.bases:read") as caught:
        airtable(token="pat.data").check()
    assert caught.value.code == "not_visible"


def test_check_of_a_base_that_is_not_visible_is_refused() -> None:
    for wrong in ({"baseId": "appNothing0000000"}, {"baseId": "appNothing0000000", "checkTable": "People"}):
        with pytest.raises(ProviderRejected):
            airtable(**wrong).check()


def test_check_says_when_records_may_not_be_read(simulator: Simulator) -> None:
    simulator.control("POST", "/airtable/tokens", {"token": "pat.schema", "scopes": ["schema.bases:read"]})
    assert "data.records:read" in airtable(token="pat.schema").check().message


# --- upserts --------------------------------------------------------------------------------------------------------


def test_upsert_goes_in_tens_and_tells_what_is_new(simulator: Simulator) -> None:
    meter = Meter()
    first = airtable(meter=meter).perform("upsert_records", write(*numbered(23)))
    again = airtable().perform("upsert_records", write({"Email": "p1@x.example", "Name": "One"}))
    assert (len(first["created"]), first["updated"], first["written"], meter.spent) == (23, [], 23, 3)
    assert (again["created"], len(again["updated"])) == ([], 1)
    assert len(people(simulator)) == 23
    assert {"Email": "p1@x.example", "Name": "One"} in people(simulator)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        pytest.param(write({"Email": "a@x"}, {"Email": "b@x"}, {"Email": "a@x"}), "records.2.Email", id="twins"),
        pytest.param(write({"Email": "a@x"}, {"Name": "B"}), "records.1.Email", id="no-key"),
        pytest.param(write({"Email": "a@x"}, on=()), "mergeOn", id="no-merge-field"),
        pytest.param(write({"Email": "a@x"}, on=("Email", "Email")), "mergeOn", id="same-merge-field-twice"),
        pytest.param(write(), "records", id="nothing"),
    ],
)
def test_upsert_unclear_input_is_refused_before_anything_is_asked(
    simulator: Simulator, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        airtable().perform("upsert_records", given)
    assert list(caught.value.fields) == [field]
    assert simulator.summary() == {}


def test_upsert_that_fails_midway_tells_how_much_is_written_and_may_be_repeated(simulator: Simulator) -> None:
    records = [*numbered(25), {"Email": "p99@x.example", "Stage": "New"}]
    with pytest.raises(ProviderRejected, match="select option") as caught:
        airtable().perform("upsert_records", write(*records))
    assert caught.value.extra["written"] == 20
    assert "20 of 26 records are written" in caught.value.message
    airtable().perform("upsert_records", write(*records, typecast=True))
    assert len(people(simulator)) == 26


def test_upsert_whose_answer_was_lost_is_repeated_without_doubling(simulator: Simulator) -> None:
    simulator.fault("close", operation="airtable.records.update", effect=True, count=2)
    with pytest.raises(ProviderUnavailable):
        airtable().perform("upsert_records", write({"Email": "a@x.example"}))
    airtable().perform("upsert_records", write({"Email": "a@x.example"}))
    assert people(simulator) == [{"Email": "a@x.example"}]


def test_upsert_against_a_doubled_key_is_refused_in_airtables_words(simulator: Simulator) -> None:
    twins = {"records": [{"Email": "twice@x.example"}, {"Email": "twice@x.example"}]}
    simulator.control("POST", f"/airtable/bases/{BASE}/People", twins)
    with pytest.raises(ProviderRejected, match="Cannot update more than one record"):
        airtable().perform("upsert_records", write({"Email": "twice@x.example"}))


# --- throttles ------------------------------------------------------------------------------------------------------


def test_rate_limit_closes_the_budget_for_the_penalty(simulator: Simulator) -> None:
    simulator.control("PATCH", "/airtable/settings", {"base_requests_per_second": 2})
    meter = Meter()
    with pytest.raises(ProviderRateLimited) as caught:
        airtable(meter=meter).perform("upsert_records", write(*numbered(40)))
    assert caught.value.retry_after == 30
    assert caught.value.extra == {"written": 20, "total": 40}
    assert meter.waits == [30]


def test_spent_month_waits_until_the_next_one_or_a_day_and_leaves_the_budget_open(simulator: Simulator) -> None:
    simulator.control("PATCH", "/airtable/settings", {"monthly_calls": 1})
    meter = Meter()
    provider = airtable(meter=meter)
    provider.perform("list_records", {"table": "People", "limit": 1})
    with pytest.raises(ProviderRateLimited) as caught:
        provider.perform("list_records", {"table": "People", "limit": 1})
    following = (datetime.now(UTC).replace(day=1) + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0)
    left = min((following - datetime.now(UTC)).total_seconds(), 86_400)
    assert (caught.value.code, meter.waits) == ("quota_exhausted", [])
    assert caught.value.retry_after == pytest.approx(left, abs=5)


# --- lists and tables -----------------------------------------------------------------------------------------------


def test_tables_come_with_their_fields() -> None:
    [table] = airtable().perform("list_tables", {})["tables"]
    assert table["name"] == "People"
    assert [field["name"] for field in table["fields"]] == ["Email", "Name", "Stage"]


def test_list_walks_all_pages_and_says_when_there_is_more(simulator: Simulator) -> None:
    simulator.control("POST", f"/airtable/bases/{BASE}/People", {"records": numbered(230)})
    part = airtable().perform("list_records", {"table": "People", "limit": 150})
    whole = airtable().perform("list_records", {"table": "People", "limit": 1000, "fields": ["Email"]})
    assert (len(part["records"]), part["more"]) == (150, True)
    assert ([item["fields"] for item in whole["records"]], whole["more"]) == (numbered(230), False)


def test_list_whose_offset_expired_begins_again_once(simulator: Simulator) -> None:
    simulator.control("POST", f"/airtable/bases/{BASE}/People", {"records": numbered(150)})
    expired = {"error": {"type": "LIST_RECORDS_ITERATOR_NOT_AVAILABLE"}}
    rule = {"operation": "airtable.records.list", "status": 422, "body": expired, "path": "offset="}
    simulator.fault("status", **rule, count=1)
    listed = airtable().perform("list_records", {"table": "People", "limit": 1000})
    assert [item["fields"] for item in listed["records"]] == numbered(150)
    simulator.fault("status", **rule)
    with pytest.raises(ProviderUnavailable, match="twice"):
        airtable().perform("list_records", {"table": "People", "limit": 1000})


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        pytest.param(404, {"error": "NOT_FOUND"}, "not_found", "NOT_FOUND", id="bare-word"),
        pytest.param(
            422, {"error": {"type": "X", "message": "Some words"}}, "provider_rejected", "Some words", id="object"
        ),
        pytest.param(413, "too big", "provider_rejected", "413", id="no-json"),
    ],
)
def test_error_in_any_shape_is_told_in_its_words(
    simulator: Simulator, status: int, body: object, code: str, words: str
) -> None:
    simulator.fault("status", operation="airtable.records.list", status=status, body=body)
    with pytest.raises(ProviderRejected, match=words) as caught:
        airtable().perform("list_records", {"table": "People", "limit": 1})
    assert caught.value.code == code


def test_address_of_the_configuration_goes_before_the_setting(simulator: Simulator, settings: Any) -> None:
    settings.AIRTABLE_API_URL = "http://127.0.0.1:1"
    assert airtable(baseUrl=simulator.base_url).perform("list_tables", {})["tables"]
    with pytest.raises(ProviderUnavailable):
        airtable().perform("list_tables", {})
