"""A base over the API: made, tried, written to and read, and what is refused on the way."""

from __future__ import annotations

from typing import Any

import pytest

from integrations.models import Health, Integration
from simulator.process import Simulator
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

API = "/api/integrations"
BASE = "appOverTheApi0001"
FIELDS = [{"name": "Email", "type": "email"}, {"name": "Name", "type": "singleLineText"}]
ROWS = [{"Email": f"p{number}@x.example"} for number in range(12)]


@pytest.fixture
def base(simulator: Simulator, admin: Actor) -> str:
    """The integration's id."""
    simulator.control("POST", "/airtable/tokens", {"token": "pat.api"})
    simulator.control("POST", "/airtable/bases", {"id": BASE, "tables": [{"name": "People", "fields": FIELDS}]})
    body = {
        "name": "Base",
        "type": "EXTERNAL_DATABASE",
        "config": {"baseId": BASE},
        "credentials": {"apiToken": "pat.api"},
    }
    return str(admin.client.post(API, body, format="json").json()["id"])


def act(actor: Actor, integration_id: str, action: str, **given: Any) -> Any:
    return actor.client.post(f"{API}/{integration_id}/actions/{action}", given, format="json")


def test_base_is_checked_written_and_read(simulator: Simulator, admin: Actor, base: str) -> None:
    tried = admin.client.post(f"{API}/{base}/test").json()
    assert (tried["ok"], tried["message"]) == (True, "The base can be read (tables: 1).")
    written = act(admin, base, "upsert_records", table="People", records=ROWS, mergeOn=["Email"])
    assert (written.status_code, written.json()["result"]["written"]) == (200, 12)
    again = act(admin, base, "upsert_records", table="People", records=ROWS[:2], mergeOn=["Email"])
    assert len(again.json()["result"]["updated"]) == 2
    read = act(admin, base, "list_records", table="People").json()["result"]
    assert [record["fields"] for record in read["records"]] == ROWS
    used = AuditEvent.objects.filter(action="integration.used").first()
    assert used is not None
    assert "p1@x.example" not in str(used.changes)


def test_key_that_comes_twice_is_named_and_nothing_is_written(simulator: Simulator, admin: Actor, base: str) -> None:
    twins = [*ROWS, ROWS[3]]
    refused = act(admin, base, "upsert_records", table="People", records=twins, mergeOn=["Email"])
    assert refused.status_code == 400
    assert list(refused.json()["error"]["fields"]) == ["records.12.Email"]
    assert simulator.ledger(vendor="airtable") == []


def test_batch_that_fails_midway_answers_how_much_is_written(simulator: Simulator, admin: Actor, base: str) -> None:
    unfit = [*ROWS, {"Email": "last@x.example", "Nothing": 1}]
    refused = act(admin, base, "upsert_records", table="People", records=unfit, mergeOn=["Email"])
    error = refused.json()["error"]
    assert (refused.status_code, error["written"], error["total"]) == (422, 10, 13)
    assert 'Unknown field name: "Nothing"' in error["message"]


def test_throttle_is_429_with_the_penalty_and_no_incident(simulator: Simulator, admin: Actor, base: str) -> None:
    simulator.control("PATCH", "/airtable/settings", {"base_requests_per_second": 1})
    refused = act(admin, base, "upsert_records", table="People", records=ROWS, mergeOn=["Email"])
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) == pytest.approx(30, abs=1)
    assert Integration.objects.get().health == Health.UNKNOWN
