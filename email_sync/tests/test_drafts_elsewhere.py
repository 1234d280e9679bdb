"""Drafts that Outlook changes under the id they have: seen here, never overwritten, told to whoever saw another.

From the API to the simulated Graph and back; the same for the other providers is in `test_drafts` and the contract.
"""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes
from typing import Any

import pytest
from django.db.models.functions import Now

from email_sync.models import Draft, Message
from email_sync.records import OutgoingMail
from email_sync.services import draft_saving
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.factories import connect
from email_sync.tests.graph_simulator import GraphHarness
from simulator.process import Simulator, running
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db
ADA, BOB = "ada@contract.test", "bob@contract.test"
BASE = "/api/v1/integrations/email/drafts"


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def harness(process: Simulator, settings: Any) -> GraphHarness:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    settings.MAIL_PROVIDER_SETTINGS = {"microsoft": {"graphApiUrl": process.base_url, "quotaUnits": 0}}
    process.reset()
    return GraphHarness(process, ADA, (BOB,))


@pytest.fixture
def account(harness: GraphHarness, member: Actor) -> Account:
    connection = connect(member, ADA, provider="microsoft")
    connection.credentials = {"access_token": harness.token}
    connection.save()
    account = Account(connection)
    account.sync()
    return account


def create(actor: Actor, **fields: Any) -> dict[str, Any]:
    response = actor.client.post(BASE, {"to": [BOB], "subject": "Lunch", "body": "At one?"} | fields)
    assert (response.status_code, response.json()["state"]) == (201, "saved"), response.content
    answer: dict[str, Any] = response.json()
    return answer


def listed(actor: Actor) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = actor.client.get(BASE).json()["data"]
    return rows


def only_draft(harness: GraphHarness) -> str:
    """The Message-ID of the one draft the provider has."""
    [found] = [item for item in harness.messages() if item["folder"] == "drafts"]
    return str(found["message_id"]).strip("<>")


def subjects(harness: GraphHarness) -> list[str]:
    """Of the drafts the provider has."""
    drafts = [item["id"] for item in harness.messages() if item["folder"] == "drafts"]
    raw = [harness.simulator.raw(ADA, draft_id, vendor="microsoft") for draft_id in drafts]
    return sorted(message_from_bytes(one)["Subject"] for one in raw)


@pytest.mark.parametrize("synced_after", [False, True], ids=["before the sync", "after the sync"])
def test_change_of_a_draft_that_outlook_changed_is_a_conflict_with_the_present_one(
    account: Account, harness: GraphHarness, member: Actor, synced_after: bool
) -> None:
    draft = create(member, attachments=[{"fileName": "menu.txt", "contentType": "text/plain", "contentBase64": "U28="}])
    harness.rewrite_draft(only_draft(harness), "Tea")
    if synced_after:
        account.sync()
        assert [(row["subject"], row["revision"]) for row in listed(member)] == [("Tea", 2)]
    response = member.client.patch(f"{BASE}/{draft['id']}", {"subject": "Dinner", "revision": 1})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["draftId"]) == (409, "conflict", draft["id"])
    present = error["draft"]
    assert (present["subject"], present["state"]) == ("Tea", "saved")
    assert present["revision"] > 1
    assert [file["fileName"] for file in present["attachments"]] == ["menu.txt"]
    assert subjects(harness) == ["Tea"]
    again = member.client.patch(f"{BASE}/{draft['id']}", {"subject": "Dinner", "revision": present["revision"]})
    assert (again.status_code, again.json()["state"]) == (200, "saved")
    account.sync()
    assert subjects(harness) == [row["subject"] for row in listed(member)] == ["Dinner"]


def test_change_of_a_draft_that_was_flagged_in_outlook_is_no_conflict(
    account: Account, harness: GraphHarness, member: Actor
) -> None:
    draft = create(member)
    account.sync()
    harness.set_flags(only_draft(harness), starred=True)
    account.sync()
    assert [row["revision"] for row in listed(member)] == [1]
    assert member.client.patch(f"{BASE}/{draft['id']}", {"subject": "Dinner"}).status_code == 200
    assert subjects(harness) == ["Dinner"]


