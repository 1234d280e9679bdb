"""A Microsoft account connected by consent, its calendars synced as a worker does it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from calendar_sync.models import CalendarEvent
from calendar_sync.providers.graph import listing
from calendar_sync.tests.conftest import Account
from calendar_sync.tests.graph_simulator import Mailbox, weekly
from integrations.models import QuotaBudget
from integrations.tests.flows import Hub
from simulator.process import Simulator, running
from workspaces.tests.fixtures import Actor


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def ada(process: Simulator, settings: Any) -> Mailbox:
    process.reset()
    for name, value in process.env().items():
        setattr(settings, name, value.split(",") if name == "EGRESS_ALLOW_CIDRS" else value)
    settings.CALENDAR_PROVIDER_SETTINGS = {"microsoft": {"graphApiUrl": process.base_url}}
    return Mailbox(process, "ada@graph.test")


@pytest.fixture
def account(ada: Mailbox, process: Simulator, member: Actor, db: None) -> Account:
    return Account(Hub(process).connect(member, ada.email, "microsoft"))


def test_what_happens_at_microsoft_happens_here(ada: Mailbox, account: Account) -> None:
    team = ada.control("POST", "calendars", {"name": "Team"})["id"]
    lunch, standup = ada.add("Lunch"), ada.add("Standup", recurrence=weekly(endDate="2026-01-26"))
    gone = ada.add("Gone")
    run = account.sync()
    assert (run.status, run.added) == ("done", 3)
    assert account.titles().count("Calendar/Standup") == 4
    ids = account.rows()

    ada.change(lunch, subject="Dinner")
    ada.control("PATCH", f"events/{standup}", {"day": "2026-01-12", "fields": {"subject": "Late"}})
    ada.control("PATCH", f"events/{standup}", {"cancelled": ["2026-01-19"]})
    ada.delete(gone)
    ada.control("PATCH", f"events/{lunch}", {"calendar": team})
    account.sync()

    assert sorted(account.titles()) == ["Calendar/Late", "Calendar/Standup", "Calendar/Standup", "Team/Dinner"]
    assert account.rows()["Dinner"] == ids["Lunch"]
    assert account.rows()["Standup"] == ids["Standup"]
    assert CalendarEvent.objects.get(pk=ids["Gone"]).removed_at is not None


def test_a_sync_without_news_asks_little_and_writes_nothing(ada: Mailbox, account: Account, process: Simulator) -> None:
    ada.seed(*({"created": 1e9, "modified": 1e9 + n} for n in range(30)))
    account.sync()
    process.clear_ledger()
    run = account.sync()
    assert (run.added, run.changed, run.removed) == (0, 0, 0)
    assert len(process.ledger(vendor="microsoft", account=ada.email)) == 3


def test_a_lost_listing_begins_again_and_brings_nothing_back(
    ada: Mailbox, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 10)
    made = ada.seed(*({"subject": f"Event {n}", "created": 1e9, "modified": 1e9 + n} for n in range(45)))
    account.sync()
    for identity in made[:12]:
        ada.delete(identity)
    account.sync()
    assert len(account.rows()) == 33
    assert "Event 0" not in account.rows()


def test_mail_and_calendars_of_a_mailbox_pay_from_one_budget(ada: Mailbox, account: Account) -> None:
    account.sync()
    assert list(QuotaBudget.objects.filter(owner_id=account.connection.pk).values_list("name", flat=True)) == ["email"]
