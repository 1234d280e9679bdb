"""Following a CRM over the simulator: matches as its records are, through changes, archives, merges, kills, throttles
and switches; a person's matches stay."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db.models import F
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.work import WorkStatus
from entities import matching
from entities.models import AddressMatch, DomainMatch
from entities.services import matches
from integrations import tasks
from integrations.models import ContactSync, Health, Integration
from integrations.providers.hubspot import HubSpot
from integrations.services import contact_sync
from integrations.services.integration_runs import MAX_ATTEMPTS
from simulator.process import Simulator
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db(transaction=True)

API = "/api/integrations"
TOKEN = "pat-na1-contacts"
PACE = HubSpot.pace


class Killed(BaseException):
    """What a worker dies of: nothing catches it."""


@pytest.fixture(autouse=True)
def portal(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """A portal without limits in the way; the budget has tests of its own."""
    simulator.control("POST", "/hubspot/tokens", {"token": TOKEN})
    simulator.control("PATCH", "/hubspot/settings", {"search_per_second": 0, "requests_per_ten_seconds": 0})
    monkeypatch.setattr(HubSpot, "pace", None)
    return simulator


def add(simulator: Simulator, *objects: dict[str, str], kind: str = "contacts") -> list[str]:
    return list(simulator.control("POST", f"/hubspot/objects/{kind}", {"objects": list(objects)})["ids"])


def change(simulator: Simulator, identity: str, kind: str = "contacts", **properties: str) -> None:
    simulator.control("PATCH", f"/hubspot/objects/{kind}/{identity}", properties)


def integrate(actor: Actor, **config: str) -> str:
    body = {
        "name": "CRM",
        "type": "CRM_PLATFORM",
        "config": {"portalId": "48151623"} | config,
        "credentials": {"accessToken": TOKEN},
    }
    response = actor.client.post(API, body, format="json")
    assert response.status_code == 201, response.content
    return str(response.json()["id"])


def ask(actor: Actor, integration_id: str) -> Any:
    return actor.client.post(f"{API}/{integration_id}/actions/sync_contacts", {}, format="json")


def detail(actor: Actor, integration_id: str) -> Any:
    return actor.client.get(f"{API}/{integration_id}").json()["sync"]


def run(*, slices: int = 200) -> ContactSync:
    """What is due, to its end."""
    contact_sync.start_due()
    for _ in range(slices):
        if not any(contact_sync.work(sync_id) for sync_id in contact_sync.due()):
            break
    return ContactSync.objects.get()


def later(simulator: Simulator) -> None:
    """An hour passes, here and there."""
    simulator.advance(3600)
    ContactSync.objects.update(next_sync_at=timezone.now() - timedelta(seconds=1))


def addresses() -> set[tuple[str, str, str]]:
    return set(AddressMatch.objects.values_list("entity_type", "entity_id", "address_key"))


def domains() -> set[tuple[str, str, str]]:
    return set(DomainMatch.objects.values_list("entity_type", "entity_id", "domain"))


def expected(simulator: Simulator, kind: str) -> set[tuple[str, str, str]]:
    """What the CRM's truth says there should be."""
    first, more = ("email", "hs_additional_emails") if kind == "contacts" else ("domain", "hs_additional_domains")
    found = set()
    for item in simulator.control("GET", f"/hubspot/objects/{kind}"):
        names: Iterable[str] = ";".join(str(item["properties"].get(name) or "") for name in (first, more)).split(";")
        for name in names if not item["archived"] else ():
            key = matching.normalise(name) if kind == "contacts" else matching.normalise_domain(name)
            if key and not (kind == "companies" and matching.is_free_mail(key)):
                found.add(("contact" if kind == "contacts" else "company", item["id"], key))
    return found


# --- what becomes a match ---------------------------------------------------------------------------------------------


def test_contacts_and_companies_become_matches_that_can_be_told_from_manual_ones(
    simulator: Simulator, admin: Actor
) -> None:
    [person] = add(simulator, {"email": "Ann@X.example", "hs_additional_emails": "a@y.example"})
    [firm, free] = add(simulator, {"domain": "x.example"}, {"domain": "gmail.com"}, kind="companies")
    integration_id = integrate(admin)
    sync = run()
    assert addresses() == {("contact", person, "ann@x.example"), ("contact", person, "a@y.example")}
    assert domains() == {("company", firm, "x.example")}
    assert {str(match.source_id) for match in AddressMatch.objects.all()} == {integration_id}
    listed = admin.client.get("/api/v1/integrations/email/match").json()["data"]
    assert {match["source"] for match in listed} == {"sync"}
    assert (sync.status, sync.done, sync.total, sync.made, sync.skipped) == ("done", 3, 3, 3, {"free_mail": 1})
    assert free not in {match.entity_id for match in DomainMatch.objects.all()}