@pytest.mark.parametrize("synced_after", [False, True], ids=["before the sync", "after the sync"])
def test_draft_written_in_outlook_that_changed_since_is_a_conflict(
    account: Account, harness: GraphHarness, member: Actor, synced_after: bool
) -> None:
    with harness.provider() as outlook:
        theirs = mail("theirs", subject="Plan", attachment=b"\x00\x01")
        outlook.save_draft(OutgoingMail(ident("theirs"), ADA, (BOB,), theirs))
    account.sync()
    [row] = listed(member)
    harness.rewrite_draft(ident("theirs"), "Better plan")
    if synced_after:
        account.sync()
        assert [(it["subject"], it["id"]) for it in listed(member)] == [("Better plan", row["id"])]
    response = member.client.patch(f"{BASE}/{row['id']}", {"subject": "Mine", "revision": row["revision"]})
    assert (response.status_code, response.json()["error"]["draft"]["subject"]) == (409, "Better plan")
    assert subjects(harness) == ["Better plan"]
    found = member.client.get("/api/v1/integrations/email/inbox", {"folder": "drafts", "q": "better"}).json()["data"]
    assert [it["id"] for it in found] == [row["id"]]


@pytest.mark.parametrize("place", ["trash", "sent"])
def test_draft_that_was_sent_or_thrown_away_in_outlook_is_not_taken_for_a_draft(
    account: Account, harness: GraphHarness, member: Actor, place: str
) -> None:
    """Its id lives on: what it became must not go with the next save."""
    draft = create(member)
    message_id = only_draft(harness)
    if place == "sent":
        harness.ask("POST", f"/v1.0/me/messages/{harness.find(message_id)['id']}/send")
    else:
        harness.move(message_id, place)
    before = harness.truth()
    response = member.client.patch(f"{BASE}/{draft['id']}", {"subject": "Dinner"})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["draft"]) == (409, "conflict", None)
    assert harness.truth() == before


def test_change_that_waited_is_kept_beside_what_outlook_wrote(
    account: Account, harness: GraphHarness, member: Actor
) -> None:
    draft = create(member)
    away = harness.simulator.fault("status", path="batch|/me/messages", status=503)
    assert member.client.patch(f"{BASE}/{draft['id']}", {"subject": "Mine"}).json()["state"] == "pending"
    harness.simulator.remove_fault(away)
    harness.rewrite_draft(only_draft(harness), "Theirs")
    account.sync()
    assert [(row["subject"], row["state"]) for row in listed(member)] == [("Mine", "pending")]
    Draft.objects.update(next_attempt_at=Now())
    for draft_id in draft_saving.take_due():
        draft_saving.settle(draft_id)
    assert subjects(harness) == sorted(row["subject"] for row in listed(member)) == ["Mine", "Theirs"]
    assert Message.objects.get(pk=draft["id"]).subject == "Mine"
    account.sync()
    assert sorted(row["subject"] for row in listed(member)) == ["Mine", "Theirs"]


def test_removal_of_a_draft_that_outlook_changed_is_a_conflict_and_it_stays(
    account: Account, harness: GraphHarness, member: Actor
) -> None:
    draft = create(member)
    harness.rewrite_draft(only_draft(harness), "Tea")
    response = member.client.delete(f"{BASE}/{draft['id']}")
    assert (response.status_code, response.json()["error"]["draft"]["subject"]) == (409, "Tea")
    assert subjects(harness) == [row["subject"] for row in listed(member)] == ["Tea"]
    assert member.client.delete(f"{BASE}/{draft['id']}").status_code == 204
    assert subjects(harness) == []


def test_removal_of_a_draft_that_outlook_sent_meanwhile_leaves_the_mail_in_sent(
    account: Account, harness: GraphHarness, member: Actor
) -> None:
    """One that was never changed here, so nothing of it was noted."""
    with harness.provider() as outlook:
        outlook.save_draft(OutgoingMail(ident("theirs"), ADA, (BOB,), mail("theirs")))
    account.sync()
    [row] = listed(member)
    harness.ask("POST", f"/v1.0/me/messages/{harness.find(ident('theirs'))['id']}/send")
    assert member.client.delete(f"{BASE}/{row['id']}").status_code == 204
    assert [item["folder"] for item in harness.messages()] == ["sentitems"]
    account.sync()
    assert listed(member) == []
    assert Message.objects.present().filter(in_sent=True).count() == 1


def test_draft_sent_as_it_was_here_leaves_what_outlook_wrote_as_a_draft(
    account: Account, harness: GraphHarness, member: Actor
) -> None:
    draft = create(member)
    harness.rewrite_draft(only_draft(harness), "Tea")
    assert member.client.post(f"{BASE}/{draft['id']}/send", {}).json()["status"] == "sent"
    assert [sent["subject"] for sent in harness.simulator.sent()] == ["Lunch"]
    assert subjects(harness) == [row["subject"] for row in listed(member)] == ["Tea"]
    assert member.client.post(f"{BASE}/{draft['id']}/send", {}).json()["status"] == "sent"
    assert [sent["subject"] for sent in harness.simulator.sent()] == ["Lunch", "Tea"]
    assert subjects(harness) == []
