"""HubSpot against the simulator: the shared contract, the portal, upserts in part, logged mail, throttles, and reading
what changed to the last record."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest

from core.errors import (
    CredentialsRejected,
    InvalidInput,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
)
from integrations.providers.base import IntegrationProvider
from integrations.providers.hubspot import HubSpot
from integrations.records import CrmRecord
from integrations.tests.provider_contract import Call, ProviderContract
from simulator.process import Simulator

TOKEN = "pat-na1-canary"
PORTAL = "48151623"
MAIL = {"email": "ann@x.example", "subject": "Hello", "direction": "sent", "at": "2026-11-20T08:00:00+01:00"}


@pytest.fixture(autouse=True)
def portal(simulator: Simulator) -> Iterator[Simulator]:
    """One contact, and limits that do not get in the way."""
    simulator.control("POST", "/hubspot/tokens", {"token": TOKEN})
    simulator.control("PATCH", "/hubspot/settings", {"search_per_second": 0, "requests_per_ten_seconds": 0})
    add(simulator, {"email": "ann@x.example"})
    return simulator


def hubspot(*, token: str = TOKEN, **config: Any) -> HubSpot:
    return HubSpot(config={"portalId": PORTAL} | config, credentials={"accessToken": token})


def add(simulator: Simulator, *objects: dict[str, str], kind: str = "contacts") -> list[str]:
    return list(simulator.control("POST", f"/hubspot/objects/{kind}", {"objects": list(objects)})["ids"])


def truth(simulator: Simulator, kind: str = "contacts") -> dict[str, dict[str, str]]:
    shown = simulator.control("GET", f"/hubspot/objects/{kind}")
    return {item["id"]: item["properties"] for item in shown if not item["archived"]}


def read(
    cursor: dict[str, Any], provider: HubSpot | None = None, between: Callable[[], object] | None = None
) -> tuple[list[CrmRecord], dict[str, Any]]:
    """All records to the end and the next cursor; `between` pages, something happens."""
    records: list[CrmRecord] = []
    reader = provider or hubspot()
    for _ in range(1000):
        page = reader.read_page(json.loads(json.dumps(cursor)))
        records += page.records
        cursor = dict(page.cursor)
        if page.last:
            return records, cursor
        if between is not None:
            between()
    raise AssertionError("it never ends")


class TestContract(ProviderContract):
    calls: ClassVar[tuple[Call, ...]] = (
        Call("check", "hubspot.account.details"),
        Call(
            "upsert_contact", "hubspot.objects.upsert", {"email": "bob@x.example", "properties": {"firstname": "Bob"}}
        ),
        Call("log_email", "hubspot.objects.get", MAIL),
    )

    def make(self, simulator: Simulator, **credentials: str) -> IntegrationProvider:
        return hubspot(**credentials)


# --- check ----------------------------------------------------------------------------------------------------------


def test_check_proves_portal_and_scopes(simulator: Simulator) -> None:
    checked = hubspot().check()
    assert (checked.limited, checked.details["timeZone"]) == (False, "US/Eastern")
    assert PORTAL in checked.message


def test_check_refuses_the_token_of_another_portal() -> None:
    with pytest.raises(ProviderRejected, match="portal 48151623, this integration is set up for 7") as caught:
        hubspot(portalId="7").check()
    assert caught.value.code == "wrong_portal"


def test_check_names_the_scope_that_is_missing(simulator: Simulator) -> None:
    simulator.control("POST", "/hubspot/tokens", {"token": "pat-none", "scopes": []})
    simulator.control("POST", "/hubspot/tokens", {"token": "pat-some", "scopes": ["crm.objects.contacts.read"]})
    with pytest.raises(ProviderRejected, match=r"crm\.objects\.contacts\.read") as caught:
        hubspot(token="pat-none").check()
    assert caught.value.code == "scope_missing"
    assert hubspot(token="pat-some").check().limited


def test_check_tells_an_expired_token() -> None:
    with pytest.raises(CredentialsRejected):
        hubspot(token="pat-other").check()


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"portalId": "my portal"}, "config.portalId"),
        ({"portalId": "1", "contactEntityType": "a/b"}, "config.contactEntityType"),
        ({"portalId": "1", "timeZone": "Europe/Nowhere"}, "config.timeZone"),
    ],
    ids=["portal", "entity-type", "zone"],
)
def test_configuration_that_cannot_work_is_named(config: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        HubSpot.validate(config=config, credentials={})
    assert list(caught.value.fields) == [field]


# --- writing --------------------------------------------------------------------------------------------------------


def test_upsert_makes_a_contact_and_then_changes_it(simulator: Simulator) -> None:
    given = {"email": "bob@x.example", "properties": {"firstname": "Bob", "lifecyclestage": None}}
    made = hubspot().perform("upsert_contact", given)
    changed = hubspot().perform("upsert_contact", {"email": "bob@x.example", "properties": {"lastname": "Burns"}})
    assert (made["created"], changed["created"], made["id"]) == (True, False, changed["id"])
    assert truth(simulator)[made["id"]] == {"email": "bob@x.example", "firstname": "Bob", "lastname": "Burns"}


@pytest.mark.parametrize("follows", [True, False], ids=["followed", "conflict-in-207"])
def test_upsert_by_a_second_address_changes_that_contact(simulator: Simulator, follows: bool) -> None:
    simulator.control("PATCH", "/hubspot/settings", {"upsert_follows_additional": follows})
    [identity] = add(simulator, {"email": "a@x.example", "hs_additional_emails": "b@x.example"})
    if follows:
        simulator.fault("status", operation="hubspot.objects.upsert", status=409, count=1, body=conflict(identity))
    done = hubspot().perform("upsert_contact", {"email": "b@x.example", "properties": {"firstname": "B"}})
    assert done == {"id": identity, "created": False}
    assert truth(simulator)[identity]["email"] == "a@x.example"
    assert truth(simulator)[identity]["firstname"] == "B"


def conflict(identity: str) -> dict[str, str]:
    return {"status": "error", "category": "CONFLICT", "message": f"Contact already exists. Existing ID: {identity}"}


def test_upsert_refused_is_told_in_hubspots_words_with_its_correlation_id() -> None:
    with pytest.raises(ProviderRejected, match="colour") as caught:
        hubspot().perform("upsert_contact", {"email": "bob@x.example", "properties": {"colour": "red"}})
    assert caught.value.extra["correlationId"]
    with pytest.raises(InvalidInput) as unfit:
        hubspot().perform("upsert_contact", {"email": "bob@x.example", "properties": {"firstname": ["Bob"]}})
    assert list(unfit.value.fields) == ["properties.firstname"]


def test_email_is_logged_on_its_contact(simulator: Simulator) -> None:
    given = MAIL | {"body": "Hi", "from": "me@hub.example", "to": ["ann@x.example"]}
    logged = hubspot().perform("log_email", given)
    [email] = simulator.control("GET", "/hubspot/objects/emails")
    assert email["associations"][0]["to"]["id"] == logged["contactId"]
    assert email["properties"]["hs_timestamp"] == "2026-11-20T07:00:00.000Z"
    assert email["properties"]["hs_email_direction"] == "EMAIL"
    assert json.loads(email["properties"]["hs_email_headers"])["from"] == {"email": "me@hub.example"}


def test_email_whose_answer_was_lost_is_not_logged_again(simulator: Simulator) -> None:
    simulator.fault("close", operation="hubspot.objects.create", effect=True)
    with pytest.raises(ProviderOutcomeUnknown):
        hubspot().perform("log_email", MAIL)
    assert len(simulator.control("GET", "/hubspot/objects/emails")) == 1


def test_email_for_nobody_and_at_no_time_is_refused() -> None:
    with pytest.raises(ProviderRejected) as caught:
        hubspot().perform("log_email", MAIL | {"email": "nobody@x.example"})
    assert caught.value.code == "not_found"
    with pytest.raises(InvalidInput) as unfit:
        hubspot().perform("log_email", MAIL | {"at": "yesterday"})
    assert list(unfit.value.fields) == ["at"]


# --- throttles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "seconds"), [("SECONDLY", 1), ("TEN_SECONDLY_ROLLING", 10)])
def test_short_limits_wait_for_seconds(simulator: Simulator, policy: str, seconds: float) -> None:
    simulator.fault("status", operation="hubspot.account.details", status=429, reason=policy)
    with pytest.raises(ProviderRateLimited) as caught:
        hubspot().check()
    assert caught.value.retry_after == seconds


def test_spent_day_waits_until_midnight_where_the_portal_is(simulator: Simulator) -> None:
    simulator.fault("status", operation="hubspot.objects.list", status=429, reason="DAILY")
    now = datetime.now(ZoneInfo("US/Eastern"))
    for provider in (hubspot(timeZone="US/Eastern"), hubspot()):  # told, or learnt from the account
        with pytest.raises(ProviderRateLimited) as caught:
            provider.check()
        assert caught.value.code == "daily_limit"
        left = 86_400 - (now.hour * 3600 + now.minute * 60 + now.second)
        assert caught.value.retry_after == pytest.approx(left, abs=3700)  # a clock may change on the way


def test_spent_day_in_an_unknown_zone_is_asked_again_after_an_hour(simulator: Simulator) -> None:
    simulator.fault("status", operation="hubspot.account.details", status=429, reason="DAILY")
    with pytest.raises(ProviderRateLimited) as caught:
        hubspot().check()
    assert caught.value.retry_after == 3600


@pytest.mark.parametrize(("status", "seconds"), [(423, 2), (477, 3600)], ids=["locked", "migrating"])
def test_lock_and_migration_ask_to_wait(simulator: Simulator, status: int, seconds: float) -> None:
    simulator.fault("status", operation="hubspot.objects.get", status=status)
    with pytest.raises(ProviderRateLimited) as caught:
        hubspot().perform("log_email", MAIL)
    assert caught.value.retry_after == seconds


# --- reading --------------------------------------------------------------------------------------------------------


def test_first_look_lists_everything_with_all_names(simulator: Simulator) -> None:
    [ann] = truth(simulator)
    [two] = add(simulator, {"email": "a@x.example", "hs_additional_emails": "b@x.example;c@x.example"})
    [firm] = add(simulator, {"name": "F", "domain": "f.example", "hs_additional_domains": "f.test"}, kind="companies")
    records, cursor = read({})
    assert records == [
        CrmRecord("contact", ann, ("ann@x.example",)),
        CrmRecord("contact", two, ("a@x.example", "b@x.example", "c@x.example")),
        CrmRecord("company", firm, ("f.example", "f.test")),
    ]
    assert list(cursor) == ["since"]


def test_first_look_tells_how_many_there_are(simulator: Simulator) -> None:
    add(simulator, *[{"email": f"p{number}@x.example"} for number in range(150)])
    page = hubspot().read_page({})
    assert (page.total, len(page.records)) == (151, 100)
    assert hubspot().read_page(page.cursor).total is None


def test_next_look_brings_what_changed_and_what_is_gone(simulator: Simulator) -> None:
    first, second, third = add(simulator, *[{"email": f"p{number}@x.example"} for number in range(3)])
    _, cursor = read({})
    simulator.advance(3600)
    read_again, _ = read(cursor)
    simulator.control("PATCH", f"/hubspot/objects/contacts/{first}", {"email": "new@x.example"})
    simulator.control("DELETE", f"/hubspot/objects/contacts/{second}")
    records, _ = read(cursor)
    fresh = [record for record in records if record not in read_again]
    assert fresh == [CrmRecord("contact", first, ("new@x.example",)), CrmRecord("contact", second)]
    assert third not in {record.id for record in fresh}


def test_look_begins_before_the_last_one_so_that_search_may_lag(simulator: Simulator) -> None:
    simulator.control("PATCH", "/hubspot/settings", {"search_lag_seconds": 20, "search_per_second": 0})
    simulator.advance(60)
    _, cursor = read({})
    simulator.advance(3600)
    [late] = add(simulator, {"email": "late@x.example"})  # search does not see it yet
    records, cursor = read(cursor)
    assert late not in {record.id for record in records}
    simulator.advance(30)
    records, _ = read(cursor)
    assert late in {record.id for record in records}


def test_reading_survives_what_changes_between_its_pages(simulator: Simulator) -> None:
    """By an offset, each change of a record that was read would hide one that was not."""
    ids = add(simulator, *[{"email": f"p{number}@x.example"} for number in range(10)])
    _, cursor = read({})
    simulator.advance(3600)
    for identity in ids:
        simulator.control("PATCH", f"/hubspot/objects/contacts/{identity}", {"firstname": "New"})
        simulator.advance(1)
    changes = iter([ids[0], ids[1], ids[2]])

    def change_one() -> None:
        identity = next(changes, None)
        if identity:
            simulator.control("PATCH", f"/hubspot/objects/contacts/{identity}", {"firstname": "Newer"})
            simulator.advance(1)

    records, _ = read(cursor, between=change_one)
    assert {record.id for record in records} >= set(ids)


@pytest.mark.parametrize("count", [100, 101, 250])
def test_reading_gets_past_a_moment_with_more_records_than_a_page(simulator: Simulator, count: int) -> None:
    """Beyond search's cap too, which is lowered here to less than there is."""
    _, cursor = read({})
    simulator.advance(3600)
    ids = simulator.control("POST", "/hubspot/objects/contacts", {"objects": same_moment(count)})["ids"]
    simulator.control("PATCH", "/hubspot/settings", {"search_cap": 100, "search_per_second": 0})
    records, _ = read(cursor)
    assert [record.id for record in records if record.id in ids].count(ids[0]) >= 1
    assert {record.id for record in records} >= set(ids)


def same_moment(count: int) -> list[dict[str, str]]:
    return [{"email": f"m{number}@x.example"} for number in range(count)]


def test_merge_tells_which_record_went_into_which(simulator: Simulator) -> None:
    first, second = add(simulator, {"email": "a@x.example"}, {"email": "b@x.example"})
    _, cursor = read({})
    simulator.advance(3600)
    simulator.control("POST", "/hubspot/merge", {"kind": "contacts", "primary": first, "secondary": second})
    records, _ = read(cursor)
    assert CrmRecord("contact", first, ("a@x.example", "b@x.example"), (second,)) in records


def test_reading_stops_at_an_empty_page_in_the_middle(simulator: Simulator) -> None:
    _, cursor = read({})
    simulator.fault(
        "merge", operation="hubspot.objects.search", body={"results": [], "paging": {"next": {"after": "1"}}}
    )
    with pytest.raises(ProviderUnavailable, match="empty page"):
        read(cursor)


def test_reading_stops_rather_than_take_garbage_for_the_end(simulator: Simulator) -> None:
    simulator.fault("merge", operation="hubspot.objects.list", body={"results": None})
    with pytest.raises(ProviderUnavailable):
        read({})