def test_entity_types_are_the_configured_ones_and_renaming_begins_anew(simulator: Simulator, admin: Actor) -> None:
    add(simulator, {"email": "ann@x.example"})
    add(simulator, {"domain": "x.example"}, kind="companies")
    integration_id = integrate(admin, contactEntityType="person", companyEntityType="account")
    run()
    assert {match[0] for match in addresses() | domains()} == {"person", "account"}
    admin.client.patch(f"{API}/{integration_id}", {"config": {"contactEntityType": "human"}}, format="json")
    later(simulator)
    run()
    assert {match[0] for match in addresses() | domains()} == {"human", "account"}


def test_next_run_follows_changes_archives_and_merges_and_nothing_else(simulator: Simulator, admin: Actor) -> None:
    moved, archived, first, second = add(simulator, *[{"email": f"p{number}@x.example"} for number in range(4)])
    [firm] = add(simulator, {"domain": "old.example"}, kind="companies")
    integrate(admin)
    run()
    untouched = set(AddressMatch.objects.filter(entity_id=first).values_list("pk", flat=True))
    later(simulator)
    change(simulator, moved, email="new@x.example")
    change(simulator, firm, "companies", domain="new.example")
    simulator.control("DELETE", f"/hubspot/objects/contacts/{archived}")
    simulator.control("POST", "/hubspot/merge", {"kind": "contacts", "primary": first, "secondary": second})
    sync = run()
    assert addresses() == {
        ("contact", moved, "new@x.example"),
        ("contact", first, "p2@x.example"),
        ("contact", first, "p3@x.example"),
    }
    assert domains() == {("company", firm, "new.example")}
    assert untouched <= set(AddressMatch.objects.values_list("pk", flat=True))
    assert (sync.made, sync.removed) == (3, 4)


def test_match_of_a_person_stays_whatever_the_crm_does(simulator: Simulator, admin: Actor) -> None:
    [person] = add(simulator, {"email": "ann@x.example"})
    entity = {"workspace": admin.workspace, "entity_type": "contact", "entity_id": person, "by": admin.user}
    matches.match_address(address="ann@x.example", **entity)
    matches.match_address(address="private@y.example", **entity)
    integrate(admin)
    run()
    later(simulator)
    simulator.control("DELETE", f"/hubspot/objects/contacts/{person}")
    run()
    assert {match[2] for match in addresses()} == {"ann@x.example", "private@y.example"}


# --- kills, at length -------------------------------------------------------------------------------------------------


