"""HubSpot: account, objects, search with cap and lag, batch upserts in part, logged emails, three kinds of 429."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.process import Simulator
from simulator.tests.factories import Answer, send

TOKEN = "pat-na1-simulated"
CONTACTS = "crm/v3/objects/contacts"


@pytest.fixture
def hubspot(simulator: Simulator) -> Simulator:
    simulator.control("POST", "/hubspot/tokens", {"token": TOKEN})
    simulator.control("PATCH", "/hubspot/settings", {"search_per_second": 0, "requests_per_ten_seconds": 0})
    return simulator


def ask(simulator: Simulator, method: str, target: str, token: str = TOKEN, **more: Any) -> Answer:
    return send(simulator, method, f"/{target}", token=token, **more)


def add(simulator: Simulator, *contacts: dict[str, str], kind: str = "contacts") -> list[str]:
    return list(simulator.control("POST", f"/hubspot/objects/{kind}", {"objects": list(contacts)})["ids"])


def search(simulator: Simulator, kind: str = "contacts", **body: Any) -> Any:
    return ask(simulator, "POST", f"crm/v3/objects/{kind}/search", json=body).json


def since(milliseconds: int, name: str = "lastmodifieddate") -> list[dict[str, Any]]:
    return [{"filters": [{"propertyName": name, "operator": "GTE", "value": str(milliseconds)}]}]


def test_account_names_the_portal_of_the_token(hubspot: Simulator) -> None:
    hubspot.control("PATCH", "/hubspot/portal", {"portalId": 77, "timeZone": "Europe/Prague"})
    shown = ask(hubspot, "GET", "account-info/v3/details").json
    assert (shown["portalId"], shown["timeZone"]) == (77, "Europe/Prague")


@pytest.mark.parametrize(
    ("token", "status", "category"),
    [
        ("", 401, "INVALID_AUTHENTICATION"),
        ("pat-old", 401, "EXPIRED_AUTHENTICATION"),
        ("pat-bare", 403, "MISSING_SCOPES"),
    ],
)
def test_call_without_right_is_refused(hubspot: Simulator, token: str, status: int, category: str) -> None:
    hubspot.control("POST", "/hubspot/tokens", {"token": "pat-old"})
    hubspot.control("POST", "/hubspot/tokens/expire", {"token": "pat-old"})
    hubspot.control("POST", "/hubspot/tokens", {"token": "pat-bare", "scopes": ["crm.objects.companies.read"]})
    refused = ask(hubspot, "GET", CONTACTS, token)
    assert (refused.status, refused.json["category"]) == (status, category)
    assert refused.json["correlationId"]


def test_list_goes_on_by_after_and_keeps_archived_apart(hubspot: Simulator) -> None:
    ids = add(hubspot, *[{"email": f"p{number}@x.example"} for number in range(5)])
    hubspot.control("DELETE", f"/hubspot/objects/contacts/{ids[1]}")
    first = ask(hubspot, "GET", f"{CONTACTS}?limit=3&properties=email,phone").json
    rest = ask(hubspot, "GET", f"{CONTACTS}?limit=3&after={first['paging']['next']['after']}").json
    assert [item["id"] for item in first["results"] + rest["results"]] == [ids[0], *ids[2:]]
    assert "paging" not in rest
    assert first["results"][0]["properties"]["phone"] is None
    [gone] = ask(hubspot, "GET", f"{CONTACTS}?archived=true").json["results"]
    assert (gone["id"], gone["archived"], bool(gone["archivedAt"])) == (ids[1], True, True)
    assert ask(hubspot, "GET", f"{CONTACTS}?limit=101").status == 400


def test_contact_is_found_by_any_of_its_addresses(hubspot: Simulator) -> None:
    [identity] = add(hubspot, {"email": "a@x.example", "hs_additional_emails": "b@x.example;c@x.example"})
    for address in ("a@x.example", "B@x.example", "c%40x.example"):
        assert ask(hubspot, "GET", f"{CONTACTS}/{address}?idProperty=email").json["id"] == identity
    assert ask(hubspot, "GET", f"{CONTACTS}/d@x.example?idProperty=email").json["category"] == "OBJECT_NOT_FOUND"


def test_create_of_a_known_address_is_409_that_names_the_contact(hubspot: Simulator) -> None:
    [identity] = add(hubspot, {"email": "a@x.example"})
    refused = ask(hubspot, "POST", CONTACTS, json={"properties": {"email": "a@x.example"}})
    assert (refused.status, refused.json["message"]) == (409, f"Contact already exists. Existing ID: {identity}")


def test_property_that_is_wrong_is_named_with_every_other(hubspot: Simulator) -> None:
    wrong = {"email": "no address", "colour": "red", "lifecyclestage": "friend", "createdate": "2026-01-01"}
    refused = ask(hubspot, "POST", CONTACTS, json={"properties": wrong})
    assert refused.status == 400
    assert {item["name"]: item["error"] for item in refused.json["errors"]} == {
        "email": "INVALID_EMAIL",
        "colour": "PROPERTY_DOESNT_EXIST",
        "lifecyclestage": "INVALID_OPTION",
        "createdate": "READ_ONLY_VALUE",
    }


def test_search_finds_what_changed_since_oldest_first(hubspot: Simulator) -> None:
    ids = add(hubspot, *[{"email": f"p{number}@x.example"} for number in range(3)])
    hubspot.advance(60)
    moment = int(hubspot.health()["now"] * 1000)
    hubspot.advance(1)
    for identity in (ids[2], ids[0]):
        hubspot.control("PATCH", f"/hubspot/objects/contacts/{identity}", {"firstname": "New"})
        hubspot.advance(1)
    found = search(hubspot, filterGroups=since(moment), sorts=[{"propertyName": "lastmodifieddate"}], limit=1)
    assert (found["total"], [item["id"] for item in found["results"]]) == (2, [ids[2]])
    more = search(
        hubspot, filterGroups=since(moment), sorts=["lastmodifieddate"], after=found["paging"]["next"]["after"]
    )
    assert [item["id"] for item in more["results"]] == [ids[0]]


def test_search_cannot_be_paged_beyond_its_cap(hubspot: Simulator) -> None:
    add(hubspot, *[{"email": f"p{number}@x.example"} for number in range(6)])
    hubspot.control("PATCH", "/hubspot/settings", {"search_cap": 4, "search_per_second": 0})
    assert search(hubspot, limit=2, after="2")["total"] == 6
    assert search(hubspot, limit=2, after="4")["category"] == "VALIDATION_ERROR"


def test_search_lags_behind_what_was_written(hubspot: Simulator) -> None:
    [identity] = add(hubspot, {"email": "a@x.example"})
    hubspot.control("PATCH", "/hubspot/settings", {"search_lag_seconds": 10, "search_per_second": 0})
    assert search(hubspot)["total"] == 0
    hubspot.advance(11)
    hubspot.control("PATCH", f"/hubspot/objects/contacts/{identity}", {"email": "b@x.example"})
    assert search(hubspot)["results"][0]["properties"]["email"] == "a@x.example"
    hubspot.advance(11)
    assert search(hubspot)["results"][0]["properties"]["email"] == "b@x.example"


def test_search_of_companies_calls_its_date_otherwise(hubspot: Simulator) -> None:
    add(hubspot, {"name": "One", "domain": "one.example"}, kind="companies")
    found = search(hubspot, "companies", filterGroups=since(0, "hs_lastmodifieddate"))
    assert found["results"][0]["properties"]["domain"] == "one.example"


def test_batch_upsert_may_succeed_in_part(hubspot: Simulator) -> None:
    hubspot.control("PATCH", "/hubspot/settings", {"upsert_follows_additional": False})
    [identity] = add(hubspot, {"email": "a@x.example", "hs_additional_emails": "b@x.example"})
    inputs = [
        {"idProperty": "email", "id": address, "properties": {"email": address, "firstname": "F"}}
        for address in ("a@x.example", "b@x.example", "new@x.example")
    ]
    answer = ask(hubspot, "POST", f"{CONTACTS}/batch/upsert", json={"inputs": inputs})
    assert answer.status == 207
    assert [item["new"] for item in answer.json["results"]] == [False, True]
    [told] = answer.json["errors"]
    assert told["message"] == f"Contact already exists. Existing ID: {identity}"
    assert told["context"] == {"id": ["b@x.example"]}


def test_email_is_logged_on_a_contact_once_it_has_a_time(hubspot: Simulator) -> None:
    [identity] = add(hubspot, {"email": "a@x.example"})
    link = {"to": {"id": identity}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 198}]}
    properties = {"hs_email_direction": "EMAIL", "hs_email_subject": "Hello"}
    body = {"properties": properties, "associations": [link]}
    assert ask(hubspot, "POST", "crm/v3/objects/emails", json=body).status == 400
    properties["hs_timestamp"] = "2026-11-21T10:00:00Z"
    assert ask(hubspot, "POST", "crm/v3/objects/emails", json=body).status == 201
    [logged] = hubspot.control("GET", "/hubspot/objects/emails")
    assert logged["associations"][0]["to"]["id"] == identity
    link["to"] = {"id": "1"}
    assert ask(hubspot, "POST", "crm/v3/objects/emails", json=body).status == 400


def test_merge_gives_the_address_on_and_leaves_one_contact(hubspot: Simulator) -> None:
    first, second = add(hubspot, {"email": "a@x.example"}, {"email": "b@x.example"})
    hubspot.control("POST", "/hubspot/merge", {"kind": "contacts", "primary": first, "secondary": second})
    [only] = ask(hubspot, "GET", f"{CONTACTS}?properties=hs_additional_emails,hs_merged_object_ids").json["results"]
    assert only["properties"]["hs_additional_emails"] == "b@x.example"
    assert only["properties"]["hs_merged_object_ids"] == second
    assert ask(hubspot, "GET", f"{CONTACTS}?archived=true").json["results"] == []


def test_throttles_name_their_policy_and_search_carries_no_headers(hubspot: Simulator) -> None:
    hubspot.control("PATCH", "/hubspot/settings", {"search_per_second": 1, "requests_per_ten_seconds": 3})
    assert ask(hubspot, "POST", f"{CONTACTS}/search", json={}).headers.get("x-hubspot-ratelimit-max") is None
    assert search(hubspot)["policyName"] == "SECONDLY"
    listed = [ask(hubspot, "GET", CONTACTS) for _ in range(3)]
    assert [answer.status for answer in listed] == [200, 200, 429]
    assert listed[0].headers["x-hubspot-ratelimit-max"] == "3"
    assert listed[2].json["policyName"] == "TEN_SECONDLY_ROLLING"
    hubspot.advance(10)
    hubspot.control("PATCH", "/hubspot/settings", {"requests_per_day": 1})
    assert [ask(hubspot, "GET", CONTACTS).json.get("policyName") for _ in range(2)] == [None, "DAILY"]


def test_fault_without_a_body_speaks_its_words(hubspot: Simulator) -> None:
    hubspot.fault("status", operation="hubspot.objects.list", status=429, reason="DAILY", count=1)
    hubspot.fault("status", operation="hubspot.objects.list", status=423, count=1)
    assert ask(hubspot, "GET", CONTACTS).json["policyName"] == "DAILY"
    assert ask(hubspot, "GET", CONTACTS).json["category"] == "LOCKED"