def test_five_thousand_contacts_with_kills_between_pages_are_the_same_matches(
    simulator: Simulator, admin: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.control("POST", "/hubspot/objects/contacts", {"count": 5000})
    simulator.control("POST", "/hubspot/objects/companies", {"count": 300})
    integrate(admin)
    contact_sync.start_due()
    read, write = HubSpot.read_page, contact_sync._write
    seen = {"pages": 0}

    def dies_before_its_page(self: HubSpot, cursor: Any) -> Any:
        seen["pages"] += 1
        if seen["pages"] % 7 == 0:
            raise Killed
        return read(self, cursor)

    def dies_after_its_page(*given: Any) -> None:
        write(*given)
        if seen["pages"] % 11 == 0:
            raise Killed

    monkeypatch.setattr(HubSpot, "read_page", dies_before_its_page)
    monkeypatch.setattr(contact_sync, "_write", dies_after_its_page)
    kills = 0
    for _ in range(100):
        try:
            if not any(contact_sync.work(sync_id) for sync_id in contact_sync.due()):
                break
        except Killed:
            kills += 1
            ContactSync.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    sync = ContactSync.objects.get()
    assert kills >= 10
    assert (sync.status, sync.done, sync.total) == ("done", 5300, 5300)
    assert addresses() == expected(simulator, "contacts")
    assert domains() == expected(simulator, "companies")
    assert sync.made == AddressMatch.objects.count() + DomainMatch.objects.count()


def test_page_costs_the_same_however_many_records_it_has(simulator: Simulator, admin: Actor) -> None:
    integrate(admin)
    run()
    costs = []
    for count in (1, 98):
        simulator.control("POST", "/hubspot/objects/contacts", {"objects": people(count, mark=count)})
        later(simulator)
        contact_sync.start_due()
        ContactSync.objects.update(cursor={})
        with CaptureQueriesContext(database) as queries:
            contact_sync.work(ContactSync.objects.get().pk)
        costs.append(len(queries))
    assert AddressMatch.objects.count() == 99
    assert costs[0] == costs[1]


def test_pace_stays_within_what_the_vendor_allows(
    simulator: Simulator, admin: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    integrate(admin)
    run()
    simulator.control("POST", "/hubspot/objects/contacts", {"objects": people(900, mark=1)})
    later(simulator)
    simulator.control("PATCH", "/hubspot/settings", {"search_per_second": 5, "requests_per_ten_seconds": 100})
    monkeypatch.setattr(HubSpot, "pace", PACE)
    simulator.clear_ledger()
    assert run().status == WorkStatus.DONE
    searches = simulator.ledger(operation="hubspot.objects.search")
    assert len(searches) >= 10
    assert {entry["status"] for entry in simulator.ledger()} == {200}


def people(count: int, *, mark: int) -> list[dict[str, str]]:
    return [{"email": f"p{mark}.{number}@x.example"} for number in range(count)]


def test_worker_that_lost_its_lease_writes_nothing(
    simulator: Simulator, admin: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(simulator, {"email": "ann@x.example"})
    integrate(admin)
    contact_sync.start_due()
    read = HubSpot.read_page

    def loses_its_lease(self: HubSpot, cursor: Any) -> Any:
        ContactSync.objects.update(fence=F("fence") + 1)
        return read(self, cursor)

    monkeypatch.setattr(HubSpot, "read_page", loses_its_lease)
    assert contact_sync.work(ContactSync.objects.get().pk) is False
    assert addresses() == set()
    assert ContactSync.objects.get().status == WorkStatus.RUNNING


# --- starting ---------------------------------------------------------------------------------------------------------


def test_action_answers_the_run_and_never_doubles_one_under_way(
    simulator: Simulator, admin: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(tasks.run_contact_sync, "delay", rung.append)
    integration_id = integrate(admin)
    first, second = ask(admin, integration_id), ask(admin, integration_id)
    assert (first.status_code, first.json()["action"]) == (202, "sync_contacts")
    run_shown = first.json()["result"]["run"]
    assert (run_shown["status"], run_shown["trigger"], run_shown["run"]) == ("queued", "manual", 1)
    assert second.json()["result"]["run"] == run_shown
    assert rung == [run_shown["id"]] * 2
    run()
    again = ask(admin, integration_id).json()["result"]["run"]
    assert (again["id"], again["run"], again["status"]) == (run_shown["id"], 2, "queued")


def test_action_is_refused_for_members_the_disabled_and_other_types(admin: Actor, member: Actor) -> None:
    integration_id = integrate(admin)
    assert ask(member, integration_id).status_code == 403
    admin.client.patch(f"{API}/{integration_id}", {"enabled": False}, format="json")
    assert ask(admin, integration_id).status_code == 409
    hook = {"url": "https://hooks.example.com/"}
    body = {"name": "Hook", "type": "WEBHOOK", "config": hook, "credentials": {"secret": "a secret of a webhook"}}
    other = admin.client.post(API, body, format="json").json()["id"]
    assert ask(admin, other).status_code == 404
    assert ContactSync.objects.count() == 0


def test_schedule_begins_runs_every_interval(
    simulator: Simulator, admin: Actor, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(tasks.run_contact_sync, "delay", rung.append)
    settings.CRM_SYNC_INTERVAL_SECONDS = 1800
    settings.SYNC_TICK_SECONDS = 1
    integrate(admin)
    tasks.tick()
    assert len(rung) == 1
    tasks.run_contact_sync(rung[0])
    sync = ContactSync.objects.get()
    assert (sync.status, sync.trigger, sync.run) == ("done", "schedule", 1)
    wait = (sync.next_sync_at - sync.last_synced_at).total_seconds()  # type: ignore[operator]
    assert wait == pytest.approx(1800, abs=1)
    contact_sync.start_due()
    assert contact_sync.due() == []
    later(simulator)
    contact_sync.start_due()
    assert contact_sync.due() == [sync.pk]


def test_schedule_leaves_the_disabled_the_deleted_and_those_without_credentials(
    simulator: Simulator, admin: Actor
) -> None:
    off, gone, empty = (integrate(admin) for _ in range(3))
    admin.client.patch(f"{API}/{off}", {"enabled": False}, format="json")
    admin.client.delete(f"{API}/{gone}")
    Integration.objects.filter(pk=empty).update(has_credentials=False)
    contact_sync.start_due()
    assert ContactSync.objects.count() == 0


# --- what it says, and what stops it ----------------------------------------------------------------------------------


def test_detail_shows_how_far_it_is(simulator: Simulator, admin: Actor) -> None:
    simulator.control("POST", "/hubspot/objects/contacts", {"objects": people(150, mark=1)})
    integration_id = integrate(admin)
    assert detail(admin, integration_id) is None
    contact_sync.start_due()
    sync_id = ContactSync.objects.get().pk
    assert contact_sync.work(sync_id, seconds=0) is True
    shown = detail(admin, integration_id)
    assert (shown["status"], shown["done"], shown["total"], shown["lastSyncedAt"]) == ("queued", 100, 150, None)
    run()
    shown = detail(admin, integration_id)
    assert (shown["status"], shown["done"], shown["total"]) == ("done", 150, 150)
    assert shown["lastSyncedAt"]
    assert shown["nextSyncAt"]
    assert shown["lastError"] is None


def test_disabling_stops_it_between_pages_and_enabling_goes_on_there(simulator: Simulator, admin: Actor) -> None:
    simulator.control("POST", "/hubspot/objects/contacts", {"objects": people(250, mark=1)})
    integration_id = integrate(admin)
    contact_sync.start_due()
    sync_id = ContactSync.objects.get().pk
    contact_sync.work(sync_id, seconds=0)
    admin.client.patch(f"{API}/{integration_id}", {"enabled": False}, format="json")
    simulator.clear_ledger()
    assert contact_sync.work(sync_id) is False
    assert simulator.ledger() == []
    assert (AddressMatch.objects.count(), detail(admin, integration_id)["lastError"]["code"]) == (
        100,
        "integration_disabled",
    )
    contact_sync.start_due()
    assert contact_sync.due() == []
    admin.client.patch(f"{API}/{integration_id}", {"enabled": True}, format="json")
    sync = run()
    assert (sync.status, sync.done, AddressMatch.objects.count()) == ("done", 250, 250)
    assert len(simulator.ledger(operation="hubspot.objects.list", target="contacts?limit=100&properties=email")) == 3


def test_disabling_while_a_page_is_on_its_way_writes_nothing_of_it(
    simulator: Simulator, admin: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(simulator, {"email": "ann@x.example"})
    integrate(admin)
    contact_sync.start_due()
    read = HubSpot.read_page

    def is_disabled_meanwhile(self: HubSpot, cursor: Any) -> Any:
        page = read(self, cursor)
        Integration.objects.update(enabled=False)
        return page

    monkeypatch.setattr(HubSpot, "read_page", is_disabled_meanwhile)
    contact_sync.work(ContactSync.objects.get().pk)
    assert addresses() == set()
    assert ContactSync.objects.get().cursor == {}


def test_throttle_waits_as_long_as_asked_and_is_no_failed_attempt(simulator: Simulator, admin: Actor) -> None:
    integration_id = integrate(admin)
    simulator.fault("status", operation="hubspot.objects.list", status=429, reason="TEN_SECONDLY_ROLLING")
    sync = run()
    wait = (sync.next_attempt_at - timezone.now()).total_seconds()
    assert (sync.status, sync.attempts, sync.failures) == ("queued", 0, 0)
    assert 5 < wait <= 10
    assert detail(admin, integration_id)["lastError"]["code"] == "provider_rate_limited"


def test_refused_token_fails_the_run_and_new_credentials_begin_the_next_at_once(
    simulator: Simulator, admin: Actor
) -> None:
    add(simulator, {"email": "ann@x.example"})
    integration_id = integrate(admin)
    simulator.control("POST", "/hubspot/tokens/expire", {"token": TOKEN})
    sync = run()
    assert (sync.status, sync.error_code, sync.failures) == ("failed", "credentials_rejected", 1)
    assert Integration.objects.get().health == Health.FAILING
    contact_sync.start_due()
    assert contact_sync.due() == []
    simulator.control("POST", "/hubspot/tokens", {"token": "pat-new"})
    given = {"credentials": {"accessToken": "pat-new"}}
    assert admin.client.patch(f"{API}/{integration_id}", given, format="json").status_code == 200
    sync = run()
    assert (sync.status, sync.failures, sync.error_code) == ("done", 0, "")
    assert len(addresses()) == 1


def test_token_of_another_portal_changes_no_match(simulator: Simulator, admin: Actor) -> None:
    add(simulator, {"email": "ann@x.example"})
    integrate(admin)
    run()
    later(simulator)
    simulator.control("PATCH", "/hubspot/portal", {"portalId": 7})
    sync = run()
    assert (sync.status, sync.error_code) == ("failed", "wrong_portal")
    assert len(addresses()) == 1


def test_outage_is_tried_again_and_given_up_after_several_attempts(simulator: Simulator, admin: Actor) -> None:
    integrate(admin)
    simulator.fault("status", operation="hubspot.objects.list", status=503)
    contact_sync.start_due()
    sync_id = ContactSync.objects.get().pk
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert ContactSync.objects.get().status == WorkStatus.QUEUED, attempt
        ContactSync.objects.update(next_attempt_at=Now())
        contact_sync.work(sync_id)
    sync = ContactSync.objects.get()
    assert (sync.status, sync.error_code, sync.failures) == ("failed", "provider_unavailable", 1)
    simulator.clear_faults()
    later(simulator)
    assert run().status == WorkStatus.DONE
